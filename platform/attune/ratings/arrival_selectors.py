"""How many people are how far on the way to the first pair of a study."""

from dataclasses import dataclass

from django.db.models import Count, Q

from attune.ratings.arrival_models import Arrival, DeviceResult
from attune.ratings.models import Study


@dataclass(frozen=True)
class ArrivalCounts:
    """Raters of a study who did each step; `agreed` counts the version asked now."""

    n_agreed: int
    n_declined: int
    n_volume: int
    n_passed: int
    n_failed: int
    n_no_headphones: int
    n_practised: int
    n_rated: int


def arrival_counts(study: Study) -> ArrivalCounts:
    """How far raters of the study are; withdrawn ones are counted where they had come to."""

    def result(value: DeviceResult) -> Count:
        return Count("pk", filter=Q(device_result=value))

    counts = Arrival.objects.filter(study=study).aggregate(
        n_declined=Count("pk", filter=Q(declined_at__isnull=False)),
        n_volume=Count("pk", filter=Q(volume_set_at__isnull=False)),
        n_passed=result(DeviceResult.PASSED),
        n_failed=result(DeviceResult.FAILED),
        n_no_headphones=result(DeviceResult.NO_HEADPHONES),
        n_practised=Count("pk", filter=Q(practice_done_at__isnull=False)),
    )
    n_agreed = 0
    if study.consent is not None:
        n_agreed = study.consent.consents.filter(withdrawn_at__isnull=True).count()
    n_rated = study.pairs.filter(ratings__isnull=False).aggregate(
        n=Count("ratings__rater", distinct=True)
    )["n"]
    return ArrivalCounts(n_agreed=n_agreed, n_rated=n_rated, **counts)
