"""What the pages say: figures with their counts, whose ratings, what to do next."""

import csv
from collections.abc import Callable

import pytest
from django.conf import LazySettings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from attune.catalog.models import Checkpoint, Clip, ClipStatus
from attune.jobs.models import Job, JobState
from attune.rounds.models import Round
from attune.rounds.services import fail_round, record_round_metric
from tests.unit.api.people import Person
from tests.unit.attune.rated import RatedStudy

MOST_QUERIES = 24
MOST_QUERIES_OF_A_PLAN = 32
"""A preflight asks about everything that a round could stumble over."""


def text_of(person: Person, path: str, **headers: str) -> str:
    answer = person.pages.get(f"/console/{path}", headers=headers)
    assert answer.status_code == 200
    return str(answer.content.decode())


def rows_of(person: Person, path: str) -> list[dict[str, str]]:
    answer = person.pages.get(f"/console/{path}")
    assert answer["Content-Type"].startswith("text/csv")
    assert "attachment" in answer["Content-Disposition"]
    return list(csv.DictReader(answer.content.decode().splitlines()))


def test_the_overview_counts_pairs_ratings_and_clips(
    reviewer: Person, rated: RatedStudy, running: Round
) -> None:
    rated.add_pair()
    text = text_of(reviewer, "")
    assert "10 ratings so far, 10 today" in text
    assert "1 ready, 0 on the way, 10 ratings" in text
    assert "dusk" in text
    assert "step 2 of 9, loss 0.61" in text
    fragment = text_of(reviewer, "", **{"HX-Request": "true"})
    assert "<html" not in fragment
    assert "dusk" in fragment


def test_the_leaderboard_draws_standings_beside_their_table(
    reviewer: Person, canary: Checkpoint
) -> None:
    text = text_of(reviewer, "leaderboard/")
    assert "6 ratings of pairs of two checkpoints by 1 person" in text
    assert '<title id="whiskers-title">' in text
    assert "75.0%" in text
    assert "of 4 decided ratings won against base" in text
    assert "3 of 4 decided ratings won" in text
    board = rows_of(reviewer, "leaderboard/?format=csv")
    assert [row["checkpoint"] for row in board] == ["aligned", "base"]
    assert [row["n_wins"] for row in board] == ["3", "1"]


def test_populations_are_labelled_and_never_mixed(reviewer: Person, canary: Checkpoint) -> None:
    text = text_of(reviewer, "leaderboard/?population=rehearsal")
    assert "Simulated raters" in text
    assert "Nothing is ranked yet" in text
    assert "aligned" not in text
    assert rows_of(reviewer, "leaderboard/?population=rehearsal&format=csv") == []
    assert "Simulated raters" not in text_of(reviewer, "leaderboard/?population=people")
    assert "Simulated raters" not in text_of(reviewer, "leaderboard/?population=nonsense")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("", "manage.py setup_demo"),
        ("leaderboard/", "Nothing is ranked yet"),
        ("rounds/", "No round yet"),
        ("rounds/new/", "No study yet"),
        ("checkpoints/", "manage.py setup_demo"),
        ("rotation/", "manage.py setup_demo"),
        ("lineage/", "manage.py setup_demo"),
        ("rounds/mix/", "No study yet"),
        ("rounds/compare/", "No round yet"),
        ("studies/", "Engineers create them"),
        ("clips/", "No clip here"),
        ("jobs/", "No worker is busy"),
    ],
)
def test_an_empty_page_says_what_to_do_next(path: str, advice: str, reviewer: Person) -> None:
    assert advice in text_of(reviewer, path)


def test_a_running_round_refreshes_itself_until_it_ends(reviewer: Person, running: Round) -> None:
    address = f"rounds/{running.pk}/"
    text = text_of(reviewer, address)
    assert 'hx-trigger="every 2s"' in text
    assert "step 2 of 9" in text
    assert "<dt>left, about</dt><dd>1 min 15 s</dd>" in text
    assert text.count("<polyline") == 3
    assert "share of silent clips is 0.5; at most 0 was needed" in text

    record_round_metric(round=running, step=3, n_steps=9, values={"loss": 0.5, "margin": 0.5})
    polled = reviewer.pages.get(f"/console/{address}", headers={"HX-Request": "true"})
    assert "step 3 of 9" in polled.content.decode()
    assert "<html" not in polled.content.decode()
    assert "HX-Refresh" not in polled

    fail_round(round=running, error="the trainer ended with code 1")
    polled = reviewer.pages.get(f"/console/{address}", headers={"HX-Request": "true"})
    assert polled["HX-Refresh"] == "true"
    text = text_of(reviewer, address)
    assert "hx-trigger" not in text
    assert "the trainer ended with code 1" in text


def test_a_round_shows_the_end_of_its_log(
    reviewer: Person, running: Round, settings: LazySettings
) -> None:
    folder = settings.ATTUNE_ROUNDS / str(running.pk)
    folder.mkdir(parents=True)
    lines = [f"line {number} <b>" for number in range(100)]
    (folder / "training.log").write_text("\n".join([*lines, "10%\r60%\r100% done"]))
    text = text_of(reviewer, f"rounds/{running.pk}/")
    assert "line 99 &lt;b&gt;\n100% done" in text
    assert "line 80" not in text
    assert "60%\r" not in text


def test_a_rounds_metrics_come_as_csv(reviewer: Person, running: Round) -> None:
    rows = rows_of(reviewer, f"rounds/{running.pk}/?format=csv")
    assert [row["loss"] for row in rows] == ["0.693", "0.61"]
    assert [row["accuracy"] for row in rows] == ["0.5", ""]
    assert [row["state"] for row in rows_of(reviewer, "rounds/?format=csv")] == ["frozen"]


def test_a_checkpoint_shows_card_lineage_and_clips(
    reviewer: Person, canary: Checkpoint, rated: RatedStudy
) -> None:
    text = text_of(reviewer, "checkpoints/aligned/")
    assert "An adapter on base" in text
    assert "parent hash" in text
    assert canary.content_hash in text
    assert "<audio controls" in text
    tree = text_of(reviewer, "checkpoints/")
    assert tree.index(">base<") < tree.index(">aligned<")
    assert 'class="generation-1"' in tree
    assert reviewer.pages.get("/console/checkpoints/none/").status_code == 404


def test_clips_name_unknown_words_and_errors(reviewer: Person, canary: Checkpoint) -> None:
    clip = Clip.objects.filter(checkpoint=canary).first()
    assert clip is not None
    Clip.objects.filter(pk=clip.pk).update(
        status=ClipStatus.FAILED, unknown_words=["zither"], error="NaN at step 41"
    )
    text = text_of(reviewer, "clips/?status=failed&checkpoint=aligned")
    assert "1 clip of aligned, failed" in text
    assert "zither" in text
    assert "NaN at step 41" in text
    assert f"clips/{clip.pk}/audio" not in text


def test_jobs_show_attempts_and_errors(reviewer: Person, running: Round) -> None:
    Job.objects.update(state=JobState.FAILED, attempts=3, error="the worker was lost")
    text = text_of(reviewer, "jobs/")
    assert "3 / 3" in text
    assert "the worker was lost" in text
    assert "No job is queued" in text_of(reviewer, "jobs/?state=queued")
    assert [row["state"] for row in rows_of(reviewer, "jobs/?format=csv")] == ["failed"]


def test_studies_show_their_counts(reviewer: Person, rated: RatedStudy) -> None:
    (row,) = rows_of(reviewer, "studies/?format=csv")
    assert (row["slug"], row["n_ratings"]) == ("first", "10")
    assert "1 study for people, 1 open, 10 ratings in all" in text_of(reviewer, "studies/")


def test_a_csv_cell_cannot_be_run_as_a_formula(reviewer: Person, canary: Checkpoint) -> None:
    from attune.catalog.models import RotationEvent

    RotationEvent.objects.update(reason='=HYPERLINK("http://x")')
    rows = rows_of(reviewer, "rotation/?format=csv")
    assert {row["reason"] for row in rows} == {'\'=HYPERLINK("http://x")'}


def test_a_language_with_decimal_commas_does_not_break_the_pictures(
    reviewer: Person, canary: Checkpoint, running: Round
) -> None:
    for path in ("leaderboard/", f"rounds/{running.pk}/", "rotation/"):
        english = text_of(reviewer, path)
        german = text_of(reviewer, path, **{"Accept-Language": "de"})
        for mark in ("<line", "<circle", "<polyline", "<rect", "<progress"):
            tags = [tag.partition(">")[0] for tag in english.split(mark)[1:]]
            assert tags == [tag.partition(">")[0] for tag in german.split(mark)[1:]]


def test_no_page_asks_more_questions_for_more_rows(
    reviewer: Person, rated: RatedStudy, canary: Checkpoint, running: Round
) -> None:
    paths = ["", "leaderboard/", "rounds/", f"rounds/{running.pk}/", "rounds/new/", "rotation/"]
    paths += ["checkpoints/", "checkpoints/base/", "studies/", "clips/", "jobs/"]
    paths += ["lineage/", "rounds/compare/", "studies/first/"]

    def n_queries(path: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            browser.get(f"/console/{path}")
        return len(queries)

    browser = reviewer.pages
    few = {path: n_queries(path) for path in paths}
    of_plan = few.pop("rounds/new/")
    assert of_plan <= MOST_QUERIES_OF_A_PLAN
    assert max(few.values()) <= MOST_QUERIES, few
    few["rounds/new/"] = of_plan
    _grow(rated, canary)
    many = {path: n_queries(path) for path in paths}
    assert {path: many[path] - few[path] for path in paths if many[path] > few[path]} == {}


def _grow(rated: RatedStudy, canary: Checkpoint) -> None:
    """More of everything: raters, pairs, clips, checkpoints, steps, jobs."""
    add: Callable[..., object] = rated.add_checkpoint
    for number in range(3):
        add(f"more-{number}", parent=rated.base)
        rated.rate(rated.add_pair(rated.base, canary), "B", rater=number)
        rated.rate(rated.add_pair(), "A", rater=number)
        Job.objects.create(kind="generate_clips", queue="gpu")
    stored = Round.objects.get()
    for step in range(3, 9):
        record_round_metric(round=stored, step=step, n_steps=9, values={"loss": 0.5})
