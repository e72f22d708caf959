"""A mix from its order to its gate, through the real trainer, on the tiny checkpoint."""

import json
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.conf import settings as site

from attune.catalog.models import Checkpoint, CheckpointMix
from attune.catalog.services import add_checkpoint
from attune.jobs.models import Job, JobKind
from attune.rounds.models import RoundState
from attune.rounds.services import create_mix
from tests.integration.scene import add_tiny_checkpoint, create_rated_study
from tests.unit.alignment.test_mixing import write_adapter
from tests.unit.workers.test_training import claim
from workers.claims import carry_out_job
from workers.training import run_folder

pytestmark = pytest.mark.django_db


def add_adapter(base: Checkpoint, name: str, seed: int) -> Checkpoint:
    store = Path(site.ATTUNE_CHECKPOINTS)
    folder = write_adapter(store / base.folder, store / name, seed=seed)
    return add_checkpoint(folder=folder, parent=base)


def test_a_mix_is_made_measured_and_sent_to_its_gate(settings: LazySettings) -> None:
    base = add_tiny_checkpoint()
    study = create_rated_study()
    parts = [(add_adapter(base, "first", 1), 0.5), (add_adapter(base, "second", 2), 0.5)]
    round = create_mix(study=study, parts=parts, name="both")
    job, lease = claim(round)
    carry_out_job(job, lease)
    round.refresh_from_db()
    assert round.error == ""
    assert round.state == RoundState.EVALUATING
    checkpoint = round.produced_checkpoint
    assert checkpoint is not None
    assert (checkpoint.name, checkpoint.parent, checkpoint.is_simulated) == ("both", base, True)
    weights = CheckpointMix.objects.filter(checkpoint=checkpoint).values_list(
        "part__name", "weight"
    )
    assert sorted(weights) == [("first", 0.5), ("second", 0.5)]
    assert round.summary["held_out"]["n"] == round.counts["held_out"] > 0
    assert Job.objects.filter(kind=JobKind.RUN_GATE).count() == 1
    run = json.loads((run_folder(round) / "run.json").read_text())
    assert run["config"]["weights"] == [0.5, 0.5]
