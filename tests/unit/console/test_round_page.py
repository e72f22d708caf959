"""What a round's page shows of its training and its gate."""

import pytest
from django.utils import timezone

from attune.rounds.models import Evaluation, Round, RoundState, Verdict
from attune.rounds.services import (
    fail_round,
    record_evaluation,
    record_round_metric,
    record_round_sample,
)
from console.gate_pictures import EDGE, gauge, shift_rows
from tests.unit.api.people import Person
from tests.unit.console.test_pages import rows_of, text_of

SHIFTS = [
    {
        "name": "spectral centroid",
        "unit": "Hz",
        "base": 1900.0,
        "candidate": 1700.0,
        "mean": -200.0,
        "low": -300.0,
        "high": -100.0,
        "n_pairs": 48,
        "n_prompts": 12,
    },
    {
        "name": "tempo",
        "unit": "beats per minute",
        "base": 110.0,
        "candidate": 111.0,
        "mean": 1.0,
        "low": None,
        "high": None,
        "n_pairs": 4,
        "n_prompts": 1,
    },
]


def evaluation(name: str, figure: float | None, threshold: float, **details: object) -> Evaluation:
    return Evaluation(
        check_name=name,
        figure=figure,
        threshold=threshold,
        verdict=Verdict.PASSED,
        sentence="told",
        details=details,
    )


def place(share: float) -> str:
    return f"{EDGE + (100 - 2 * EDGE) * share:.2f}%"


def test_a_figure_stands_on_a_scale_on_which_what_passes_is_marked() -> None:
    found = gauge(evaluation("silence", 0.5, 0.0))
    assert found is not None
    # 0 to 0.5 with 18% beyond each end: 0.68 wide, from -0.09 to 0.59.
    assert found.thresholds == (place(0.09 / 0.68),)
    assert found.figure == place(0.59 / 0.68)
    assert (found.allowed.x, found.allowed.width) == ("0.00%", place(0.09 / 0.68))
    assert (found.interval, found.band) == (None, None)


def test_a_check_with_a_least_figure_passes_to_the_right() -> None:
    found = gauge(evaluation("diversity", 0.97, 0.9))
    assert found is not None
    start = EDGE + (100 - 2 * EDGE) * 0.18 / 1.36
    assert (found.allowed.x, found.allowed.width) == (f"{start:.2f}%", f"{100 - start:.2f}%")


def test_a_distance_is_drawn_beside_the_band_of_the_base() -> None:
    band = {"low": 1.0, "median": 1.5, "high": 2.0}
    found = gauge(evaluation("distribution", 1.5, 2.0, distance=3.0, band=band))
    assert found is not None
    assert found.band is not None
    # 1 to 4, the threshold being twice the band's upper end: 3 wide, 0.54 beyond each end.
    assert found.band.x == place(0.54 / 4.08)
    assert found.figure == place(2.54 / 4.08)
    assert found.thresholds == (place(3.54 / 4.08),)


def test_a_shift_of_level_may_go_neither_way() -> None:
    shift = {"mean": 0.0, "low": -1.0, "high": 1.0}
    found = gauge(evaluation("loudness_shift", 0.0, 2.0, shift=shift))
    assert found is not None
    assert found.figure == "50.00%"
    assert len(found.thresholds) == 2
    # -2 to 2 with 0.72 beyond each end: 5.44 wide.
    assert found.interval == (place(1.72 / 5.44), place(3.72 / 5.44))


@pytest.mark.parametrize(
    ("name", "figure"), [("silence", None), ("a check of another version", 0.5)]
)
def test_what_was_not_measured_has_no_picture(name: str, figure: float | None) -> None:
    assert gauge(evaluation(name, figure, 0.0)) is None


def test_shifts_whose_interval_leaves_zero_stand_out() -> None:
    centroid, tempo = shift_rows([evaluation("distribution", 1.0, 2.0, shifts=SHIFTS)])
    assert (centroid.tone, centroid.interval_text) == ("b", "-300 to -100")
    assert centroid.interval is not None
    # The farthest end is 300 of a reach of 345, to the left of the middle.
    assert centroid.interval[0] == f"{50 - (50 - EDGE) * 300 / 345:.2f}%"
    assert (tempo.tone, tempo.interval, tempo.interval_text) == ("soft", None, "no interval")
    assert shift_rows([evaluation("silence", 0.0, 0.0)]) == []


def test_the_gate_is_drawn_on_the_page(reviewer: Person, running: Round) -> None:
    band = {"low": 1.0, "median": 1.5, "high": 2.0}
    details = {"distance": 3.0, "band": band, "shifts": SHIFTS, "remark": "48 clips a side"}
    record_evaluation(round=running, check_name="distribution", figure=1.5, details=details)
    text = text_of(reviewer, f"rounds/{running.pk}/")
    assert text.count('class="chart gauge"') == 4
    assert "48 clips a side" in text
    assert "Spectral centroid" in text
    assert "-300 to -100" in text


def test_every_logged_curve_is_drawn_with_its_spread(reviewer: Person, running: Round) -> None:
    logged = {"chosen_logp": -3.0, "rejected_logp": -3.1, "kl": 0.01, "memory_mb": 2310.0}
    rewards = {"reward_mean": 0.4, "reward_std": 0.1, "judge_reward": 0.2, "diversity": 0.9}
    record_round_metric(round=running, step=3, n_steps=9, values={**logged, **rewards})
    text = text_of(reviewer, f"rounds/{running.pk}/")
    for title in ("Log-probability a code", "Reward", "Divergence from the parent", "unseen judge"):
        assert title in text
    assert text.count("<polygon") == 1
    assert "2.3\u00a0GB" in text


def test_clips_of_a_round_are_heard_by_prompt_and_step(reviewer: Person, running: Round) -> None:
    for step in (0, 3):
        record_round_sample(
            round=running,
            step=step,
            number=0,
            prompt="a calm harp",
            seed=7,
            audio_path=f"samples/step-{step}-0.wav",
            duration_s=2.0,
        )
    text = text_of(reviewer, f"rounds/{running.pk}/")
    assert text.count("a calm harp</p>") == 1
    assert "the parent" in text
    assert "step 3" in text
    for sample in running.samples.all():
        assert f"/api/v1/rounds/{running.pk}/samples/{sample.pk}/audio" in text


def test_a_long_round_shows_its_latest_steps_and_keeps_all_in_the_file(
    reviewer: Person, running: Round
) -> None:
    for step in range(3, 53):
        record_round_metric(round=running, step=step, n_steps=60, values={"loss": 0.5})
    text = text_of(reviewer, f"rounds/{running.pk}/")
    assert "12 earlier steps are in the CSV" in text
    assert len(rows_of(reviewer, f"rounds/{running.pk}/?format=csv")) == 52


def test_the_frozen_dataset_is_offered_as_files(reviewer: Person, running: Round) -> None:
    text = text_of(reviewer, f"rounds/{running.pk}/")
    for format in ("jsonl", "parquet"):
        address = f"/api/v1/rounds/{running.pk}/dataset?format={format}"
        assert address in text
        assert reviewer.pages.get(address).status_code == 200


def test_another_round_starts_from_the_settings_of_one_that_ended(
    engineer: Person, running: Round
) -> None:
    Round.objects.filter(pk=running.pk).update(config={"loss": "ipo", "soft_labels": False})
    assert "Start one like it" not in text_of(engineer, f"rounds/{running.pk}/")
    fail_round(round=running, error="out of memory", now=timezone.now())
    text = text_of(engineer, f"rounds/{running.pk}/")
    query = "study=first&amp;base=base&amp;method=dpo&amp;loss=ipo&amp;soft_labels=false"
    assert f'href="/console/rounds/new/?{query}"' in text
    form = text_of(engineer, f"rounds/new/?{query.replace('&amp;', '&')}")
    assert '<option value="ipo" selected>' in form
    assert '<option value="false" selected>no</option>' in form
    running.refresh_from_db()
    assert running.state == RoundState.FAILED
