"""Aspects, remarks and the list of own answers: stored once, changed until a round freezes them."""

from uuid import UUID, uuid4

import pytest

from attune.raters.models import Rater
from attune.raters.services import create_rater, withdraw_rater
from attune.ratings.choices import AssignmentState, Choice
from attune.ratings.errors import (
    AnswerError,
    AssignmentClosedError,
    AssignmentNotFoundError,
    ListeningError,
    RatingFrozenError,
    RatingNotFoundError,
    RemarkError,
    RemarkFrozenError,
    RemarkNotFoundError,
    StudyError,
    WithdrawnError,
)
from attune.ratings.models import AspectRating, AspectRevision, Assignment, Rating, Remark, Study
from attune.ratings.own_answers import changeable_answers
from attune.ratings.services import (
    add_remark,
    change_rating,
    create_study,
    erase_remarks,
    rate_aspect,
    record_rating,
    remove_remark,
    report_clip,
    update_study,
)
from tests.factories import NOW, later, make_pair, make_prompts, make_study
from tests.unit.attune.rating_steps import answer, hand_out

pytestmark = pytest.mark.django_db


@pytest.fixture
def study() -> Study:
    """A study that asks about two aspects; its clips last two seconds."""
    study = make_study()
    return update_study(study=study, aspects=["prompt_fit", "sound_quality"])


@pytest.fixture
def rater() -> Rater:
    return create_rater()


@pytest.fixture
def assignment(study: Study, rater: Rater) -> Assignment:
    make_pair(study)
    return hand_out(study, rater)


def rate(rater: Rater, assignment: Assignment, choice: str = "A", *, at: float = 60) -> Rating:
    """A stored answer whose time of storing is the test's own."""
    rating = answer(rater, assignment, choice, at=at)
    Rating.objects.filter(pk=rating.pk).update(created_at=later(at))
    return rating


def remark(
    rater: Rater, assignment: Assignment, text: str = "a crackle", **fields: object
) -> Remark:
    given: dict[str, object] = {"client_id": uuid4(), "side": "A", "at_s": 1.0, **fields}
    found, _ = add_remark(rater=rater, assignment_id=assignment.pk, text=text, **given)  # type: ignore[arg-type]
    return found


def test_an_aspect_has_one_answer_and_keeps_what_it_said_before(
    rater: Rater, assignment: Assignment
) -> None:
    rating = rate(rater, assignment)

    def about(choice: str) -> tuple[str, bool]:
        stored, is_new = rate_aspect(
            rater=rater, rating_id=rating.pk, aspect="prompt_fit", choice=choice, now=later(70)
        )
        return stored.choice, is_new

    assert about("A") == ("A", True)
    assert about("A") == ("A", False)
    assert about("BOTH_BAD") == ("BOTH_BAD", False)
    assert AspectRating.objects.get().choice == "BOTH_BAD"
    assert [revision.choice for revision in AspectRevision.objects.all()] == ["A"]
    rating.refresh_from_db()
    assert rating.choice == "A"


def test_an_aspect_that_is_not_asked_is_refused_by_name(
    rater: Rater, assignment: Assignment
) -> None:
    rating = rate(rater, assignment)
    with pytest.raises(AnswerError, match="musicality, only about: prompt_fit, sound_quality"):
        rate_aspect(
            rater=rater, rating_id=rating.pk, aspect="musicality", choice="A", now=later(70)
        )
    with pytest.raises(AnswerError, match="choice 'C'"):
        rate_aspect(
            rater=rater, rating_id=rating.pk, aspect="prompt_fit", choice="C", now=later(70)
        )
    assert AspectRating.objects.count() == 0


def test_aspects_of_a_frozen_or_foreign_rating_cannot_be_answered(
    rater: Rater, assignment: Assignment
) -> None:
    rating = rate(rater, assignment)
    with pytest.raises(RatingNotFoundError):
        rate_aspect(
            rater=create_rater(), rating_id=rating.pk, aspect="prompt_fit", choice="A", now=NOW
        )
    Rating.objects.update(is_frozen=True)
    with pytest.raises(RatingFrozenError):
        rate_aspect(rater=rater, rating_id=rating.pk, aspect="prompt_fit", choice="A", now=NOW)


@pytest.mark.parametrize("aspects", [["taste"], ["prompt_fit", "prompt_fit"]])
def test_a_study_asks_about_known_aspects_once_each(aspects: list[str]) -> None:
    with pytest.raises(StudyError, match="at most once"):
        create_study(
            slug="odd", name="odd", population="people", prompt_set=make_prompts(), aspects=aspects
        )


def test_a_study_that_does_not_ask_for_strength_takes_none(
    study: Study, rater: Rater, assignment: Assignment
) -> None:
    update_study(study=study, asks_strength=False)
    with pytest.raises(AnswerError, match="how much better"):
        answer(rater, assignment, strength=2)
    rating = rate(rater, assignment)
    with pytest.raises(AnswerError, match="how much better"):
        change_rating(rater=rater, rating_id=rating.pk, choice="A", strength=1, now=later(70))
    rating.refresh_from_db()
    assert rating.strength is None


def test_a_remark_is_stored_once_and_can_be_taken_away(
    rater: Rater, assignment: Assignment
) -> None:
    first = remark(rater, assignment, "  worse here ", at_s=1.25)
    assert (first.text, first.side, first.at_s) == ("worse here", "A", 1.25)
    again, is_new = add_remark(
        rater=rater,
        assignment_id=assignment.pk,
        client_id=first.client_id,
        side="B",
        at_s=0,
        text="something else",
    )
    assert (again.pk, again.text, is_new) == (first.pk, "worse here", False)
    remove_remark(rater=rater, client_id=first.client_id)
    assert Remark.objects.count() == 0
    with pytest.raises(RemarkNotFoundError):
        remove_remark(rater=rater, client_id=first.client_id)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"at_s": 2.2}, "within 0 to 2.00 s"),
        ({"at_s": -0.1}, "within 0 to 2.00 s"),
        ({"at_s": float("nan")}, "within 0 to 2.00 s"),
        ({"side": "C"}, "expected A or B"),
        ({"text": "  "}, "expected 1 to 300"),
        ({"text": "x" * 301}, "expected 1 to 300"),
    ],
)
def test_a_remark_that_cannot_be_is_refused_with_both_numbers(
    rater: Rater, assignment: Assignment, fields: dict[str, object], said: str
) -> None:
    with pytest.raises(RemarkError, match=said):
        remark(rater, assignment, **fields)  # type: ignore[arg-type]
    assert Remark.objects.count() == 0


def test_a_pair_takes_twenty_remarks(rater: Rater, assignment: Assignment) -> None:
    for _ in range(20):
        remark(rater, assignment)
    with pytest.raises(RemarkError, match="at most 20"):
        remark(rater, assignment)


def test_only_ones_own_pairs_take_remarks_and_only_ones_own_are_removed(
    rater: Rater, assignment: Assignment
) -> None:
    other = create_rater()
    with pytest.raises(AssignmentNotFoundError):
        remark(other, assignment)
    mine = remark(rater, assignment)
    with pytest.raises(RemarkNotFoundError):
        remove_remark(rater=other, client_id=mine.client_id)
    assert Remark.objects.count() == 1


def test_remarks_on_a_skipped_or_frozen_pair_stay_as_they_are(
    rater: Rater, study: Study, assignment: Assignment
) -> None:
    mine = remark(rater, assignment)
    rate(rater, assignment)
    Rating.objects.update(is_frozen=True)
    with pytest.raises(RemarkFrozenError):
        remove_remark(rater=rater, client_id=mine.client_id)
    with pytest.raises(RemarkFrozenError):
        remark(rater, assignment)
    make_pair(study)
    skipped = hand_out(study, rater, at=70)
    report_clip(rater=rater, assignment_id=skipped.pk, side="A", remark="", now=later(71))
    with pytest.raises(AssignmentClosedError, match="skipped"):
        remark(rater, skipped)


def test_a_withdrawn_rater_adds_nothing_and_erased_remarks_keep_their_place(
    rater: Rater, assignment: Assignment
) -> None:
    remark(rater, assignment, "my neighbour's name")
    assert erase_remarks(rater=rater) == 1
    assert erase_remarks(rater=rater) == 0
    assert (Remark.objects.get().text, Remark.objects.get().at_s) == ("", 1.0)
    withdraw_rater(rater=rater, now=later(5))
    with pytest.raises(WithdrawnError):
        remark(rater, assignment)


def test_the_sittings_answers_are_listed_newest_first_until_they_are_frozen(
    study: Study, rater: Rater
) -> None:
    for _ in range(4):
        make_pair(study)
    minutes = [0, 50, 60, 70]  # the first belongs to an earlier sitting
    ratings = []
    for minute, choice in zip(minutes, ("A", "B", "TIE", "BOTH_BAD"), strict=True):
        assignment = hand_out(study, rater, at=60 * minute)
        ratings.append(rate(rater, assignment, choice, at=60 * minute + 30))
    rate_aspect(
        rater=rater, rating_id=ratings[2].pk, aspect="sound_quality", choice="B", now=later(4300)
    )
    listed = changeable_answers(rater, now=later(71 * 60))
    assert [own.id for own in listed] == [rating.pk for rating in reversed(ratings[1:])]
    assert [own.choice for own in listed] == [Choice.BOTH_BAD, Choice.TIE, Choice.B]
    assert listed[1].aspects == {"sound_quality": "B"}
    assert listed[1].asked == ("prompt_fit", "sound_quality")
    Rating.objects.filter(pk=ratings[2].pk).update(is_frozen=True)
    assert [own.choice for own in changeable_answers(rater, now=later(71 * 60))] == [
        Choice.BOTH_BAD,
        Choice.B,
    ]
    assert changeable_answers(create_rater(), now=later(71 * 60)) == []


def test_without_a_history_only_the_last_answer_can_be_changed(study: Study, rater: Rater) -> None:
    update_study(study=study, shows_history=False)
    make_pair(study)
    make_pair(study)
    first = rate(rater, hand_out(study, rater, at=0), at=10)
    last = rate(rater, hand_out(study, rater, at=20), at=30)
    assert [own.id for own in changeable_answers(rater, now=later(40))] == [last.pk]
    change_rating(rater=rater, rating_id=last.pk, choice="B", strength=None, now=later(40))
    with pytest.raises(RatingFrozenError):
        change_rating(rater=rater, rating_id=first.pk, choice="B", strength=None, now=later(40))
    with pytest.raises(RatingFrozenError):
        rate_aspect(rater=rater, rating_id=first.pk, aspect="prompt_fit", choice="B", now=later(40))


def test_two_pairs_are_not_heard_at_the_same_time(rater: Rater) -> None:
    """The next pair is handed out early; its listening must still fit after the first one's.

    Two clips of 2 s each are 4 s a pair. Both pairs are in hand from the first second on.
    """
    study = make_study(minimum_listening_s=2.0)
    make_pair(study)
    make_pair(study)
    whole = {"A": [(0.0, 2.0)], "B": [(0.0, 2.0)]}

    def give(assignment: Assignment, at: float) -> UUID:
        rating, _ = record_rating(
            rater=rater,
            assignment_id=assignment.pk,
            client_id=uuid4(),
            choice="A",
            strength=None,
            heard=whole,  # type: ignore[arg-type]
            now=later(at),
        )
        return rating.client_id

    first = hand_out(study, rater, at=0)
    second = hand_out(study, rater, at=0, after=first.pk)
    give(first, 4)
    with pytest.raises(ListeningError, match=r"8\.0 s of listening in 5\.0 s"):
        give(second, 5)
    assert Assignment.objects.get(pk=second.pk).state == AssignmentState.OPEN
    give(second, 8)  # both were sent late, after a connection came back: 8 s in 8 s
    assert Rating.objects.count() == 2
