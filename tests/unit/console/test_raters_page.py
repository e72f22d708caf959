"""The raters' page tells figures with intervals, and excludes and lifts with a reason."""

import csv
import io

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from attune.ratings.trust_models import RaterExclusion
from tests.unit.api.people import Person
from tests.unit.attune.rated import RatedStudy
from tests.unit.console.conftest import said


def test_the_page_shows_figures_rule_and_no_name(reviewer: Person, rated: RatedStudy) -> None:
    text = reviewer.pages.get("/console/raters/").content.decode()
    assert "1 rater of people" in text
    assert "50% <span" in text and "of 10, 24% to 76%" in text
    assert "Rule missed-gold, version 1: of the latest 20 gold pairs, 2 missed ones" in text
    assert rated.rater(0).user.get_username() not in text
    assert "Leave out of datasets" not in text


def test_nobody_is_an_empty_page(reviewer: Person) -> None:
    assert "Nobody has rated yet" in reviewer.pages.get("/console/raters/").content.decode()


def test_an_engineer_leaves_a_rater_out_and_lets_them_count_again(
    browser: Client, rated: RatedStudy
) -> None:
    form = {"rater": str(rated.rater(0).pseudonym), "reason": "sent test answers"}
    answer = browser.post("/console/raters/exclude/", form, follow=True)
    assert said(answer) == [f"Answers of {form['rater']} are left out of new datasets."]
    assert "by-hand 1: sent test answers" in answer.content.decode()
    answer = browser.post("/console/raters/lift/", form, follow=True)
    assert said(answer) == [f"Answers of {form['rater']} count again."]
    assert RaterExclusion.objects.get().lifted_at is not None


@pytest.mark.parametrize(
    ("rater", "reason", "expected"),
    [("nobody", "why", "There is no rater 'nobody'."), (None, "", "a reason of 0 characters")],
)
def test_what_cannot_be_done_is_said(
    browser: Client, rated: RatedStudy, rater: str | None, reason: str, expected: str
) -> None:
    form = {"rater": rater or str(rated.rater(0).pseudonym), "reason": reason}
    (text,) = said(browser.post("/console/raters/exclude/", form, follow=True))
    assert text.startswith(expected)
    assert not RaterExclusion.objects.exists()


def test_the_table_is_a_file_too(reviewer: Person, rated: RatedStudy) -> None:
    answer = reviewer.pages.get("/console/raters/?format=csv")
    (row,) = csv.DictReader(answer.content.decode().splitlines())
    assert (row["n_ratings"], row["side_a"], row["of_a_or_b"]) == ("10", "5", "10")
    assert (row["side_a_low"], row["excluded_by"]) == ("0.2366", "")


def test_the_terminal_does_the_same(rated: RatedStudy, engineer: Person) -> None:
    def run(*words: str) -> str:
        out = io.StringIO()
        call_command("raters", *words, stdout=out)
        return out.getvalue()

    pseudonym, by = str(rated.rater(0).pseudonym), engineer.user.get_username()
    assert "side A 5/10 (0.24 to 0.76)" in run("list")
    assert "left out (by-hand)" in run("exclude", pseudonym, "--by", by, "--reason", "a test")
    assert "left out by by-hand" in run("list")
    assert "used again" in run("lift", pseudonym, "--by", by, "--reason", "over")
    with pytest.raises(CommandError, match="nothing to lift"):
        run("lift", pseudonym, "--by", by, "--reason", "over")
    with pytest.raises(CommandError, match="no account 'nobody'"):
        run("lift", pseudonym, "--by", "nobody", "--reason", "over")
