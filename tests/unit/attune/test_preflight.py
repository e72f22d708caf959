"""What is said before a round starts: usable rows, leakage, cost, disk, workers, refusals."""

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.utils import timezone

from attune.catalog.models import Clip
from attune.jobs.models import JobQueue, WorkerReport
from attune.jobs.report_services import (
    Machine,
    record_worker_report,
    request_worker_report,
)
from attune.ratings.choices import Choice
from attune.rounds import costs
from attune.rounds.config import default_numbers
from attune.rounds.errors import ConfigError, RoundError
from attune.rounds.estimates import FormerRound, Source, Work, estimate_round, work_of
from attune.rounds.models import Round, RoundMethod, RoundState
from attune.rounds.preflight import preflight
from attune.rounds.separation import HeldOut
from attune.rounds.services import create_round
from tests.unit.attune.rated import RatedStudy, rated_study

pytestmark = pytest.mark.django_db

MACHINE = Machine(worker="host:1", device="CPU with 2 cores", memory_mb=8000, n_cores=2)


@pytest.fixture
def world(tmp_path: Path, settings: Any) -> RatedStudy:
    settings.ATTUNE_MINIMUM_PREFERENCES = 8
    return rated_study(tmp_path)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    queues: list[str] = []
    monkeypatch.setattr("attune.jobs.report_services.ask_worker", queues.append)
    return queues


def test_each_refusal_names_its_numbers_and_all_are_shown_at_once(
    world: RatedStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.rate_pairs([Choice.A] * 3)
    nearly_full = lambda _: SimpleNamespace(free=20_000_000)  # noqa: E731
    monkeypatch.setattr(costs.shutil, "disk_usage", nearly_full)
    other = world.add_checkpoint("other")
    found = preflight(world.study, other, method=RoundMethod.GRPO)
    assert not found.can_start
    assert found.refusals == (
        "checkpoint other is not in the rotation for people; in it are base",
        "grpo needs a reward model; 0 reward models are stored",
        "grpo needs a judge model; 0 reward models are stored",
        "20 MB of disk are free, about 100 MB are needed",
    )
    found = preflight(world.study, world.base)
    assert found.refusals == (
        "3 usable preferences, 8 needed: 5 more are needed",
        "20 MB of disk are free, about 100 MB are needed",
    )
    world.rate_pairs([Choice.A] * 5)
    with pytest.raises(RoundError, match="20 MB of disk are free"):
        create_round(study=world.study, base_checkpoint=world.base)


def test_settings_that_the_method_does_not_have_are_refused(world: RatedStudy) -> None:
    with pytest.raises(ConfigError, match="unknown setting 'speed' of kto"):
        preflight(world.study, world.base, method=RoundMethod.KTO, config={"speed": 1})


def test_a_study_of_few_raters_shares_them_and_one_of_many_does_not(world: RatedStudy) -> None:
    for number in range(40):
        world.rate(world.add_pair(), rater=number % 3)
    found = preflight(world.study, world.base)
    assert found.leakage.n_prompts == 0
    assert 1 <= found.leakage.n_raters <= 3, "who is on both sides depends on the ids"
    assert found.leakage.n_held_out_by_known_raters == found.counts["held_out"] > 0
    assert not found.leakage.is_clean
    assert any("raters who also train" in warning for warning in found.warnings)


def test_repeated_pairs_and_clips_on_both_sides_are_counted(world: RatedStudy) -> None:
    prompt = world.add_prompt()  # a single one, which no draw can hold out
    train = [world.add_pair(prompt=prompt) for _ in range(6)]
    held_out = [world.add_pair(prompt=world.add_prompt(is_held_out=True)) for _ in range(2)]
    for pair in (*train, *held_out):
        world.rate(pair)
    first = train[0].first_clip.codes_sha256, train[0].second_clip.codes_sha256
    for place, sha256 in zip(("first_clip", "second_clip"), first, strict=True):
        Clip.objects.filter(pk=getattr(held_out[0], f"{place}_id")).update(codes_sha256=sha256)
    found = preflight(world.study, world.base)
    assert found.duplicates.n_repeated_pairs == 1
    assert found.leakage.n_clips == 2
    assert "2 clips are in training and in held-out preferences" in found.warnings


def test_two_clips_of_one_content_are_no_preference(world: RatedStudy) -> None:
    pair = world.add_pair()
    world.rate(pair)
    Clip.objects.filter(pk=pair.second_clip_id).update(codes_sha256=pair.first_clip.codes_sha256)
    assert preflight(world.study, world.base).counts["identical_clips"] == 1


# --- What the gate will have to go by


def test_nothing_held_out_and_too_little_are_told_before_the_round_starts(
    world: RatedStudy,
) -> None:
    """With a threshold of one half the gate needs 4 decided preferences, with 0.3 it needs 9."""
    for _ in range(9):
        world.rate(world.add_pair())
    found = preflight(world.study, world.base)
    assert found.can_start
    n = found.counts["held_out"]
    assert (found.held_out.n, found.held_out.n_needed) == (n, 4)
    assert found.held_out.is_enough == (n >= 4)

    nothing, few, enough = HeldOut(0, 4), HeldOut(3, 4), HeldOut(4, 4)
    assert [state.is_enough for state in (nothing, few, enough)] == [False, False, True]
    assert nothing.sentence.startswith("nothing is held out, 4 are needed")
    assert few.sentence.startswith("3 preferences are held out, 4 are needed")
    assert (found.held_out.sentence in found.warnings) == (n < 4)

    world.study.gate = {"held_out_accuracy": 0.3}
    assert preflight(world.study, world.base).held_out.n_needed == 9
    reward = preflight(world.study, world.base, method=RoundMethod.REWARD)
    assert reward.held_out.n_needed == 0, "a reward model goes through no gate"


# --- Cost


def test_time_and_memory_grow_with_the_audio_of_rounds_that_were_measured() -> None:
    """480 clip-seconds took 60 s: 0.125 s each. 4 MB a clip-second of batch lie on 300 MB."""
    before = Work(n_train=20, n_epochs=3, batch_pairs=5, clip_duration_s=4.0)
    assert before.clip_seconds == 480.0
    former = FormerRound(before, wall_s=60.0, peak_memory_mb=300.0 + 4 * before.batch_seconds)
    now = Work(n_train=40, n_epochs=3, batch_pairs=10, clip_duration_s=4.0)
    found = estimate_round(now, weights_mb=53.0, former=[former], has_formula=True)
    assert (found.time_s, found.time_source) == (120.0, Source.MEASURED)
    assert (found.memory_mb, found.memory_source) == (300.0 + 4 * 80, Source.MEASURED)
    assert (found.disk_mb, found.n_former) == (153.0, 1)


def test_a_round_that_imitates_costs_by_the_clips_it_imitates() -> None:
    """A tenth of the 200 clips of 100 pairs are 20, as many as 10 pairs have; 3 epochs of 2 s."""

    def work(**config: float) -> Work:
        return work_of(
            {"train": 100},
            config,
            defaults=default_numbers(RoundMethod.EXPERT),
            clip_duration_s=2.0,
        )

    assert work().clip_seconds == 2 * 10 * 3 * 2.0
    assert work(best_share=0.5).clip_seconds == 2 * 50 * 3 * 2.0


def test_a_round_that_makes_its_own_clips_costs_by_these_and_not_by_its_preferences() -> None:
    """120 steps of 8 prompts with 8 clips each of 2 s: 7680 clips. 64 of them are held at once."""

    def work(n_train: int, **config: int) -> Work:
        return work_of(
            {"train": n_train},
            config,
            defaults=default_numbers(RoundMethod.GRPO),
            clip_duration_s=2.0,
        )

    found = work(0, n_steps=120)
    assert (found.clip_seconds, found.batch_seconds) == (7680 * 2.0, 64 * 2.0)
    assert found == work(400, n_steps=120)
    halved = work(0, n_steps=120, batch_prompts=4, accumulation_steps=2)
    assert (halved.clip_seconds, halved.batch_seconds) == (7680 * 2.0, 32 * 2.0)


def test_without_former_rounds_a_formula_is_used_where_there_is_one() -> None:
    work = Work(n_train=400, n_epochs=3, batch_pairs=16, clip_duration_s=5.0)
    found = estimate_round(work, weights_mb=53.0, former=[], has_formula=True)
    assert found.time_source is Source.FORMULA
    assert found.time_s is not None
    larger = estimate_round(work, weights_mb=530.0, former=[], has_formula=True)
    assert larger.time_s == pytest.approx(10 * found.time_s)
    unknown = estimate_round(work, weights_mb=53.0, former=[], has_formula=False)
    assert (unknown.time_s, unknown.memory_mb) == (None, None)
    assert unknown.time_source is Source.UNKNOWN


def test_the_estimate_comes_from_this_sites_rounds_of_the_method(world: RatedStudy) -> None:
    world.rate_pairs([Choice.A] * 10)
    round = create_round(study=world.study, base_checkpoint=world.base)
    produced = world.add_checkpoint("tuned", parent=world.base)
    Round.objects.filter(pk=round.pk).update(
        state=RoundState.DONE,
        produced_checkpoint=produced,
        summary={"wall_s": 42.0, "memory_mb": 900.0},
    )
    again = preflight(world.study, world.base)
    assert again.estimate.time_s == pytest.approx(42.0)
    assert again.estimate.memory_mb == pytest.approx(900.0)
    twice = preflight(world.study, world.base, config={"n_epochs": 6})
    assert twice.estimate.time_s == pytest.approx(84.0)
    other = preflight(world.study, world.base, method=RoundMethod.KTO)
    assert other.estimate.time_source is Source.FORMULA


# --- Workers


def test_a_silent_worker_is_a_note_and_no_refusal(world: RatedStudy, asked: list[str]) -> None:
    world.rate_pairs([Choice.A] * 10)
    now = timezone.now()
    found = preflight(world.study, world.base, now=now)
    assert found.can_start
    assert any("none was ever heard" in warning for warning in found.warnings)
    record_worker_report(queue=JobQueue.DEVICE, machine=MACHINE, now=now)
    found = preflight(world.study, world.base, now=now)
    assert found.worker.is_alive
    assert found.worker.device == "CPU with 2 cores"
    later = preflight(world.study, world.base, now=now + timedelta(seconds=200))
    assert not later.worker.is_alive
    assert any("heard 200 s ago" in warning for warning in later.warnings)


def test_too_little_memory_is_a_note_with_both_numbers(world: RatedStudy) -> None:
    world.rate_pairs([Choice.A] * 10)
    small = Machine(worker="host:1", device="a small card", memory_mb=500, n_cores=2)
    record_worker_report(queue=JobQueue.DEVICE, machine=small, now=timezone.now())
    warnings = preflight(world.study, world.base).warnings
    assert any("a small card has 500" in warning for warning in warnings)


def test_a_worker_is_asked_once_until_it_answers_or_ten_minutes_pass(
    asked: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    now = timezone.now()

    def ask(seconds: float) -> bool:
        with django_capture_on_commit_callbacks(execute=True):
            return request_worker_report(
                queue=JobQueue.DEVICE, now=now + timedelta(seconds=seconds)
            )

    assert [ask(0), ask(30), ask(500)] == [True, False, False]
    assert ask(601)
    record_worker_report(queue=JobQueue.DEVICE, machine=MACHINE, now=now + timedelta(seconds=602))
    assert [ask(610), ask(640)] == [False, True]
    assert asked == ["gpu", "gpu", "gpu"]
    assert WorkerReport.objects.count() == 1


def test_a_preflight_takes_as_many_queries_for_many_ratings_as_for_few(
    world: RatedStudy, django_assert_max_num_queries: Any
) -> None:
    world.rate_pairs([Choice.A] * 4)
    with django_assert_max_num_queries(13):
        preflight(world.study, world.base)
    world.rate_pairs([Choice.A] * 40)
    with django_assert_max_num_queries(13):
        preflight(world.study, world.base)
