"""The gate on tiny checkpoints: what is recorded, what is stopped by what, what is repeated."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings

from attune.catalog.models import Checkpoint, RotationEntry
from attune.catalog.services import add_checkpoint
from attune.catalog.storage import checkpoint_folder
from attune.jobs.models import Job, JobKind, JobState
from attune.ratings.models import Study
from attune.rounds.gate import CHECKS
from attune.rounds.models import Evaluation, Round, RoundState, Verdict
from attune.rounds.services import queue_gate
from tests.integration.scene import add_tiny_checkpoint, start_test_round
from tests.unit.workers.planted_candidates import (
    Change,
    collapsed,
    deaf,
    hacked,
    louder,
    silent,
    write_adapter,
    write_candidate,
)
from workers.claims import carry_out, new_owner
from workers.gate import GatePlan, Trial, gate_prompts, gate_requests, gate_seed

pytestmark = pytest.mark.django_db

HELD_OUT = {
    "accuracy": 0.7,
    "low": 0.5,
    "high": 0.85,
    "n": 30,
    "chosen_nll": 2.2,
    "parent_chosen_nll": 2.0,
    "nll_increase": 0.1,
}


SMALL = GatePlan(n_prompts=6, n_clips=24, duration_s=1.0, n_sets=2)


@pytest.fixture
def base(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a base on which a round has just ended; its candidate is still to come."""
    monkeypatch.setattr("workers.gate.PLAN", SMALL)
    settings.ATTUNE_MINIMUM_PREFERENCES = 8
    checkpoint = add_tiny_checkpoint()
    settings.ATTUNE_STARTER = checkpoint_folder(checkpoint)
    start_test_round(checkpoint, {})
    Job.objects.filter(kind=JobKind.RUN_ROUND).update(state=JobState.DONE)
    # Guidance makes a few loud sounds of random weights, whose diversity is then luck.
    Study.objects.update(sampling={"guidance": 1.0})
    return checkpoint_folder(checkpoint)


def publish(folder: Path, summary: dict[str, Any] | None = None) -> Checkpoint:
    """The folder as the round's candidate; its gate is queued."""
    round = Round.objects.get()
    checkpoint = add_checkpoint(folder=folder, parent=round.base_checkpoint, is_simulated=True)
    Round.objects.filter(pk=round.pk).update(
        state=RoundState.EVALUATING,
        produced_checkpoint=checkpoint,
        summary={"held_out": HELD_OUT} if summary is None else summary,
    )
    queue_gate(round=round)
    return checkpoint


@pytest.fixture
def candidate(base: Path, tmp_path: Path) -> Checkpoint:
    """A candidate whose round moved its base a little."""
    return publish(write_adapter(base, tmp_path / "candidate", 0.05))


def failed_checks() -> dict[str, str]:
    """What failed, and what people are told of it."""
    return told_of(Verdict.FAILED)


def unmeasured_checks() -> dict[str, str]:
    """What was not measured, and why."""
    return told_of(Verdict.NOT_MEASURED)


def told_of(verdict: Verdict) -> dict[str, str]:
    return dict(Evaluation.objects.filter(verdict=verdict).values_list("check_name", "sentence"))


def evaluations() -> dict[str, tuple[float | None, str]]:
    return {
        evaluation.check_name: (evaluation.figure, evaluation.verdict)
        for evaluation in Evaluation.objects.all()
    }


def test_a_sound_candidate_passes_every_check_and_enters_rotation(candidate: Checkpoint) -> None:
    carry_out("gpu", new_owner())
    round = Round.objects.get()
    assert round.state == RoundState.DONE
    assert (failed_checks(), unmeasured_checks()) == ({}, {})
    found = evaluations()
    assert set(found) == set(CHECKS)
    assert found["integrity"][0] == 1.0
    assert RotationEntry.objects.filter(checkpoint=candidate, role="canary").exists()


def test_what_is_shown_stands_in_the_details(candidate: Checkpoint) -> None:
    carry_out("gpu", new_owner())
    details = {row.check_name: row.details for row in Evaluation.objects.all()}
    told = details["distribution"]
    assert [shift["name"] for shift in told["shifts"]] == [
        "level", "spectral centroid", "tempo", "onset density"
    ]  # fmt: skip
    assert all(shift["low"] <= shift["mean"] <= shift["high"] for shift in told["shifts"])
    assert told["band"]["low"] < told["band"]["median"] < told["band"]["high"]
    assert (told["band"]["n_clips"], told["band"]["n_reseeds"]) == (24, 1)
    assert told["n_clips"] == 24
    assert told["reads"] == "the clips' own codes"
    assert details["held_out_accuracy"]["accuracy"] == 0.7
    assert "of 30 preferences on prompts held out" in details["held_out_accuracy"]["remark"]
    assert details["loudness_shift"]["shift"] == told["shifts"][0]


@pytest.mark.parametrize(
    ("change", "check_name"),
    [
        (collapsed, "diversity"),
        (silent, "silence"),
        (hacked, "distribution"),
        (deaf, "prompt_adherence"),
    ],
)
def test_each_planted_fault_is_stopped_by_the_check_that_is_made_for_it(
    base: Path, tmp_path: Path, change: Change, check_name: str
) -> None:
    faulty = publish(write_candidate(base, tmp_path / "faulty", change))
    carry_out("gpu", new_owner())
    assert Round.objects.get().state == RoundState.DONE
    assert check_name in failed_checks()
    assert not RotationEntry.objects.filter(checkpoint=faulty).exists()


def test_what_is_only_louder_is_stopped_by_its_level(base: Path, tmp_path: Path) -> None:
    """Its codes are the base's; what a codec of random weights hears in it may differ more."""
    publish(write_candidate(base, tmp_path / "faulty", louder))
    carry_out("gpu", new_owner())
    failed = failed_checks()
    assert "loudness_shift" in failed
    of_sound = {"loudness_shift", "anchor_loudness", "distribution", "anchor_distribution"}
    assert set(failed) <= of_sound
    details = Evaluation.objects.get(check_name="loudness_shift").details
    assert details["shift"]["mean"] == pytest.approx(6.0, abs=0.2)
    reads = Evaluation.objects.get(check_name="distribution").details["reads"]
    assert reads == "the clips' sound through the encoder's codec", "the codec is another"


def test_weights_that_are_no_numbers_are_named_and_nothing_is_generated(
    base: Path, tmp_path: Path
) -> None:
    publish(write_adapter(base, tmp_path / "faulty", float("nan")))
    carry_out("gpu", new_owner())
    failed = failed_checks()
    assert "weights hold NaN or infinities, such as core.layers.0" in failed["finite"]
    assert unmeasured_checks()["diversity"].endswith("was not measured")
    assert Round.objects.get().outcome.count("Not measured: ") == 1


def test_a_round_that_held_nothing_out_is_not_shown_to_be_well(base: Path, tmp_path: Path) -> None:
    publish(write_adapter(base, tmp_path / "candidate", 0.05), summary={"held_out": None})
    carry_out("gpu", new_owner())
    assert failed_checks() == {}
    unmeasured = unmeasured_checks()
    assert set(unmeasured) == {"held_out_accuracy", "chosen_nll"}
    assert "no preference was held out of training" in unmeasured["held_out_accuracy"]
    assert not RotationEntry.objects.filter(role="canary").exists()


@pytest.mark.parametrize("n", [1, 3])
def test_so_few_held_out_preferences_that_nothing_could_fail_are_no_measurement(
    base: Path, tmp_path: Path, n: int
) -> None:
    """Three of three wrong still reach 1.96^2 / (3 + 1.96^2) = 0.56."""
    few = {**HELD_OUT, "accuracy": 1.0, "low": 0.3, "high": 1.0, "n": n}
    publish(write_adapter(base, tmp_path / "candidate", 0.05), summary={"held_out": few})
    carry_out("gpu", new_owner())
    assert failed_checks() == {}
    unmeasured = unmeasured_checks()
    assert set(unmeasured) == {"held_out_accuracy"}
    assert "could not have been below" in unmeasured["held_out_accuracy"]
    outcome = Round.objects.get().outcome
    assert "stays out of rotation. Not measured: held_out_accuracy" in outcome
    assert not RotationEntry.objects.filter(role="canary").exists()


def test_a_drift_that_adds_up_over_rounds_is_stopped_though_each_step_is_small(
    base: Path, tmp_path: Path
) -> None:
    """An encoder of random weights sees little; the thresholds are equal and narrower here.

    Over eight sets of seeds the step measured 0.78 to 0.96 and the sum 1.12 to 1.35.
    """
    Study.objects.update(gate={"distribution": 1.05, "anchor_distribution": 1.05})
    far = add_checkpoint(
        folder=write_adapter(base, tmp_path / "far", 0.8),
        parent=Round.objects.get().base_checkpoint,
        is_simulated=True,
    )
    Round.objects.update(base_checkpoint=far)
    on = checkpoint_folder(far)
    publish(write_adapter(base, tmp_path / "candidate", 0.05, on=on, seed=4))
    carry_out("gpu", new_owner())
    found = evaluations()
    assert found["distribution"][1] == Verdict.PASSED
    assert found["anchor_distribution"][1] == Verdict.FAILED
    near, far_off = found["distribution"][0], found["anchor_distribution"][0]
    assert near is not None and far_off is not None and far_off > 1.1 * near


def test_on_the_anchor_itself_the_drift_is_that_of_the_round(candidate: Checkpoint) -> None:
    carry_out("gpu", new_owner())
    found = evaluations()
    assert found["anchor_distribution"][0] == found["distribution"][0]
    assert found["anchor_loudness"][0] == found["loudness_shift"][0]


def test_a_round_that_unlearned_its_raters_taste_is_stopped(base: Path, tmp_path: Path) -> None:
    worse = {**HELD_OUT, "accuracy": 0.3, "low": 0.2, "high": 0.45, "nll_increase": 0.9}
    publish(write_adapter(base, tmp_path / "candidate", 0.05), summary={"held_out": worse})
    carry_out("gpu", new_owner())
    assert set(failed_checks()) == {"held_out_accuracy", "chosen_nll"}


def test_without_an_encoder_the_distribution_has_not_been_shown(
    candidate: Checkpoint, settings: LazySettings
) -> None:
    shutil.rmtree(settings.ATTUNE_ENCODER)
    carry_out("gpu", new_owner())
    unmeasured = unmeasured_checks()
    assert set(unmeasured) == {"distribution", "anchor_distribution", "embedding_diversity"}
    assert "there is no representation encoder at encoder" in unmeasured["distribution"]
    assert Evaluation.objects.get(check_name="distribution").details["shifts"]


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
    weights = tmp_path / "candidate" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    carry_out("gpu", new_owner())
    found = evaluations()
    assert found["integrity"] == (0.0, Verdict.FAILED)
    details = Evaluation.objects.get(check_name="integrity").details
    assert "adapter_model.safetensors" in details["error"]
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
    trial = Trial.of_round(round, candidate)
    requests = gate_requests(trial, SMALL)
    assert requests == gate_requests(Trial.of_round(round, candidate), SMALL)
    assert [sum(map(len, one.values())) for one in requests] == [SMALL.n_clips] * SMALL.n_sets
    held_out = set(
        round.study.prompt_set.prompts.filter(is_held_out=True).values_list("text", flat=True)
    )
    assert set(list(requests[0])[: len(held_out)]) == held_out
    seeds = {r.seed for one in requests for batch in one.values() for r in batch}
    assert len(seeds) == SMALL.n_clips * SMALL.n_sets
    assert gate_seed("other", 1, 0) != gate_seed(trial.seed, 1, 0)
    assert len(gate_prompts(round.study.prompt_set, 2)) == 2


def test_a_plan_that_could_not_measure_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 sets of clips, got 1"):
        GatePlan(n_sets=1)
    with pytest.raises(ValueError, match="2 clips of each of 12 prompts, got 12"):
        GatePlan(n_clips=12)
