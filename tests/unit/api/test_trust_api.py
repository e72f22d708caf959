"""Engineers and reviewers read raters' figures; engineers exclude, lift, and accept work."""

from pathlib import Path
from uuid import uuid4

import pytest

from attune.ratings.choices import Choice
from attune.ratings.trust_models import RaterExclusion
from tests.unit.api.people import Person
from tests.unit.attune.rated import RatedStudy, rated_study


@pytest.fixture
def world(db: None, tmp_path: Path) -> RatedStudy:
    """Nine answers of one rater, two of them ties, and one of another."""
    world = rated_study(tmp_path)
    world.rate_pairs([Choice.A] * 4 + [Choice.B] * 3 + [Choice.TIE] * 2)
    world.rate(world.add_pair(), rater=1)
    return world


def test_raters_are_listed_under_their_pseudonyms_with_intervals(
    world: RatedStudy, reviewer: Person
) -> None:
    first, second = reviewer.api("GET", "raters").json()
    assert [first["pseudonym"], second["pseudonym"]] == [
        str(world.rater(0).pseudonym),
        str(world.rater(1).pseudonym),
    ]
    assert (first["n_ratings"], first["is_used"], first["work"]) == (9, True, [])
    assert (first["ties"]["n"], first["ties"]["of"]) == (2, 9)
    assert first["side_a"]["value"] == pytest.approx(4 / 7)
    assert first["side_a"]["low"] < 0.5 < first["side_a"]["high"]
    assert first["gold"] == {"value": None, "n": 0, "of": 0, "low": 0.0, "high": 1.0}
    assert "username" not in str(first)


def test_a_study_and_a_population_narrow_the_list(world: RatedStudy, reviewer: Person) -> None:
    assert len(reviewer.api("GET", f"raters?study={world.study.slug}").json()) == 2
    assert reviewer.api("GET", "raters?population=rehearsal").json() == []
    assert len(reviewer.api("GET", "raters?limit=1&offset=1").json()) == 1
    assert reviewer.api("GET", "raters?study=none").status_code == 404


def test_an_exclusion_is_made_lifted_and_kept(world: RatedStudy, engineer: Person) -> None:
    address = f"raters/{world.rater(0).pseudonym}"
    made = engineer.api("POST", f"{address}/exclusion", {"reason": "answers while asleep"})
    assert made.status_code == 201
    told = made.json()
    assert (told["is_used"], told["exclusion"]["rule"]) == (False, "by-hand")
    assert told["exclusion"]["made_by"] == engineer.user.get_username()
    lifted = engineer.api("POST", f"{address}/exclusion/lift", {"reason": "was awake"}).json()
    assert (lifted["is_used"], lifted["exclusion"]) == (True, None)
    assert [each["lift_reason"] for each in lifted["exclusions"]] == ["was awake"]
    again = engineer.api("POST", f"{address}/exclusion/lift", {"reason": "was awake"})
    assert again.status_code == 409
    assert "nothing to lift" in again.json()["detail"]


def test_work_is_accepted_apart_from_its_use(world: RatedStudy, engineer: Person) -> None:
    address = f"raters/{world.rater(0).pseudonym}"
    engineer.api("POST", f"{address}/exclusion", {"reason": "missed too much"})
    body = {"study": world.study.slug, "is_accepted": True, "reason": "worked through it"}
    told = engineer.api("POST", f"{address}/work", body).json()
    assert told["is_used"] is False
    assert [(each["is_accepted"], each["n_ratings"]) for each in told["work"]] == [(True, 9)]
    body |= {"is_accepted": False, "reason": "opened by mistake"}
    told = engineer.api("POST", f"{address}/work", body).json()
    assert [each["is_accepted"] for each in told["work"]] == [False], "the newest holds"
    assert RaterExclusion.objects.filter(lifted_at=None).count() == 1


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "x" * 501}, {"reason": "  "}])
def test_a_reason_is_needed(world: RatedStudy, engineer: Person, body: dict[str, str]) -> None:
    answer = engineer.api("POST", f"raters/{world.rater(0).pseudonym}/exclusion", body)
    assert answer.status_code in (409, 422)
    assert not RaterExclusion.objects.exists()


def test_an_unknown_rater_is_not_found(engineer: Person) -> None:
    assert engineer.api("GET", f"raters/{uuid4()}").status_code == 404


def test_the_shares_of_checks_are_settings_of_a_study(world: RatedStudy, engineer: Person) -> None:
    address = f"studies/{world.study.slug}"
    assert engineer.api("GET", address).json()["gold_share"] == 0.1
    changed = engineer.api("PATCH", address, {"gold_share": 0.05, "repeat_share": 0})
    assert (changed.json()["gold_share"], changed.json()["repeat_share"]) == (0.05, 0.0)
    assert engineer.api("PATCH", address, {"gold_share": 0.5}).status_code == 422
    rehearsal = {"slug": "r", "population": "rehearsal", "prompts": ["a waltz"]}
    told = engineer.api("POST", "studies", rehearsal).json()
    assert (told["gold_share"], told["repeat_share"]) == (0.0, 0.0)
