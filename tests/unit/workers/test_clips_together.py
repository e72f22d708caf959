"""Clips of a checkpoint and of its adapters are made in one job, each as its own would."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from attune.catalog.models import Checkpoint, Clip, ClipStatus
from attune.catalog.services import ClipOrder, add_checkpoint, request_clips
from attune.catalog.storage import checkpoint_chain, checkpoint_folder, media_file
from attune.jobs.models import Job, JobState
from generator.checkpoints import content_hash, load_core, write_card
from generator.requests import ClipRequest
from generator.synthesis import load_generator
from tests.integration.scene import add_test_prompts, add_tiny_checkpoint
from tests.unit.generator.test_adapters_by_row import write_adapter
from workers.claims import carry_out, new_owner
from workers.generators import WARM_GENERATORS, WarmGenerators

pytestmark = pytest.mark.django_db


def add_adapter(
    parent: Checkpoint, folder: Path, *, seed: int, use_dora: bool = False
) -> Checkpoint:
    base, _ = checkpoint_chain(parent)
    write_adapter(folder, seed=seed, core=load_core(base), use_dora=use_dora)
    write_card(
        folder,
        name=folder.name,
        kind="adapter",
        licence="Apache-2.0",
        parent_hash=content_hash(checkpoint_folder(parent)),
    )
    return add_checkpoint(folder=folder, parent=parent)


def order(checkpoints: Sequence[Checkpoint]) -> list[Clip]:
    prompt = add_test_prompts().prompts.first()
    assert prompt is not None
    return request_clips(
        requests=[
            ClipOrder(prompt=prompt, checkpoint=checkpoint, duration_s=1.0, seed=number)
            for number, checkpoint in enumerate(checkpoints)
        ]
    )


def codes_of(clip: Clip) -> NDArray[np.int16]:
    clip.refresh_from_db()
    assert clip.status == ClipStatus.READY, clip.error
    codes: NDArray[np.int16] = np.load(media_file(clip.codes_path), allow_pickle=False)
    return codes


def codes_alone(clip: Clip) -> NDArray[np.int16]:
    """Returns the codes that the clip's own checkpoint, adapters merged, gives it alone."""
    generator = load_generator(*checkpoint_chain(clip.checkpoint))
    request = ClipRequest(clip.prompt.text, 1.0, clip.seed)
    return generator.generate([request], generator.sampling)[0].codes


def test_clips_of_a_checkpoint_and_its_adapters_are_one_job(tmp_path: Path) -> None:
    WARM_GENERATORS.drop()
    base = add_tiny_checkpoint()
    first = add_adapter(base, tmp_path / "first", seed=1)
    second = add_adapter(first, tmp_path / "second", seed=2)
    clips = order([base, first, second, first])
    job = Job.objects.get()
    assert job.arguments["checkpoints"] == sorted([base.pk, first.pk, second.pk])
    assert carry_out("gpu", new_owner()) == 1
    made = [codes_of(clip) for clip in clips]
    for clip, codes in zip(clips, made, strict=True):
        assert (codes == codes_alone(clip)).all()
    assert not (made[0] == made[1]).all()
    assert len(WARM_GENERATORS) == 1
    WARM_GENERATORS.drop()


def test_an_adapter_that_has_to_be_merged_is_made_apart(tmp_path: Path) -> None:
    base = add_tiny_checkpoint()
    adapter = add_adapter(base, tmp_path / "dora", seed=1, use_dora=True)
    clips = order([base, adapter])
    assert Job.objects.count() == 1
    assert carry_out("gpu", new_owner()) == 1
    for clip in clips:
        assert (codes_of(clip) == codes_alone(clip)).all()


def test_a_damaged_adapter_fails_its_own_clips_only(tmp_path: Path) -> None:
    WARM_GENERATORS.drop()
    base = add_tiny_checkpoint()
    adapter = add_adapter(base, tmp_path / "adapter", seed=1)
    weights = checkpoint_folder(adapter) / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    whole, damaged = order([base, adapter])
    assert carry_out("gpu", new_owner()) == 1
    assert (codes_of(whole) == codes_alone(whole)).all()
    damaged.refresh_from_db()
    assert damaged.status == ClipStatus.FAILED
    assert "adapter_model.safetensors" in damaged.error
    assert Job.objects.get().state == JobState.DONE


def test_one_generator_alone_serves_a_job_of_one_checkpoint(tmp_path: Path) -> None:
    base = add_tiny_checkpoint()
    adapter = add_adapter(base, tmp_path / "adapter", seed=1)
    clips = order([adapter, adapter])
    assert carry_out("gpu", new_owner()) == 1
    for clip in clips:
        assert (codes_of(clip) == codes_alone(clip)).all()
    warm = WarmGenerators(capacity=1)
    assert warm.get(adapter) is warm.get(adapter)
