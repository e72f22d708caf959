"""A study's settings: told in words, changed by a form as a whole or not at all; a new study."""

import pytest
from django.forms.models import model_to_dict
from django.test import Client

from attune.catalog.models import PromptSet
from attune.catalog.services import add_prompt_set
from attune.ratings.models import Pair, Study
from attune.ratings.services import CHANGEABLE_FIELDS
from console.setting_words import setting_words
from console.study_forms import SettingsForm
from tests.factories import make_study
from tests.unit.api.people import Person
from tests.unit.attune.rated import RatedStudy
from tests.unit.console.conftest import said
from tests.unit.console.test_pages import text_of

pytestmark = pytest.mark.django_db

SET_ELSEWHERE = {"consent", "asks_volume", "device_check", "n_practice", "sampling", "gate"}
"""By the form of the steps before the first pair, and over the API."""
GIVEN = {
    "name": "Autumn",
    "question": "Which one moves you?",
    "aspects": ["musicality", "sound_quality"],
    "clip_duration_s": "12.5",
    "minimum_listening_s": "4",
    "pairs_per_session": "25",
    "break_after_min": "0",
    "overlap": "3",
    "assignment_lease_s": "600",
    "pool_target": "8",
    "judging_share": "0.5",
    "gold_share": "0.2",
    "repeat_share": "0",
}
STORED = {
    "name": "Autumn",
    "is_open": False,
    "question": "Which one moves you?",
    "aspects": ["musicality", "sound_quality"],
    "asks_strength": False,
    "shows_history": False,
    "clip_duration_s": 12.5,
    "minimum_listening_s": 4.0,
    "pairs_per_session": 25,
    "break_after_min": 0,
    "overlap": 3,
    "assignment_lease_s": 600,
    "pool_target": 8,
    "judging_share": 0.5,
    "gold_share": 0.2,
    "repeat_share": 0.0,
}
BAD = [
    ("name", "", "Nothing was given; expected 1 to 120 characters."),
    ("question", "why " * 60, "239 characters were given; expected 1 to 200 characters."),
    ("aspects", ["rhythm"], "“rhythm” was given; expected any of prompt_fit, musicality,"),
    ("clip_duration_s", "45", "“45” was given; expected a number from 1 to 30 seconds."),
    ("clip_duration_s", "nan", "“nan” was given; expected a number from 1 to 30 seconds."),
    ("minimum_listening_s", "-1", "“-1” was given; expected a number from 0 to 30 seconds."),
    ("pairs_per_session", "0", "“0” was given; expected a whole number from 1 to 1000 pairs."),
    ("break_after_min", "soon", "“soon” was given; expected a whole number from 0 to 600 minutes."),
    ("overlap", "2.5", "“2.5” was given; expected a whole number from 1 to 100 raters a pair."),
    ("assignment_lease_s", "9", "“9” was given; expected a whole number from 10 to 86400 seconds."),
    ("pool_target", "1001", "“1001” was given; expected a whole number from 0 to 1000 pairs."),
    ("judging_share", "1.1", "“1.1” was given; expected a number from 0 to 1."),
    ("gold_share", "0.5", "“0.5” was given; expected a number from 0 to 0.4."),
    ("repeat_share", "half", "“half” was given; expected a number from 0 to 0.4."),
]


def settings_of(study: Study) -> dict[str, object]:
    return {name: getattr(study, name) for name in SettingsForm.base_fields}


class TestWords:
    def test_settings_are_told_as_sentences(self) -> None:
        study = make_study()
        for name, value in STORED.items():
            setattr(study, name, value)
        assert dict(setting_words(study)) == {
            "Question": "“Which one moves you?”",
            "Clips": "12.5 s each. An answer is taken once 4 s of each clip were heard.",
            "Answers": "A, B, tie or both bad; then, one by one, musicality, sound quality.",
            "Second thoughts": "Only the last answer can be changed, until a round uses it.",
            "Sitting": "25 pairs, without an offered break.",
            "Raters a pair": "3 ratings and no more. A pair is kept for whoever has it for 10 min.",
            "Pool": "8 pairs kept ready ahead of the raters.",
            "Kinds of pairs": "Raters hear 20% gold and no repeats; "
            "50% of the pool’s pairs judge two checkpoints, the others train.",
        }

    def test_what_is_usual_reads_otherwise(self) -> None:
        told = dict(setting_words(Study(pairs_per_session=1, break_after_min=1)))
        assert told["Answers"] == "A, B, tie or both bad; after A or B, how much better it was."
        assert told["Sitting"] == "1 pair; a break is offered after 1 minute."
        assert told["Pool"] == "None: pairs are made on request alone."
        assert "10% gold and 10% repeats; 30%" in told["Kinds of pairs"]

    def test_reviewers_read_them_and_engineers_find_the_form(
        self, reviewer: Person, engineer: Person, rated: RatedStudy
    ) -> None:
        text = text_of(reviewer, "studies/first/")
        assert "<dt>Question</dt><dd>“Which do you prefer?”</dd>" in text
        assert "Change settings" not in text
        assert "/console/studies/first/settings/" in text_of(engineer, "studies/first/")


class TestChange:
    ADDRESS = "/console/studies/first/settings/"

    def test_the_form_has_every_setting_that_can_change_and_none_twice(self) -> None:
        named = [name for _, names in SettingsForm.GROUPS for name in names]
        assert sorted(named) == sorted(SettingsForm.base_fields)
        assert set(named) == CHANGEABLE_FIELDS - SET_ELSEWHERE

    def test_all_settings_are_saved_and_told(self, browser: Client, rated: RatedStudy) -> None:
        answer = browser.post(f"{self.ADDRESS}change/", GIVEN, follow=True)
        rated.study.refresh_from_db()
        assert settings_of(rated.study) == STORED
        assert "<dd>“Which one moves you?”</dd>" in answer.content.decode()

    def test_only_what_differs_is_named_as_changed(
        self, browser: Client, rated: RatedStudy
    ) -> None:
        browser.post(f"{self.ADDRESS}change/", GIVEN)
        answer = browser.post(f"{self.ADDRESS}change/", {**GIVEN, "overlap": "4"}, follow=True)
        assert said(answer)[-1] == "Changed: Overlap."
        answer = browser.post(f"{self.ADDRESS}change/", {**GIVEN, "overlap": "4"}, follow=True)
        assert said(answer)[-1] == "All settings are as they were."

    @pytest.mark.parametrize(("name", "given", "problem"), BAD)
    def test_a_bad_value_is_named_with_what_is_allowed_and_nothing_is_saved(
        self, name: str, given: str | list[str], problem: str, browser: Client, rated: RatedStudy
    ) -> None:
        before = model_to_dict(Study.objects.get())
        answer = browser.post(f"{self.ADDRESS}change/", {**GIVEN, name: given})
        text = answer.content.decode()
        assert answer.status_code == 422
        assert problem in text
        assert "1 setting is not allowed" in text
        assert model_to_dict(Study.objects.get()) == before

    def test_what_was_typed_is_kept_beside_every_problem(
        self, browser: Client, rated: RatedStudy
    ) -> None:
        bad = {**GIVEN, "overlap": "many", "clip_duration_s": "0.5"}
        text = browser.post(f"{self.ADDRESS}change/", bad).content.decode()
        assert "2 settings are not allowed" in text
        for kept in ('value="many"', 'value="0.5"', 'value="Which one moves you?"'):
            assert kept in text
        assert text.count("checked") == 2, "the two aspects"

    def test_the_length_of_clips_is_said_to_leave_requested_pairs_alone(
        self, engineer: Person, rated: RatedStudy
    ) -> None:
        Pair.objects.update(n_ratings=1)
        assert "None waits for its first rating now." in text_of(
            engineer, "studies/first/settings/"
        )
        rated.add_pair()
        rated.add_pair()
        assert "2 wait for their first rating now." in text_of(engineer, "studies/first/settings/")

    def test_an_unknown_study_is_not_found(self, browser: Client) -> None:
        assert browser.get("/console/studies/nowhere/settings/").status_code == 404
        assert browser.post("/console/studies/nowhere/settings/change/").status_code == 404

    def test_a_reviewer_is_refused_and_changes_nothing(
        self, reviewer: Person, rated: RatedStudy
    ) -> None:
        client = reviewer.pages
        client.handler.enforce_csrf_checks = False
        assert client.get(self.ADDRESS).status_code == 403
        assert client.post(f"{self.ADDRESS}change/", GIVEN).status_code == 403
        assert Study.objects.get().name != "Autumn"


class TestNew:
    ADDRESS = "/console/studies/new/create/"
    NEW = {**GIVEN, "slug": "autumn", "population": "people", "prompt_set": "leaves"}

    @pytest.fixture(autouse=True)
    def _prompts(self, db: None) -> None:
        add_prompt_set(name="leaves")

    def test_a_study_is_created_with_all_that_was_given(self, browser: Client) -> None:
        answer = browser.post(self.ADDRESS, {**self.NEW, "is_open": "on"}, follow=True)
        assert answer.redirect_chain[0][0] == "/console/studies/autumn/"
        study = Study.objects.get()
        assert settings_of(study) == {**STORED, "is_open": True}
        assert (study.slug, study.population, study.prompt_set.name) == (
            *("autumn", "people", "leaves"),
        )

    @pytest.mark.parametrize(("population", "share"), [("people", 0.1), ("rehearsal", 0.0)])
    def test_checks_on_raters_left_empty_are_those_usual_for_who_rates(
        self, browser: Client, population: str, share: float
    ) -> None:
        browser.post(
            self.ADDRESS,
            {**self.NEW, "population": population, "gold_share": "", "repeat_share": ""},
        )
        study = Study.objects.get()
        assert (study.gold_share, study.repeat_share) == (share, share)

    def test_a_taken_slug_is_named_and_what_was_typed_is_kept(self, browser: Client) -> None:
        browser.post(self.ADDRESS, self.NEW)
        answer = browser.post(self.ADDRESS, {**self.NEW, "name": "Second autumn"})
        text = answer.content.decode()
        assert answer.status_code == 422
        assert "“autumn” was given, which another study has already." in text
        assert 'value="Second autumn"' in text
        assert Study.objects.get().name == "Autumn"

    @pytest.mark.parametrize(
        ("change", "problem"),
        [
            ({"slug": "new"}, "“new” was given, which is another page’s address."),
            ({"slug": "a b"}, "“a b” was given; expected 1 to 80 of the letters"),
            ({"population": "robots"}, "“robots” was given; expected one of people, rehearsal."),
            ({"prompt_set": "stones"}, "“stones” was given; expected the name of a stored"),
            ({"prompt_set": ""}, "Nothing was given; expected the name of a stored"),
            ({"gold_share": "0.9"}, "“0.9” was given; expected a number from 0 to 0.4."),
        ],
    )
    def test_what_cannot_be_is_named_and_creates_nothing(
        self, browser: Client, change: dict[str, str], problem: str
    ) -> None:
        answer = browser.post(self.ADDRESS, {**self.NEW, **change})
        assert answer.status_code == 422
        assert problem in answer.content.decode()
        assert not Study.objects.exists()

    def test_a_site_without_prompts_asks_for_them_first(self, engineer: Person) -> None:
        assert "Create study" in text_of(engineer, "studies/new/")
        PromptSet.objects.all().delete()
        assert "No prompts yet" in text_of(engineer, "studies/new/")
