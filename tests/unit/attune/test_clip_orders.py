"""One clip that a person waits for."""

import random

import pytest

from attune.catalog.errors import ClipOrderError
from attune.catalog.models import Clip, Prompt
from attune.catalog.services import order_clip
from tests.factories import make_checkpoint

pytestmark = pytest.mark.django_db


def order(*, duration_s: float = 4.0, seed: int | None = None, rng_seed: int = 3) -> Clip:
    """An ordered clip of a calm harp."""
    return order_clip(
        prompt="a calm harp",
        prompt_set_name="console",
        checkpoint=make_checkpoint(f"r{rng_seed}"),
        duration_s=duration_s,
        rng=random.Random(rng_seed),
        seed=seed,
    )


def test_a_text_is_stored_and_a_seed_of_32_bits_is_drawn() -> None:
    first, second = order(rng_seed=3), order(rng_seed=4)
    assert first.prompt == second.prompt == Prompt.objects.get()
    assert first.seed == int(random.Random(3).random() * 2**32)
    assert first.seed != second.seed
    assert first.job is not None
    assert first.job.priority > 0, "people wait for it: before the pool's clips"


def test_a_given_seed_is_kept_however_large() -> None:
    assert order(seed=2**52).seed == 2**52


def test_a_refused_order_leaves_no_prompt_behind() -> None:
    with pytest.raises(ClipOrderError):
        order(duration_s=99.0)
    assert not Prompt.objects.exists()
    assert not Clip.objects.exists()
