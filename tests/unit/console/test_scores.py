"""Reward models on pages: what they are worth, which clips they like, asking for scores."""

import hashlib
import json

import pytest
from django.test import Client

from attune.catalog.models import Checkpoint, Clip
from attune.catalog.score_services import ScoredClip, record_clip_scores
from attune.catalog.services import add_checkpoint
from attune.jobs.models import Job, JobKind
from console.charts import Tick
from console.reward_report import FLOOR, TOP, find_reward_report, report_of
from tests.unit.api.people import Person
from tests.unit.attune.rated import RatedStudy
from tests.unit.console.conftest import said
from tests.unit.console.test_pages import text_of

BIN = {
    "low": 0.7,
    "high": 0.8,
    "n": 20.0,
    "predicted": 0.75,
    "observed": 0.5,
    "observed_low": 0.25,
    "observed_high": 0.75,
}
HELD_OUT = {
    "accuracy": 0.71,
    "low": 0.6,
    "high": 0.8,
    "n": 38,
    "log_loss": 0.58,
    "ece": 0.041,
    "bins": [BIN],
    "n_ratings": 107,
    "n_ties": 9,
}
REPORT = {"disjoint": None, "held_out": HELD_OUT, "self_agreement": {"share": 0.8}}


@pytest.fixture
def reward(rated: RatedStudy) -> Checkpoint:
    """A reward model with a report in its folder, which has scored two clips."""
    folder = rated.folder / "ear"
    folder.mkdir()
    text = json.dumps(REPORT)
    (folder / "report.json").write_text(text)
    files = {"report.json": hashlib.sha256(text.encode()).hexdigest()}
    told = {"format": 1, "name": "ear", "kind": "reward", "family": "starter", "files": files}
    (folder / "card.json").write_text(json.dumps(told))
    checkpoint = add_checkpoint(folder=folder, parent=None)
    low, high = Clip.objects.order_by("created_at", "pk")[:2]
    scores = [ScoredClip(low, -1.25, 0.5), ScoredClip(high, 2.0, 0.25)]
    record_clip_scores(checkpoint=checkpoint, scores=scores)
    return checkpoint


def test_the_calibration_sets_what_came_against_what_was_foreseen() -> None:
    report = report_of(REPORT)
    assert report is not None
    (point,) = report.chart.points
    # 75% is half way from even to certain; half of what was foreseen came.
    assert point.x == "50.00%"
    assert point.y == f"{(TOP + FLOOR) / 2:.1f}"
    assert float(point.high_y) < float(point.y) < float(point.low_y)
    assert report.chart.own_y == f"{FLOOR - 0.8 * (FLOOR - TOP):.1f}"
    assert report.chart.x_ticks[1] == Tick("50.00%", "75%")
    assert report.chart.description == "foreseen 75%, came 50% of 20"


def test_the_strictest_set_that_was_measured_is_shown() -> None:
    strict = {**REPORT, "disjoint": {**HELD_OUT, "accuracy": 0.66}}
    found = report_of(strict)
    assert found is not None
    assert (found.figures["accuracy"], found.measured_on) == (
        0.66,
        "on prompts and raters it never saw",
    )
    assert report_of({"held_out": None}) is None


def test_a_reward_models_page_says_what_it_is_worth(reviewer: Person, reward: Checkpoint) -> None:
    text = text_of(reviewer, "checkpoints/ear/")
    assert '<p class="figure">71.0%</p>' in text
    assert "of 38 pairs ranked as their raters did, 60% to 80%, on prompts it never saw" in text
    assert "<dt>calibration error</dt><dd>0.041</dd>" in text
    assert "2 clips scored" in text
    assert "it never enters rotation" in text
    assert "Clips to hear" not in text
    assert "/checkpoints/ear/score/" not in text, "a reviewer is offered no action"


def test_a_folder_without_a_report_has_none(reviewer: Person, reward: Checkpoint) -> None:
    from attune.catalog.storage import checkpoint_folder

    (checkpoint_folder(reward) / "report.json").write_text("{")
    assert find_reward_report(reward) is None
    assert "holds no report" in text_of(reviewer, "checkpoints/ear/")


def test_clips_show_their_scores_and_stand_in_their_order(
    reviewer: Person, reward: Checkpoint
) -> None:
    text = text_of(reviewer, "clips/")
    assert "<b>+2.00</b>" in text
    assert "<b>\u22121.25</b>" in text
    best = text_of(reviewer, "clips/?order=best&reward=ear")
    assert "2 clips, best score first, by ear" in best
    assert best.index("+2.00") < best.index("\u22121.25")
    worst = text_of(reviewer, "clips/?order=worst")
    assert worst.index("+2.00") > worst.index("\u22121.25")
    assert "±" not in text_of(reviewer, "clips/?reward=nobody&order=best")


def test_scores_are_asked_for(browser: Client, reward: Checkpoint) -> None:
    answer = browser.post("/console/checkpoints/ear/score/", {"made_by": "base"}, follow=True)
    job = Job.objects.get(kind=JobKind.SCORE_CLIPS)
    assert job.arguments == {
        "checkpoint": reward.pk,
        "made_by": Checkpoint.objects.get(name="base").pk,
    }
    assert said(answer)[0].startswith(f"Job {job.pk} scores the clips")


@pytest.mark.parametrize(
    ("name", "fields", "problem"),
    [("ear", {"made_by": "nobody"}, "made_by"), ("base", {}, "only a reward model scores")],
)
def test_scores_that_cannot_be_are_refused(
    name: str, fields: dict[str, str], problem: str, browser: Client, reward: Checkpoint
) -> None:
    answer = browser.post(f"/console/checkpoints/{name}/score/", fields, follow=True)
    (message,) = said(answer)
    assert message.startswith("Nothing was queued")
    assert problem in message
    assert not Job.objects.filter(kind=JobKind.SCORE_CLIPS).exists()
