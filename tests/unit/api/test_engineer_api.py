"""What engineers' programs do: clips, studies, rounds, rotation; and what readers read."""

from typing import Any

import pytest
from django.conf import LazySettings

from attune.catalog.models import Clip, ClipStatus, Population, Prompt, RotationEvent, RotationRole
from attune.catalog.services import enter_rotation
from attune.jobs.models import Job, JobKind, JobState
from attune.ratings.choices import PairPurpose
from attune.ratings.models import Pair, Study
from attune.rounds.models import Round, RoundState
from attune.rounds.services import record_evaluation, record_round_metric
from tests.factories import make_anchor, make_checkpoint, make_clip, make_pair, make_study
from tests.unit.api.people import Person, write_audio
from tests.unit.attune.rated import RatedStudy, rated_study

MISSING = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def rated(db: None, tmp_path: Any, settings: LazySettings) -> RatedStudy:
    """A study with ten decided training pairs, enough for a round."""
    settings.ATTUNE_MINIMUM_PREFERENCES = 8
    rated = rated_study(tmp_path)
    rated.rate_pairs("AB" * 5)
    return rated


def test_a_requested_clip_has_defaults_that_the_answer_names(engineer: Person) -> None:
    anchor = make_anchor()
    answer = engineer.api("POST", "clips", {"prompt": "a calm harp"})
    clip = answer.json()
    assert answer.status_code == 201
    assert clip["checkpoint"] == anchor.name
    assert clip["requested_duration_s"] == 10
    assert clip["status"] == "requested"
    assert clip["audio_url"] is None
    assert Clip.objects.get(pk=clip["id"]).seed == clip["seed"]
    assert Job.objects.get().kind == JobKind.GENERATE_CLIPS


def test_a_prompt_sent_twice_is_stored_once(engineer: Person) -> None:
    make_anchor()
    first = engineer.api("POST", "clips", {"prompt": "a calm harp"}).json()
    again = engineer.api("POST", "clips", {"prompt": " a calm harp "}).json()
    by_id = engineer.api("POST", "clips", {"prompt": first["prompt_id"]}).json()
    assert first["prompt_id"] == again["prompt_id"] == by_id["prompt_id"]
    assert Prompt.objects.get().prompt_set.name == "api"


def test_a_clip_is_requested_as_stated(engineer: Person) -> None:
    checkpoint = make_checkpoint("r1")
    content = {"prompt": "x", "checkpoint": "r1", "duration_s": 4, "seed": 7}
    clip = engineer.api("POST", "clips", content | {"sampling": {"guidance": 2.5}}).json()
    stored = Clip.objects.get(pk=clip["id"])
    assert (stored.checkpoint, stored.seed) == (checkpoint, 7)
    assert (stored.requested_duration_s, stored.sampling) == (4.0, {"guidance": 2.5})


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"duration_s": 99}, 422, "duration_s: input should be less than or equal to 30, got 99"),
        ({"duration_s": 0.5}, 422, "got 0.5"),
        ({"seed": -1}, 422, "seed: input should be greater than or equal to 0, got -1"),
        ({"prompt": ""}, 422, "prompt"),
        ({"prompt": "   "}, 422, "blank"),
        ({"prompt": "x" * 501}, 422, "at most 500 characters"),
        ({"prompt": 41}, 404, "no prompt 41"),
        ({"checkpoint": "r9"}, 404, "no checkpoint 'r9'; there are checkpoint"),
        ({"sampling": {"heat": 1}}, 422, "sampling.heat"),
        ({"sampling": {"top_p": 2}}, 422, "sampling.top_p"),
        ({"sed": 1}, 422, "sed"),
    ],
)
def test_a_bad_clip_request_says_what_was_given_and_what_is_allowed(
    change: dict[str, Any], status: int, said: str, engineer: Person
) -> None:
    make_anchor()
    answer = engineer.api("POST", "clips", {"prompt": "a calm harp"} | change)
    assert answer.status_code == status
    assert said in answer.json()["detail"]
    assert not Clip.objects.exists()


def test_a_clip_request_without_a_prompt_says_so(engineer: Person) -> None:
    answer = engineer.api("POST", "clips", {})
    assert (answer.status_code, answer.json()["detail"]) == (422, "prompt is missing")


def test_a_site_without_an_anchor_refuses_the_default_checkpoint(engineer: Person) -> None:
    answer = engineer.api("POST", "clips", {"prompt": "a calm harp"})
    assert answer.status_code == 409
    assert "anchor" in answer.json()["detail"]


def test_clips_are_listed_by_checkpoint_and_status(engineer: Person) -> None:
    study = make_study()
    pair = make_pair(study, checkpoints=[make_checkpoint("r1"), make_checkpoint("r2")])
    Clip.objects.filter(pk=pair.second_clip_id).update(
        status=ClipStatus.FAILED, unknown_words=["zither"], error="the generator refused it"
    )
    listed = engineer.api("GET", "clips").json()
    assert {clip["id"] for clip in listed} == {str(pair.first_clip_id), str(pair.second_clip_id)}
    failed = engineer.api("GET", "clips?status=failed&checkpoint=r2").json()
    assert [clip["unknown_words"] for clip in failed] == [["zither"]]
    assert engineer.api("GET", "clips?status=failed&checkpoint=r1").json() == []
    assert len(engineer.api("GET", "clips?limit=1&offset=1").json()) == 1
    assert engineer.api("GET", "clips?checkpoint=r3").status_code == 404
    assert engineer.api("GET", "clips?status=lost").status_code == 422
    assert engineer.api("GET", "clips?limit=0").status_code == 422


@pytest.mark.parametrize("n_digits", [18, 19, 5000])
def test_a_number_longer_than_any_id_names_no_round(reviewer: Person, n_digits: int) -> None:
    assert reviewer.api("GET", f"rounds/{'9' * n_digits}").status_code == 404


@pytest.mark.parametrize("path", ["clips", "rounds"])
def test_an_offset_beyond_the_database_is_refused(reviewer: Person, path: str) -> None:
    assert reviewer.api("GET", f"{path}?offset={'9' * 20}").status_code == 422


def test_a_clip_can_be_read_and_heard(reviewer: Person) -> None:
    study = make_study()
    clip = make_clip(study.prompt_set.prompts.all()[0], make_checkpoint())
    content = write_audio(clip, 16_000)
    read = reviewer.api("GET", f"clips/{clip.pk}").json()
    assert read["audio_url"] == f"/api/v1/clips/{clip.pk}/audio"
    heard = reviewer.api("GET", read["audio_url"], Range="bytes=-100")
    assert heard.status_code == 206
    assert b"".join(heard.streaming_content) == content[-100:]
    assert reviewer.pages.get(read["audio_url"]).status_code == 200
    assert reviewer.api("HEAD", read["audio_url"])["Content-Length"] == str(len(content))
    assert reviewer.api("GET", f"clips/{MISSING}").status_code == 404
    assert reviewer.api("GET", f"clips/{MISSING}/audio").status_code == 404


def test_a_clip_that_is_not_ready_cannot_be_heard(reviewer: Person) -> None:
    study = make_study()
    clip = make_clip(study.prompt_set.prompts.all()[0], make_checkpoint())
    Clip.objects.update(status=ClipStatus.GENERATING)
    answer = reviewer.api("GET", f"clips/{clip.pk}/audio")
    assert (answer.status_code, answer.json()["detail"]) == (
        404,
        "this clip is generating, not ready",
    )


def test_checkpoints_tell_parents_rotation_and_card(reviewer: Person) -> None:
    anchor = make_anchor()
    child = make_checkpoint("r1", parent=anchor)
    enter_rotation(
        checkpoint=child, population="people", role=RotationRole.CANARY, share=0.1, reason="gate"
    )
    listed = reviewer.api("GET", "checkpoints").json()
    assert [checkpoint["name"] for checkpoint in listed] == ["r1", anchor.name]
    (place,) = listed[0]["rotation"]
    assert place["new_clip_share"] == pytest.approx(0.1)
    assert (place["population"], place["role"], place["share"]) == ("people", "canary", 0.1)
    read = reviewer.api("GET", f"checkpoints/{anchor.name}").json()
    assert (read["children"], read["card"], read["round"]) == (["r1"], {}, None)
    assert reviewer.api("GET", "checkpoints/r2").status_code == 404


def test_a_study_is_opened_with_its_prompts(engineer: Person, reviewer: Person) -> None:
    content = {
        "slug": "harps",
        "prompts": ["a calm harp", {"text": "a loud harp", "is_held_out": True}],
        "minimum_listening_s": 0,
        "clip_duration_s": 5,
        "gate": {"diversity": 0.5},
    }
    answer = engineer.api("POST", "studies", content)
    assert answer.status_code == 201
    study = answer.json()
    assert (study["name"], study["prompt_set"], study["is_open"]) == ("harps", "harps", True)
    assert (study["minimum_listening_s"], study["gate"]) == (0, {"diversity": 0.5})
    assert Prompt.objects.get(is_held_out=True).text == "a loud harp"
    assert reviewer.api("GET", "studies/harps").json() == study
    assert reviewer.api("GET", "studies").json() == [study]
    again = engineer.api("POST", "studies", content)
    assert (again.status_code, again.json()["detail"]) == (409, "study 'harps' exists already")
    second = engineer.api("POST", "studies", {"slug": "more", "prompt_set": "harps"})
    assert second.json()["prompt_set"] == "harps"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"slug": "a b", "prompts": ["x"]}, "slug"),
        ({"slug": "a"}, "no prompt set 'a'"),
        ({"slug": "a", "prompts": ["x"], "overlap": 0}, "overlap"),
        ({"slug": "a", "prompts": ["x"], "judging_share": 1.5}, "judging_share"),
        ({"slug": "a", "prompts": ["x"], "population": "dogs"}, "'people' or 'rehearsal'"),
        ({"slug": "a", "prompts": [" "]}, "blank"),
        ({"slug": "a", "prompts": ["x"], "gate": {"volume": 1}}, "known are integrity, finite"),
        ({"slug": "a", "prompts": ["x"], "gate": {"silence": "loud"}}, "gate.silence"),
        ({"slug": "a", "prompts": ["x"], "gate": {"canary_share": 2}}, "canary_share must be"),
    ],
)
def test_a_bad_study_is_refused_and_leaves_nothing(
    content: dict[str, Any], said: str, engineer: Person
) -> None:
    answer = engineer.api("POST", "studies", content)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]
    assert not Study.objects.exists()
    assert not Prompt.objects.exists()


def test_a_study_can_be_closed_and_opened_again(engineer: Person) -> None:
    study = make_study()
    closed = engineer.api("PATCH", f"studies/{study.slug}", {"is_open": False, "pool_target": 4})
    assert (closed.json()["is_open"], closed.json()["pool_target"]) == (False, 4)
    assert engineer.api("PATCH", f"studies/{study.slug}", {"slug": "x"}).status_code == 422
    assert engineer.api("PATCH", "studies/nowhere", {}).status_code == 404


def test_a_gate_with_an_unknown_check_is_refused_and_the_old_one_stays(engineer: Person) -> None:
    path = f"studies/{make_study().slug}"
    assert engineer.api("PATCH", path, {"gate": {"diversity": 0.5}}).status_code == 200
    answer = engineer.api("PATCH", path, {"gate": {"diversty": 0.4}})
    assert answer.status_code == 422
    assert "unknown gate setting 'diversty'; known are integrity" in answer.json()["detail"]
    assert Study.objects.get().gate == {"diversity": 0.5}


def test_pairs_are_requested_with_the_clips_they_need(engineer: Person) -> None:
    anchor, study = make_anchor(), make_study()
    answer = engineer.api("POST", f"studies/{study.slug}/pairs", {"n_pairs": 3})
    assert answer.status_code == 201
    assert answer.json()["n_pairs"] == len(answer.json()["pairs"]) == Pair.objects.count() == 3
    pair = answer.json()["pairs"][0]
    assert pair["first_checkpoint"] == pair["second_checkpoint"] == anchor.name
    assert Clip.objects.count() == 6
    counts = engineer.api("GET", f"studies/{study.slug}").json()["counts"]
    assert (counts["pending"], counts["ready"]) == (3, 0)


def test_judging_pairs_set_the_named_checkpoints_against_each_other(engineer: Person) -> None:
    study = make_study()
    names = [make_checkpoint("r1").name, make_checkpoint("r2").name]
    content = {"n_pairs": 2, "purpose": "judging", "checkpoints": names}
    pairs = engineer.api("POST", f"studies/{study.slug}/pairs", content).json()["pairs"]
    for pair in pairs:
        assert {pair["first_checkpoint"], pair["second_checkpoint"]} == set(names)
    assert {pair.purpose for pair in Pair.objects.all()} == {PairPurpose.JUDGING}


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ({"n_pairs": 0}, 422),
        ({"n_pairs": 1, "purpose": "judging"}, 409),
        ({"n_pairs": 1, "held_out": True}, 409),
        ({"n_pairs": 1, "checkpoints": ["r9"]}, 404),
    ],
)
def test_pairs_that_cannot_be_made_are_refused(
    content: dict[str, Any], status: int, engineer: Person
) -> None:
    make_anchor()
    answer = engineer.api("POST", f"studies/{make_study().slug}/pairs", content)
    assert answer.status_code == status
    assert answer.json()["detail"]
    assert not Pair.objects.exists()


def test_a_round_is_started_watched_and_cancelled(
    engineer: Person, reviewer: Person, rated: RatedStudy
) -> None:
    preflight = reviewer.api("GET", "studies/first/preflight").json()
    assert preflight["base_checkpoint"] == "base"
    assert (preflight["n_usable"], preflight["n_missing"], preflight["can_start"]) == (10, 0, True)
    answer = engineer.api("POST", "rounds", {"study": "first", "config": {"n_epochs": 2}})
    assert answer.status_code == 201
    started = answer.json()
    assert (started["state"], started["base_checkpoint"]) == ("frozen", "base")
    assert started["counts"]["usable"] == 10
    assert len(started["dataset_sha256"]) == 64
    assert started["progress"] is None

    stored = Round.objects.get()
    record_round_metric(round=stored, step=1, n_steps=9, values={"loss": 0.69, "eta_s": 80.0})
    record_round_metric(round=stored, step=2, n_steps=9, values={"loss": 0.6, "margin": 0.1})
    record_evaluation(round=stored, check_name="silence", figure=0.5, details={"n_clips": 8})
    read = reviewer.api("GET", f"rounds/{started['id']}").json()
    assert [metric["values"].get("loss") for metric in read["metrics"]] == [0.69, 0.6]
    assert read["progress"] == {"step": 2, "n_steps": 9, "eta_s": None, "memory_mb": None}
    assert [(e["check"], e["verdict"]) for e in read["evaluations"]] == [("silence", "failed")]
    assert read["evaluations"][0]["details"] == {"n_clips": 8}
    assert reviewer.api("GET", f"rounds/{started['name']}").json() == read
    listed = reviewer.api("GET", "rounds?study=first&population=people&state=frozen").json()
    assert listed[0]["progress"] == read["progress"]
    assert reviewer.api("GET", "rounds?population=rehearsal").json() == []

    twice = engineer.api("POST", "rounds", {"study": "first"})
    assert twice.status_code == 409
    cancelled = engineer.api("POST", f"rounds/{started['id']}/cancel").json()
    assert cancelled["state"] == RoundState.CANCELLED
    assert engineer.user.get_username() in cancelled["outcome"]
    assert engineer.api("POST", f"rounds/{started['id']}/cancel").status_code == 409


def test_a_round_with_too_few_preferences_says_how_many_are_missing(
    engineer: Person, rated: RatedStudy, settings: LazySettings
) -> None:
    settings.ATTUNE_MINIMUM_PREFERENCES = 58
    answer = engineer.api("POST", "rounds", {"study": "first"})
    assert answer.status_code == 409
    refusal = answer.json()
    assert (refusal["n_usable"], refusal["n_needed"], refusal["n_missing"]) == (10, 58, 48)
    assert "48 more are needed" in refusal["detail"]
    assert not Round.objects.exists()


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        ({"study": "nowhere"}, 404, "nowhere"),
        ({"study": "first", "base_checkpoint": "r9"}, 404, "r9"),
        ({"study": "first", "method": "guess"}, 409, "unknown method 'guess'"),
        ({"study": "first", "config": {"heat": 1}}, 422, "heat"),
        ({"study": "first", "config": {"n_epochs": 99}}, 422, "between 1 and 20, got 99"),
        ({"study": "first", "config": {"n_epochs": "two"}}, 422, "'two'"),
        ({}, 422, "study is missing"),
    ],
)
def test_a_bad_round_is_refused(
    content: dict[str, Any], status: int, said: str, engineer: Person, rated: RatedStudy
) -> None:
    answer = engineer.api("POST", "rounds", content)
    assert answer.status_code == status
    assert said in answer.json()["detail"]
    assert not Round.objects.exists()


def test_a_study_without_rotation_has_no_base_to_start_from(engineer: Person) -> None:
    study = make_study(population=Population.REHEARSAL)
    answer = engineer.api("POST", "rounds", {"study": study.slug})
    assert answer.status_code == 409
    assert engineer.api("GET", f"studies/{study.slug}/preflight").status_code == 409
    assert engineer.api("GET", "rounds/7").status_code == 404


def test_decisions_about_a_canary_are_kept_with_actor_and_reason(engineer: Person) -> None:
    anchor = make_anchor()
    canary = make_checkpoint("r1", parent=anchor)
    enter_rotation(
        checkpoint=canary, population="people", role=RotationRole.CANARY, share=0.2, reason="gate"
    )
    before = engineer.api("GET", "rotation").json()
    shares = {entry["checkpoint"]: entry["new_clip_share"] for entry in before["entries"]}
    assert shares == {anchor.name: pytest.approx(0.8), "r1": pytest.approx(0.2)}

    reasons = {"hold": "too early", "promote": "63% of 214", "roll-back": "it hums"}
    for step, reason in reasons.items():
        answer = engineer.api("POST", f"rotation/r1/{step}", {"reason": reason})
        assert answer.status_code == 200
    after = answer.json()
    assert [entry["checkpoint"] for entry in after["entries"]] == [anchor.name]
    told = [(event["action"], event["reason"]) for event in after["events"][:3]]
    assert told == [("roll_back", "it hums"), ("promote", "63% of 214"), ("hold", "too early")]
    assert {event["actor"] for event in after["events"][:3]} == {engineer.user.get_username()}
    retired = engineer.api("POST", "rotation/r1/retire", {"reason": "done with it"})
    assert retired.status_code == 200
    assert engineer.api("GET", "checkpoints/r1").json()["is_retired"]


@pytest.mark.parametrize(
    ("path", "content", "status", "said"),
    [
        ("{anchor}/roll-back", {"reason": "x"}, 409, "anchor"),
        ("{anchor}/retire", {"reason": "x"}, 409, "anchor"),
        ("{anchor}/promote", {"reason": "x"}, 409, "only a canary"),
        ("r9/hold", {"reason": "x"}, 404, "r9"),
        ("{anchor}/hold", {}, 422, "reason is missing"),
        ("{anchor}/hold", {"reason": ""}, 422, "reason"),
        ("{anchor}/hold", {"reason": " "}, 409, "reason"),
        ("{anchor}/hold", {"reason": "x", "population": "rehearsal"}, 409, "not in rotation"),
    ],
)
def test_a_decision_against_the_rules_is_refused(
    path: str, content: dict[str, Any], status: int, said: str, engineer: Person
) -> None:
    address = path.format(anchor=make_anchor().name)
    n_events = RotationEvent.objects.count()
    answer = engineer.api("POST", f"rotation/{address}", content)
    assert answer.status_code == status
    assert said in answer.json()["detail"]
    assert RotationEvent.objects.count() == n_events


def test_the_leaderboard_keeps_populations_apart(reviewer: Person, rated: RatedStudy) -> None:
    import numpy as np
    from django.utils import timezone

    from attune.leaderboard.services import refresh_leaderboard

    aligned = rated.add_checkpoint("aligned", parent=rated.base)
    for choice in ("B", "B", "B", "A", "TIE", "BOTH_BAD"):
        rated.rate(rated.add_pair(rated.base, aligned), choice)
    rng = np.random.default_rng(0)
    refresh_leaderboard(population="people", now=timezone.now(), rng=rng)
    board = reviewer.api("GET", "leaderboard").json()
    assert (board["population"], board["n_ratings"], board["n_raters"]) == ("people", 6, 1)
    best = board["standings"][0]
    assert (best["checkpoint"], best["role"], best["n_wins"]) == ("aligned", None, 3)
    assert best["low"] <= best["score"] <= best["high"]
    empty = reviewer.api("GET", "leaderboard?population=rehearsal").json()
    assert (empty["standings"], empty["refreshed_at"]) == ([], None)
    assert reviewer.api("GET", "leaderboard?population=all").status_code == 422


def test_a_win_rate_comes_with_counts_interval_and_verdict(
    reviewer: Person, rated: RatedStudy
) -> None:
    aligned = rated.add_checkpoint("aligned", parent=rated.base)
    for choice in ("B", "B", "B", "A", "TIE", "BOTH_BAD"):
        rated.rate(rated.add_pair(rated.base, aligned), choice)
    found = reviewer.api("GET", "win-rates?checkpoint=aligned").json()
    assert (found["against"], found["figure"], found["n_decided"]) == ("base", 0.75, 4)
    assert (found["n_ties"], found["n_both_bad"], found["n_raters"]) == (1, 1, 1)
    assert 0 < found["low"] < 0.75 < found["high"] < 1
    assert found["verdict"]["decision"] == "hold"
    assert "3 of 4" in found["verdict"]["sentence"]
    named = reviewer.api("GET", "win-rates?checkpoint=base&against=aligned").json()
    assert (named["figure"], named["verdict"]) == (0.25, None)
    held_out = reviewer.api("GET", "win-rates?checkpoint=aligned&held_out=true").json()
    assert (held_out["figure"], held_out["n_decided"]) == (None, 0)
    for query in ("checkpoint=base", "checkpoint=base&against=base", ""):
        assert reviewer.api("GET", f"win-rates?{query}").status_code == 422


def test_jobs_are_listed_by_state(reviewer: Person, engineer: Person) -> None:
    make_anchor()
    engineer.api("POST", "clips", {"prompt": "a calm harp"})
    jobs = reviewer.api("GET", "jobs?state=queued").json()
    assert [(job["kind"], job["attempts"]) for job in jobs] == [("generate_clips", 0)]
    assert reviewer.api("GET", f"jobs?state={JobState.DONE}").json() == []
