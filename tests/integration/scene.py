"""A small site on the tiny checkpoint: prompts, clips, a rated study and a round."""

import atexit
import shutil
import tempfile
import uuid
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
from django.conf import settings
from django.utils import timezone

from attune.catalog.models import Checkpoint, Clip, Population, PromptSet, RotationRole
from attune.catalog.services import (
    ClipOrder,
    PromptRow,
    add_checkpoint,
    add_prompt_set,
    add_prompts,
    enter_rotation,
    request_clips,
)
from attune.jobs.models import JobQueue
from attune.raters.services import create_rater
from attune.ratings.choices import Choice, PairPurpose
from attune.ratings.models import Study
from attune.ratings.services import assign_pair, create_study, record_rating, request_pairs
from attune.rounds.models import Round
from attune.rounds.services import create_round
from tests.tiny import TINY_PROMPTS, write_tiny_checkpoint, write_tiny_encoder
from workers.claims import carry_out, new_owner

N_PREFERENCES = 12
PROMPTS = (
    *TINY_PROMPTS,
    "slow dance music on a music box",
    "a mellow ballad with driving drums in a minor key",
    "fast and sparse, piano",
)
"""Six that the tiny planner tells apart."""


@cache
def _tiny_folder() -> Path:
    """Returns a folder with the tiny checkpoint, written once a process."""
    folder = Path(tempfile.mkdtemp(prefix="attune-tiny-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return write_tiny_checkpoint(folder / "tiny")


def add_tiny_checkpoint() -> Checkpoint:
    """Returns the tiny checkpoint, anchor of the rotation for rehearsals, and its encoder."""
    folder = Path(settings.ATTUNE_CHECKPOINTS) / "tiny"
    shutil.copytree(_tiny_folder(), folder)
    write_tiny_encoder(Path(settings.ATTUNE_ENCODER), folder)
    checkpoint = add_checkpoint(folder=folder)
    enter_rotation(
        checkpoint=checkpoint,
        population=Population.REHEARSAL,
        role=RotationRole.ANCHOR,
        share=1.0,
        reason="The tests start from it.",
    )
    return checkpoint


def add_test_prompts() -> PromptSet:
    """Returns a prompt set of six prompts, two of them held out."""
    prompt_set = add_prompt_set(name="tests")
    add_prompts(
        prompt_set=prompt_set,
        rows=[PromptRow(text=text, is_held_out=number >= 4) for number, text in enumerate(PROMPTS)],
    )
    return prompt_set


def request_test_clips(
    checkpoint: Checkpoint, n_clips: int, duration_s: float, text: str = ""
) -> list[Clip]:
    """Requests clips of one prompt with seeds 0, 1, 2, ..."""
    prompt_set = add_test_prompts()
    if text:
        add_prompts(prompt_set=prompt_set, rows=[PromptRow(text=text)])
    prompts = prompt_set.prompts.filter(text=text) if text else prompt_set.prompts.order_by("pk")
    prompt = prompts[0]
    return request_clips(
        requests=[
            ClipOrder(prompt=prompt, checkpoint=checkpoint, duration_s=duration_s, seed=seed)
            for seed in range(n_clips)
        ]
    )


def create_rated_study(n_preferences: int = N_PREFERENCES) -> Study:
    """Returns a study whose three raters have decided every pair; its clips are made here."""
    rng = np.random.default_rng(0)
    study = create_study(
        slug="tests",
        name="Tests",
        population=Population.REHEARSAL,
        prompt_set=add_test_prompts(),
        clip_duration_s=1.0,
        minimum_listening_s=0.0,
    )
    request_pairs(study=study, n_pairs=n_preferences, purpose=PairPurpose.TRAINING, rng=rng)
    carry_out(JobQueue.DEVICE, new_owner())
    raters = [create_rater(is_simulated=True) for _ in range(3)]
    for number in range(n_preferences):
        rater = raters[number % len(raters)]
        assignment = assign_pair(study=study, rater=rater, rng=rng, now=timezone.now())
        assert assignment is not None, f"no pair was left after {number} ratings"
        record_rating(
            rater=rater,
            assignment_id=assignment.pk,
            client_id=uuid.uuid4(),
            choice=Choice.A if rng.random() < 0.5 else Choice.B,
            strength=None,
            heard={},
            now=timezone.now(),
        )
    return study


def start_test_round(checkpoint: Checkpoint, config: Mapping[str, object]) -> Round:
    """Starts a round on a study that was rated for it."""
    return create_round(study=create_rated_study(), base_checkpoint=checkpoint, config=config)
