"""The write that stores what a rater answers about one aspect of a pair."""

from datetime import datetime

import structlog
from django.db import transaction
from django.utils.translation import gettext as _

from attune.raters.models import Rater
from attune.ratings.assignment_services import lock_rater
from attune.ratings.choices import Aspect, Choice
from attune.ratings.errors import AnswerError
from attune.ratings.models import AspectRating, AspectRevision
from attune.ratings.rating_services import check_answer, lock_changeable_rating

log = structlog.get_logger(__name__)


@transaction.atomic
def rate_aspect(
    *, rater: Rater, rating_id: int, aspect: Aspect | str, choice: Choice | str, now: datetime
) -> tuple[AspectRating, bool]:
    """(what was answered about the aspect, whether it is new).

    An aspect has one answer per rating: another one replaces it and is kept beside it. Raises
    RatingNotFoundError, RatingFrozenError, or AnswerError for what the study does not ask.
    """
    answer = check_answer(choice, None)
    rating = lock_changeable_rating(lock_rater(rater), rating_id)
    asked = rating.pair.study.aspects
    if aspect not in asked:
        raise AnswerError(
            _("this study does not ask about %(aspect)s, only about: %(asked)s")
            % {"aspect": str(aspect), "asked": ", ".join(asked) or _("nothing")}
        )
    stored, is_new = AspectRating.objects.get_or_create(
        rating=rating, aspect=Aspect(aspect), defaults={"choice": answer}
    )
    if not is_new and stored.choice != answer:
        AspectRevision.objects.create(aspect_rating=stored, choice=stored.choice)
        stored.choice = answer
        stored.changed_at = now
        stored.save(update_fields=["choice", "changed_at"])
    log.info("aspect_rated", rating=rating_id, aspect=stored.aspect, choice=stored.choice)
    return stored, is_new
