"""The gate's checks: each can pass and each can fail."""

import pytest

from alignment.scoring import wilson_interval
from attune.rounds.choices import Verdict
from attune.rounds.gate import (
    CHECKS,
    GateError,
    Step,
    canary_share_of,
    check_gate,
    fewest_held_out,
    judge,
    least_of,
    remark_of,
    thresholds_of,
)


@pytest.mark.parametrize(
    ("check_name", "passing", "failing"),
    [
        ("integrity", 1.0, 0.99),
        ("finite", 1.0, 0.99),
        ("silence", 0.0, 0.01),
        ("clipping", 0.001, 0.0011),
        ("duration", 0.1, 0.11),
        ("held_out_accuracy", 0.5, 0.49),
        ("chosen_nll", 0.3, 0.31),
        ("distribution", 2.0, 2.01),
        ("loudness_shift", 2.0, 2.01),
        ("anchor_distribution", 3.0, 3.01),
        ("anchor_loudness", 4.0, 4.01),
        ("prompt_adherence", 0.5, 0.49),
        ("diversity", 0.9, 0.89),
        ("embedding_diversity", 0.8, 0.79),
    ],
)
def test_each_check_passes_at_its_threshold_and_fails_beyond_it(
    check_name: str, passing: float, failing: float
) -> None:
    assert judge(check_name, passing).has_passed
    judgement = judge(check_name, failing)
    assert not judgement.has_passed
    assert f"{failing:.4g}" in judgement.sentence


def test_the_parametrised_checks_are_all_there_are() -> None:
    marks = test_each_check_passes_at_its_threshold_and_fails_beyond_it.pytestmark
    assert {name for name, _, _ in marks[0].args[1]} == set(CHECKS)


def test_every_step_before_people_has_a_check() -> None:
    assert {check.step for check in CHECKS.values()} == set(Step)


@pytest.mark.parametrize("figure", [None, float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("check_name", CHECKS)
def test_what_was_not_measured_fails(check_name: str, figure: float | None) -> None:
    assert not judge(check_name, figure).has_passed


def test_a_figure_that_could_not_have_failed_says_nothing() -> None:
    judgement = judge("held_out_accuracy", 1.0, least=0.56)
    assert judgement.verdict is Verdict.NOT_MEASURED
    assert "could not have been below 0.56, and 0.5 passes" in judgement.sentence
    assert judge("held_out_accuracy", 1.0, least=0.49).has_passed
    assert judge("held_out_accuracy", 1.0, 0.6, least=0.56).has_passed
    assert judge("held_out_accuracy", 1.0, 0.0, least=0.56).has_passed, "a study turned it off"
    assert least_of({"least": 0.56}) == 0.56
    assert least_of({}) is None


@pytest.mark.parametrize(("threshold", "n"), [(0.5, 4), (0.6, 3), (0.3, 9), (1.0, 1), (0.0, None)])
def test_the_fewest_that_can_fail_are_those_whose_interval_of_none_ends_below(
    threshold: float, n: int | None
) -> None:
    assert fewest_held_out(threshold) == n
    if n is not None:
        assert wilson_interval(0, n)[1] < threshold
        assert n == 1 or wilson_interval(0, n - 1)[1] >= threshold


def test_a_study_may_move_a_threshold() -> None:
    thresholds = thresholds_of({"diversity": 0.5})
    assert thresholds["diversity"] == 0.5
    assert thresholds["duration"] == 0.1
    assert judge("diversity", 0.6, thresholds["diversity"]).has_passed


def test_unknown_checks_and_settings_are_refused_by_name() -> None:
    with pytest.raises(GateError, match="unknown check 'loudness'; known are integrity"):
        judge("loudness", 1.0)
    with pytest.raises(GateError, match="unknown gate setting 'divresity'"):
        thresholds_of({"divresity": 0.5})
    with pytest.raises(GateError, match="diversity must be a number"):
        thresholds_of({"diversity": "0.5"})


def test_a_canary_starts_with_a_tenth_for_people_and_half_in_a_rehearsal() -> None:
    assert canary_share_of({}, population="people") == 0.1
    assert canary_share_of({}, population="rehearsal") == 0.5
    assert canary_share_of({"canary_share": 0.25}, population="people") == 0.25
    with pytest.raises(GateError, match="above 0 and at most 1, got 0"):
        canary_share_of({"canary_share": 0}, population="people")


def test_why_there_is_no_figure_stands_in_the_sentence() -> None:
    judgement = judge("distribution", None, remark=remark_of({"error": "there is no encoder"}))
    assert not judgement.has_passed
    assert judgement.sentence.endswith("was not measured: there is no encoder")
    told = judge("distribution", 1.5, remark=remark_of({"remark": "distance 6.1", "n_clips": 48}))
    assert told.sentence.endswith("is 1.5; at most 2 is needed: distance 6.1")


def test_the_settings_of_the_gate_of_people_stand_beside_the_thresholds() -> None:
    settings = {"automatic": 0, "alpha": 0.01, "minimum_ratings": 60, "chosen_nll": 0.02}
    check_gate(settings, population="people")
    assert thresholds_of(settings)["chosen_nll"] == 0.02
    with pytest.raises(GateError, match=r"alpha is 0.0001 to 0.5, got 2"):
        check_gate({"alpha": 2}, population="people")
