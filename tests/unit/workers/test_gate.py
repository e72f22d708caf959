"""The gate on tiny checkpoints: what is recorded, what is repeated, what is refused."""

from pathlib import Path

import pytest
from django.conf import LazySettings

from attune.catalog.models import Checkpoint, RotationEntry
from attune.catalog.services import add_checkpoint
from attune.catalog.storage import checkpoint_folder
from attune.jobs.models import Job, JobKind, JobState
from attune.ratings.models import Study
from attune.rounds.models import Evaluation, Round, RoundState, Verdict
from attune.rounds.services import queue_gate
from tests.integration.scene import add_tiny_checkpoint, start_test_round
from tests.tiny import write_tiny_checkpoint
from workers.claims import carry_out, new_owner
from workers.gate import N_CLIPS_PER_PROMPT, N_PROMPTS, gate_requests, gate_seed

pytestmark = pytest.mark.django_db


@pytest.fixture
def candidate(settings: LazySettings, tmp_path: Path) -> Checkpoint:
    """A candidate that a round has just published; its gate is queued."""
    settings.ATTUNE_MINIMUM_PREFERENCES = 8
    round = start_test_round(add_tiny_checkpoint(), {})
    Job.objects.filter(kind=JobKind.RUN_ROUND).update(state=JobState.DONE)
    # Guidance makes a few loud sounds of random weights, whose diversity is then luck.
    Study.objects.update(sampling={"guidance": 1.0})
    checkpoint = add_checkpoint(folder=write_tiny_checkpoint(tmp_path / "candidate", seed=1))
    Round.objects.filter(pk=round.pk).update(
        state=RoundState.EVALUATING, produced_checkpoint=checkpoint
    )
    queue_gate(round=round)
    return checkpoint


def evaluations() -> dict[str, tuple[float | None, str]]:
    return {
        evaluation.check_name: (evaluation.figure, evaluation.verdict)
        for evaluation in Evaluation.objects.all()
    }


def test_a_sound_candidate_passes_every_check_and_enters_rotation(candidate: Checkpoint) -> None:
    carry_out("gpu", new_owner())
    round = Round.objects.get()
    assert round.state == RoundState.DONE
    found = evaluations()
    assert set(found) == {
        "integrity", "finite", "silence", "clipping", "duration", "diversity"
    }  # fmt: skip
    assert {verdict for _, verdict in found.values()} == {Verdict.PASSED}, found
    assert found["integrity"][0] == 1.0
    assert RotationEntry.objects.filter(checkpoint=candidate, role="canary").exists()


def test_a_second_run_measures_the_same_figures_and_changes_nothing(candidate: Checkpoint) -> None:
    carry_out("gpu", new_owner())
    first = evaluations()
    Round.objects.update(state=RoundState.EVALUATING)  # killed before the end was written
    Job.objects.filter(kind=JobKind.RUN_GATE).update(state=JobState.QUEUED, attempts=0)
    carry_out("gpu", new_owner())
    assert evaluations() == first
    assert Round.objects.get().state == RoundState.DONE
    assert RotationEntry.objects.filter(checkpoint=candidate).count() == 1


def test_damaged_weights_fail_integrity_and_stay_out_of_rotation(
    candidate: Checkpoint, tmp_path: Path
) -> None:
    weights = tmp_path / "candidate" / "lm.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    carry_out("gpu", new_owner())
    found = evaluations()
    assert found["integrity"] == (0.0, Verdict.FAILED)
    details = Evaluation.objects.get(check_name="integrity").details
    assert "lm.safetensors" in details["error"]
    assert Round.objects.get().state == RoundState.DONE
    assert not RotationEntry.objects.filter(checkpoint=candidate).exists()


def test_a_damaged_base_fails_the_attempt_and_says_nothing_of_the_candidate(
    candidate: Checkpoint,
) -> None:
    weights = checkpoint_folder(Round.objects.get().base_checkpoint) / "lm.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    Job.objects.filter(kind=JobKind.RUN_GATE).update(max_attempts=1)
    carry_out("gpu", new_owner())
    assert evaluations() == {}
    round = Round.objects.get()
    assert round.state == RoundState.FAILED
    assert f"base checkpoint {round.base_checkpoint.name} cannot be run" in round.error
    assert "lm.safetensors" in round.error
    assert not RotationEntry.objects.filter(checkpoint=candidate).exists()


def test_requests_are_fixed_by_the_round_and_begin_with_held_out_prompts(
    candidate: Checkpoint,
) -> None:
    round = Round.objects.get()
    requests = gate_requests(round)
    assert requests == gate_requests(round)
    assert len(requests) == N_PROMPTS
    assert all(len(batch) == N_CLIPS_PER_PROMPT for batch in requests.values())
    held_out = set(
        round.study.prompt_set.prompts.filter(is_held_out=True).values_list("text", flat=True)
    )
    assert set(list(requests)[: len(held_out)]) == held_out
    seeds = {request.seed for batch in requests.values() for request in batch}
    assert len(seeds) == N_PROMPTS * N_CLIPS_PER_PROMPT
    other = Round(pk=round.pk + 1, dataset_sha256=round.dataset_sha256)
    assert gate_seed(other, 1, 0) != gate_seed(round, 1, 0)
