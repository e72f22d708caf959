"""What a rater's own page tells: counts, time, last ratings, consents, device check."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from django.db.models import Count, F, Q, Sum

from attune.raters.models import Consent, Rater
from attune.ratings.arrival_models import Arrival, PanelPerson
from attune.ratings.models import AspectRating, ListeningEvent, Rating
from attune.ratings.sessions import SESSION_GAP

SHOWN_RATINGS = 12


@dataclass(frozen=True)
class LastRating:
    """A rating in the rater's own terms: the prompt, the choice, how strong, whether changed."""

    prompt: str
    choice: str
    strength: int | None
    answered_at: datetime
    was_changed: bool


@dataclass(frozen=True)
class OwnRecord:
    """All that the site can tell a rater about their part."""

    since: datetime
    n_ratings: int
    n_sittings: int
    listened_s: float
    n_reports: int
    n_remarks: int
    n_aspects: int
    last_ratings: tuple[LastRating, ...]
    consents: tuple[Consent, ...]
    arrivals: tuple[Arrival, ...]
    is_from_panel: bool

    @property
    def listened_min(self) -> int:
        """Whole minutes of clips heard."""
        return round(self.listened_s / 60)


def own_record(rater: Rater) -> OwnRecord:
    """The rater's part so far."""
    ratings = Rating.objects.filter(rater=rater)
    answered_at = list(ratings.order_by("created_at").values_list("created_at", flat=True))
    heard = ListeningEvent.objects.filter(assignment__rater=rater).aggregate(
        total_s=Sum(F("end_s") - F("start_s"))
    )
    spoken = Rater.objects.filter(pk=rater.pk).aggregate(
        n_reports=Count("assignments__clip_reports", distinct=True),
        n_remarks=Count(
            "assignments__remarks", filter=~Q(assignments__remarks__text=""), distinct=True
        ),
    )
    newest = ratings.select_related("pair__prompt").order_by("-created_at", "-pk")
    return OwnRecord(
        since=rater.created_at,
        n_ratings=len(answered_at),
        n_sittings=count_sittings(answered_at),
        listened_s=heard["total_s"] or 0.0,
        n_reports=spoken["n_reports"],
        n_remarks=spoken["n_remarks"],
        n_aspects=AspectRating.objects.filter(rating__rater=rater).count(),
        last_ratings=tuple(
            LastRating(
                prompt=rating.pair.prompt.text,
                choice=rating.choice,
                strength=rating.strength,
                answered_at=rating.created_at,
                was_changed=rating.changed_at is not None,
            )
            for rating in newest[:SHOWN_RATINGS]
        ),
        consents=tuple(
            Consent.objects.filter(rater=rater).select_related("text").order_by("-given_at")
        ),
        arrivals=tuple(
            Arrival.objects.filter(rater=rater)
            .select_related("study", "device_check")
            .order_by("pk")
        ),
        is_from_panel=PanelPerson.objects.filter(rater=rater).exists(),
    )


def count_sittings(answered_at: Sequence[datetime], *, gap: timedelta = SESSION_GAP) -> int:
    """How many sittings the answers, oldest first, fall into; a gap of half an hour parts two."""
    if not answered_at:
        return 0
    return 1 + sum(later - earlier > gap for earlier, later in pairwise(answered_at))
