"""The form of a new round: what it offers by method, what it counts, what it refuses."""

import pytest
from django.conf import LazySettings
from django.test import Client

from attune.catalog.models import Checkpoint, Prompt
from attune.rounds.choices import RoundMethod
from attune.rounds.config import LOSSES, SETTINGS
from attune.rounds.group_services import set_rater_group
from attune.rounds.models import Round
from console.knobs import KNOB_LINES, LOSS_LINES, METHOD_LINES
from console.views.rounds import again_address
from tests.unit.api.people import Person
from tests.unit.attune.rated import RatedStudy
from tests.unit.console.conftest import said

NEW = "/console/rounds/new/?study=first&base=base"


def shown(browser: Client, address: str) -> str:
    answer = browser.get(address)
    assert answer.status_code == 200
    return str(answer.content.decode())


def test_the_form_shows_what_the_round_would_start_with(browser: Client, rated: RatedStudy) -> None:
    text = browser.get("/console/rounds/new/?study=first&base=base").content.decode()
    assert '<p class="figure">10</p>' in text
    assert "usable preferences of 8 needed" in text
    assert "disabled" not in text


def test_a_round_starts_from_the_form(browser: Client, engineer: Person, rated: RatedStudy) -> None:
    form = {"study": "first", "base": "base", "name": "dusk", "n_epochs": "2"}
    answer = browser.post("/console/rounds/start/", form, follow=True)
    stored = Round.objects.get()
    assert answer.redirect_chain == [(f"/console/rounds/{stored.pk}/", 302)]
    assert (stored.name, stored.config, stored.created_by) == (
        "dusk",
        {"n_epochs": 2},
        engineer.user,
    )
    assert said(answer) == ["Round dusk is frozen and queued."]


def test_a_round_with_too_few_preferences_is_refused_with_the_missing_number(
    browser: Client, rated: RatedStudy, settings: LazySettings
) -> None:
    settings.ATTUNE_MINIMUM_PREFERENCES = 58
    text = browser.get("/console/rounds/new/").content.decode()
    assert "48 more are needed" in text
    assert "disabled" in text
    answer = browser.post("/console/rounds/start/", {"study": "first", "base": "base"})
    assert answer.status_code == 409
    assert "The round was not started: 10 usable preferences, 58 needed: 48 more are needed" in (
        answer.content.decode()
    )
    assert not Round.objects.exists()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"n_epochs": "99"}, "Got 99, allowed is a whole number from 1 to 20."),
        ({"n_epochs": "2.5"}, "Got 2.5, allowed is a whole number from 1 to 20."),
        ({"learning_rate": "fast"}, "Got fast, allowed is a number from 1e-08 to 0.1."),
        ({"learning_rate": "nan"}, "Got nan, allowed is a number from 1e-08 to 0.1."),
        ({"base": "nowhere"}, "Got nowhere, choose one of the list."),
        ({"loss": "hinge"}, "Got hinge, allowed are sigmoid_norm, sigmoid, ipo"),
        ({"loss": "robust"}, "Loss robust needs label_smoothing"),
        ({"name": "x" * 121}, "at most 120 characters"),
    ],
)
def test_a_form_with_a_mistake_keeps_what_was_typed(
    change: dict[str, str], problem: str, browser: Client, rated: RatedStudy
) -> None:
    form = {"study": "first", "base": "base", "name": "dusk"} | change
    answer = browser.post("/console/rounds/start/", form)
    assert answer.status_code == 422
    assert problem in answer.content.decode()
    assert not Round.objects.exists()


def test_an_unknown_study_is_not_found(browser: Client, rated: RatedStudy) -> None:
    assert browser.get("/console/rounds/new/?study=nowhere").status_code == 404
    assert browser.post("/console/rounds/start/", {"study": "nowhere"}).status_code == 404


@pytest.mark.parametrize(
    ("query", "there", "not_there"),
    [
        ("", ["loss", "label_smoothing", "reward_model"], ["tie_share", "judge_model", "n_steps"]),
        ("&loss=davidson", ["tie_share"], ["label_smoothing"]),
        ("&method=kto", ["desirable_weight", "batch_clips"], ["loss", "batch_pairs"]),
        ("&method=expert", ["best_share", "reward_model"], ["beta_norm", "judge_model"]),
        ("&method=grpo", ["reward_model", "judge_model", "group_size"], ["n_epochs"]),
        ("&method=reward", ["seed"], ["learning_rate", "reward_model"]),
        ("&method=nonsense", ["loss", "beta_norm"], ["group_size"]),
    ],
)
def test_the_settings_follow_method_and_loss(
    query: str, there: list[str], not_there: list[str], browser: Client, rated: RatedStudy
) -> None:
    text = shown(browser, NEW + query)
    for name in there:
        assert f' name="{name}"' in text
    for name in not_there:
        assert f' name="{name}"' not in text


def test_a_change_is_answered_by_the_plan_alone(browser: Client, rated: RatedStudy) -> None:
    answer = browser.get(NEW + "&method=kto&n_epochs=99", headers={"HX-Request": "true"})
    text = answer.content.decode()
    assert "<html" not in text
    assert "Got 99, allowed is a whole number from 1 to 20." in text
    assert "1 field has a value that cannot be" in text
    assert '<p class="figure">10</p>' in text
    assert " disabled" in text


def test_only_what_differs_from_the_defaults_is_kept(browser: Client, rated: RatedStudy) -> None:
    form = {
        "study": "first",
        "base": "base",
        "method": "dpo",
        "loss": "davidson",
        "n_epochs": "3",
        "seed": "7",
        "soft_labels": "true",
        "gradient_checkpointing": "true",
    }
    browser.post("/console/rounds/start/", form)
    assert Round.objects.get().config == {
        "loss": "davidson",
        "seed": 7,
        "gradient_checkpointing": True,
    }


def test_a_round_by_a_reward_model_says_what_it_needs(browser: Client, rated: RatedStudy) -> None:
    text = shown(browser, NEW + "&method=grpo")
    assert "Grpo needs a reward model; 0 reward models are stored" in text
    answer = browser.post(
        "/console/rounds/start/", {"study": "first", "base": "base", "method": "grpo"}
    )
    assert answer.status_code == 409
    assert "grpo needs a judge model" in answer.content.decode()


def test_a_round_learns_from_a_group_of_raters(browser: Client, rated: RatedStudy) -> None:
    set_rater_group(name="quiet", pseudonyms=[rated.rater(0).pseudonym])
    set_rater_group(name="nobody", pseudonyms=[])
    assert "rater group nobody has 0 raters" in shown(browser, NEW + "&rater_group=nobody").lower()
    form = {"study": "first", "base": "base", "rater_group": "quiet"}
    browser.post("/console/rounds/start/", form)
    assert Round.objects.get().filters["rater_group"] == "quiet"


def test_a_round_learns_from_prompts_with_a_tag_and_adapts_the_layers_named(
    browser: Client, rated: RatedStudy
) -> None:
    Prompt.objects.update(tags=["calm"])
    text = shown(browser, NEW + "&prompt_tags=loud")
    assert "0 prompts have the tags loud; known are calm" in text
    assert "Got head, allowed are q_proj" in shown(browser, NEW + "&lora_targets=head")
    form = {"study": "first", "base": "base", "prompt_tags": "calm, dark"}
    browser.post("/console/rounds/start/", form | {"lora_targets": "fc1,q_proj"})
    stored = Round.objects.get()
    assert stored.filters["prompt_tags"] == ["calm", "dark"]
    assert stored.config == {"lora_targets": ["q_proj", "fc1"]}
    again = again_address(stored)
    assert "prompt_tags=calm%2C+dark" in again
    assert "lora_targets=q_proj%2C+fc1" in again
    assert "calm, dark" in browser.get(f"/console/rounds/{stored.pk}/").content.decode()


def test_the_preflight_names_cost_leakage_and_worker(browser: Client, rated: RatedStudy) -> None:
    text = shown(browser, NEW)
    assert "none answers" in text
    assert "never heard" in text
    assert "about " in text
    assert "formula" in text
    assert "on-policy-3" in text
    assert "No device worker answers (none was ever heard)" in text


def test_every_method_loss_and_setting_is_told_in_a_line() -> None:
    assert set(METHOD_LINES) == set(RoundMethod) - {RoundMethod.MIX}
    assert set(LOSS_LINES) == set(LOSSES)
    assert {name for settings in SETTINGS.values() for name in settings} <= set(KNOB_LINES)


def test_a_base_of_another_study_gives_way(
    browser: Client, rated: RatedStudy, canary: Checkpoint
) -> None:
    assert "on base<" in shown(browser, "/console/rounds/new/?study=first&base=nowhere")
    assert "on aligned<" in shown(browser, "/console/rounds/new/?study=first&base=aligned")
