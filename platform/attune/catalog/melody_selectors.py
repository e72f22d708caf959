"""Reads of the recordings whose tunes clips follow."""

from django.db.models import Count, QuerySet

from attune.catalog.errors import MelodyError
from attune.catalog.models import Melody

SHOWN_NAMES = 20


def melodies() -> QuerySet[Melody]:
    """All recordings, newest first, with `n_prompts`, how many prompts follow each."""
    return (
        Melody.objects.select_related("created_by")
        .annotate(n_prompts=Count("prompts"))
        .order_by("-created_at", "-pk")
    )


def get_melody(name: str) -> Melody:
    """The recording of this name; MelodyError says which names there are."""
    melody = Melody.objects.filter(name=name).first()
    if melody is None:
        known = list(Melody.objects.order_by("-pk").values_list("name", flat=True)[:SHOWN_NAMES])
        raise MelodyError(f"no recording {name!r}; there are {', '.join(known) or 'none'}")
    return melody
