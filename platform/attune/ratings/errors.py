"""What can go wrong with studies, pairs, assignments and answers.

Raters read the messages of what assigning and answering refuses: no id, study, round or other
rater is named in them. Attributes are for logs and tests.
"""

from uuid import UUID

from django.utils.translation import gettext as _


class RatingError(Exception):
    """Base of everything this app refuses."""


class StudyError(RatingError):
    """A study whose settings are not allowed."""

    def __init__(self, message: str, *, slug: str) -> None:
        super().__init__(message)
        self.slug = slug


class PairingError(RatingError):
    """Pairs that cannot be made for a study."""

    def __init__(self, message: str, *, study: str) -> None:
        super().__init__(message)
        self.study = study


class PopulationError(RatingError):
    """A simulated rater in a study for people, or a person in a rehearsal."""

    def __init__(self, *, study: str, population: str, is_simulated: bool) -> None:
        super().__init__(_("this study is not open to you"))
        self.study = study
        self.population = population
        self.is_simulated = is_simulated


class WithdrawnError(RatingError):
    """A rater who has withdrawn gets no pair and gives no answer."""

    def __init__(self, *, pseudonym: UUID) -> None:
        super().__init__(_("you have withdrawn: no pair is handed out and no answer is kept"))
        self.pseudonym = pseudonym


class AssignmentError(RatingError):
    """An assignment that cannot be answered."""

    def __init__(self, message: str, *, assignment_id: UUID) -> None:
        super().__init__(message)
        self.assignment_id = assignment_id


class AssignmentNotFoundError(AssignmentError):
    """There is no such assignment, or it is another rater's."""

    def __init__(self, *, assignment_id: UUID) -> None:
        super().__init__(_("you have no such pair to rate"), assignment_id=assignment_id)


class AssignmentClosedError(AssignmentError):
    """The assignment was answered, skipped, or left until another took its place."""


class AnswerError(RatingError):
    """A choice or strength that does not exist, or that do not go together."""


class ListeningError(RatingError):
    """What was heard is not enough, or cannot be. Seconds are None where they do not apply."""

    def __init__(
        self,
        message: str,
        *,
        side: str | None = None,
        heard_s: float | None = None,
        needed_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.side = side
        self.heard_s = heard_s
        self.needed_s = needed_s


class TrustError(RatingError):
    """An exclusion or a decision about work that cannot be made; engineers read the message."""


class RatingNotFoundError(RatingError):
    """There is no such rating, or it is another rater's."""

    def __init__(self, *, rating_id: int) -> None:
        super().__init__(_("you gave no such answer"))
        self.rating_id = rating_id


class RatingFrozenError(RatingError):
    """A round has used the rating: it cannot be changed any more."""

    def __init__(self, *, rating_id: int) -> None:
        super().__init__(_("this answer can no longer be changed"))
        self.rating_id = rating_id


class RemarkError(RatingError):
    """A remark without words, too long, outside its clip, or one too many."""


class RemarkNotFoundError(RatingError):
    """There is no such remark, or it is another rater's."""

    def __init__(self, *, client_id: UUID) -> None:
        super().__init__(_("you made no such remark"))
        self.client_id = client_id


class RemarkFrozenError(RatingError):
    """A round has used the answer that the remark belongs to."""

    def __init__(self, *, assignment_id: UUID) -> None:
        super().__init__(_("remarks on this pair can no longer be changed"))
        self.assignment_id = assignment_id
