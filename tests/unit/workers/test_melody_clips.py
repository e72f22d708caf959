"""Clips that follow a recording, made by a tiny checkpoint that hears it and one that does not."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from django.conf import LazySettings
from numpy.typing import NDArray

from attune.catalog.models import Checkpoint, Clip, ClipStatus, Melody
from attune.catalog.services import (
    ClipOrder,
    PromptRow,
    add_checkpoint,
    add_prompts,
    find_or_add_prompt,
    request_clips,
)
from attune.catalog.storage import media_file
from attune.jobs.models import Job, JobState
from generator.checkpoints import save_core, write_card
from tests.factories import make_melody
from tests.integration.scene import add_tiny_checkpoint, start_test_round
from tests.tiny import TINY_CORE, tiny_core, write_tiny_checkpoint
from workers.claims import carry_out, new_owner
from workers.gate import gate_prompts

pytestmark = pytest.mark.django_db


def make_clips(checkpoint: Checkpoint, *melodies: Melody | None) -> list[Clip]:
    """One clip of the same words and seed for each melody, all made by one job."""
    clips = request_clips(
        requests=[
            ClipOrder(
                prompt=find_or_add_prompt(
                    prompt_set_name="tunes", text="a slow ballad on piano", melody=melody
                ),
                checkpoint=checkpoint,
                duration_s=1.0,
                seed=3,
            )
            for melody in melodies
        ]
    )
    assert Job.objects.filter(clips__in=clips).distinct().count() == 1
    carry_out("gpu", new_owner())
    return [Clip.objects.get(pk=clip.pk) for clip in clips]


def codes(clip: Clip) -> NDArray[np.int16]:
    """What was sampled, [K, T]."""
    assert clip.status == ClipStatus.READY, clip.error
    sampled: NDArray[np.int16] = np.load(media_file(clip.codes_path), allow_pickle=False)
    return sampled


def add_deaf_checkpoint(folder: Path) -> Checkpoint:
    """A tiny checkpoint that was not trained to follow a melody."""
    write_tiny_checkpoint(folder)
    save_core(tiny_core(config=replace(TINY_CORE, hears_melody=False)), folder)
    write_card(
        folder,
        name="deaf",
        kind="full",
        licence="Apache-2.0",
        recipe={},
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return add_checkpoint(folder=folder)


def test_clips_with_and_without_a_recording_are_made_by_one_job() -> None:
    tune = make_melody()
    followed, plain, again = make_clips(add_tiny_checkpoint(), tune, None, tune)
    assert codes(followed).shape == codes(plain).shape
    assert (codes(followed) != codes(plain)).any(), "the recording changes what is sampled"
    assert (codes(followed) == codes(again)).all()
    assert Job.objects.get().state == JobState.DONE


def test_a_checkpoint_that_follows_no_melody_fails_such_a_clip_alone(tmp_path: Path) -> None:
    followed, plain = make_clips(add_deaf_checkpoint(tmp_path / "deaf"), make_melody(), None)
    assert followed.status == ClipStatus.FAILED
    assert followed.error == "this checkpoint was not trained to follow a melody"
    assert plain.status == ClipStatus.READY


def test_a_recording_that_is_gone_fails_its_clip_alone() -> None:
    lost = make_melody()
    media_file(lost.path).unlink()
    followed, plain = make_clips(add_tiny_checkpoint(), lost, None)
    assert followed.status == ClipStatus.FAILED
    assert "is missing, not a recording" in followed.error
    assert plain.status == ClipStatus.READY


def test_the_gate_leaves_out_prompts_that_follow_a_recording(settings: LazySettings) -> None:
    settings.ATTUNE_MINIMUM_PREFERENCES = 8
    round = start_test_round(add_tiny_checkpoint(), {})
    add_prompts(
        prompt_set=round.study.prompt_set,
        rows=[PromptRow(text="a tune to follow", melody=make_melody(), is_held_out=True)],
    )
    texts = [prompt.text for prompt in gate_prompts(round.study.prompt_set)]
    assert "a tune to follow" not in texts
    assert len(texts) == 6
