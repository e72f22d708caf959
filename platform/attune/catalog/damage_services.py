"""The write that asks for damaged copies of clips."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction

from attune.catalog.errors import ClipOrderError
from attune.catalog.models import Clip, ClipStatus, Damage


@dataclass(frozen=True)
class DamageOrder:
    """A damaged copy to be made of a clip. The seed decides where and how the damage falls."""

    original: Clip
    damage: Damage
    seed: int

    def __post_init__(self) -> None:
        if self.original.status != ClipStatus.REQUESTED or self.original.damage:
            raise ClipOrderError(
                f"clip {self.original.pk} is {self.original.status}: a damaged copy is asked for "
                "together with the whole clip, before that is made"
            )


@transaction.atomic
def request_damaged_copies(*, orders: Sequence[DamageOrder]) -> list[Clip]:
    """The copies, in the order asked. The job that makes a clip makes its copies after it."""
    return Clip.objects.bulk_create(
        Clip(
            prompt_id=order.original.prompt_id,
            checkpoint_id=order.original.checkpoint_id,
            job_id=order.original.job_id,
            requested_duration_s=order.original.requested_duration_s,
            sampling=order.original.sampling,
            seed=order.seed,
            damage=order.damage,
            damaged_from=order.original,
        )
        for order in orders
    )
