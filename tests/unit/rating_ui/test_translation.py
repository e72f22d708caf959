"""All that a rater reads can be read in German, and no sentence is left unmarked."""

import ast
import gettext
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.test import Client
from django.utils.translation.template import templatize

from attune.raters.models import Role
from tests.factories import make_pair, make_study
from tests.unit.api.people import Person, make_person

ROOT = Path(__file__).resolve().parents[3]
RATING_UI = ROOT / "rating_ui"
LOCALE = RATING_UI / "locale" / "de" / "LC_MESSAGES"
TEMPLATES = sorted((RATING_UI / "templates").rglob("*.html"))
SCRIPTS = sorted((RATING_UI / "static").rglob("*.js"))
PYTHON = [
    path
    for folder in ("rating_ui", "platform/attune")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "migrations" not in path.parts
]
MARKERS = {"_", "gettext", "gettext_lazy", "gettext_noop", "ngettext", "ngettext_lazy"}
CALL = re.compile(
    r"""\b(?:_|n?gettext)\(\s*u?('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""",
)
# Words that are names, keys or signs in every language.
SAME_EVERYWHERE = re.compile(r"^(Attune|[A-Z?]|[^\w]|\d|DOCTYPE|html)+$")


def marked_in_code(text: str) -> Iterator[str]:
    """First arguments of gettext calls in a script, or in what Django makes of a template."""
    for found in CALL.finditer(text):
        yield ast.literal_eval(found[1])


def marked_in_python(path: Path) -> Iterator[str]:
    """First arguments of gettext calls in a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        first = node.args[0]
        if name in MARKERS and isinstance(first, ast.Constant):
            yield first.value


def catalog(domain: str) -> dict[str, list[str]]:
    """Message -> its German forms, from the compiled file that the site reads."""
    with (LOCALE / f"{domain}.mo").open("rb") as file:
        stored = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
    found: dict[str, list[str]] = {}
    for key, german in stored.items():
        found.setdefault(key if isinstance(key, str) else key[0], []).append(german)
    return found


def entries(domain: str) -> dict[str, list[str]]:
    """Message -> its German forms, from the text that translators edit."""
    found: dict[str, list[str]] = {}
    for block in (LOCALE / f"{domain}.po").read_text().split("\n\n"):
        texts: dict[str, str] = {}
        key = ""
        for line in block.split("\n"):
            if named := re.match(r"(msgid|msgid_plural|msgstr(?:\[\d\])?) (\".*\")$", line):
                key = named[1]
                texts[key] = ast.literal_eval(named[2])
            elif line.startswith('"'):
                texts[key] += ast.literal_eval(line)
        if texts.get("msgid"):
            german = [text for key, text in texts.items() if key.startswith("msgstr")]
            found[texts["msgid"]] = german
    return found


class Words(HTMLParser):
    """Collects what a template shows outside of its tags and marked strings."""

    SPOKEN = ("aria-label", "alt", "title", "placeholder", "content")

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Attributes that are read out count as text."""
        self.silent += tag in {"script", "style"}
        spoken = [value for name, value in attrs if name in self.SPOKEN and value]
        if tag != "meta":
            self.found += spoken

    def handle_endtag(self, tag: str) -> None:
        """Leaves a script or style."""
        self.silent -= tag in {"script", "style"}

    def handle_data(self, data: str) -> None:
        """Text between tags."""
        if not self.silent:
            self.found += [line.strip() for line in data.split("\n") if line.strip()]


def unmarked(text: str) -> list[str]:
    """Words of a template that no translator gets to see."""
    text = re.sub(r"\{% block body_class %\}.*?\{% endblock %\}", "", text)
    text = re.sub(r"\{%\s*blocktrans.*?endblocktrans\w*\s*%\}", "", text, flags=re.DOTALL)
    text = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", "", text, flags=re.DOTALL)
    words = Words()
    words.feed(text)
    return [word for word in words.found if not SAME_EVERYWHERE.match(word.replace(" ", ""))]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_hold_no_text_that_cannot_be_translated(path: Path) -> None:
    assert unmarked(path.read_text()) == []


def test_the_search_for_unmarked_text_finds_it() -> None:
    text = '<p aria-label="Close it">{% translate "Fine" %} {{ x }} · A<b>left over</b></p>'
    assert unmarked(text) == ["Close it", "left over"]


def test_every_sentence_of_pages_and_refusals_has_its_german() -> None:
    marked = {text for path in PYTHON for text in marked_in_python(path)}
    for path in TEMPLATES:
        marked |= set(marked_in_code(templatize(path.read_text())))
    assert {"Which clip?", "nothing", "Both are bad"} <= marked
    german = catalog("django")
    assert sorted(text for text in marked if not all(german.get(text, [""]))) == []


def test_every_sentence_of_scripts_has_its_german() -> None:
    marked = {text for path in SCRIPTS for text in marked_in_code(path.read_text())}
    assert {"Paused", "%(n)s of %(all)s pairs", "%(n)s answer waits to be sent"} <= marked
    german = catalog("djangojs")
    assert sorted(text for text in marked if not all(german.get(text, [""]))) == []


@pytest.mark.parametrize("domain", ["django", "djangojs"])
def test_what_is_compiled_is_what_is_written_with_the_same_places_to_fill(domain: str) -> None:
    written, compiled = entries(domain), catalog(domain)
    assert {text: sorted(german) for text, german in written.items()} == {
        text: sorted(german) for text, german in compiled.items() if text
    }
    places = re.compile(r"%\(\w+\)s")
    for text, forms in written.items():
        for german in forms:
            assert sorted(places.findall(german)) == sorted(places.findall(text)), text


@pytest.mark.django_db
def test_a_page_speaks_the_language_that_the_browser_asks_for() -> None:
    german = Client(headers={"Accept-Language": "de-AT,de;q=0.9,en;q=0.5"}).get("/")
    assert '<html lang="de">' in german.content.decode()
    assert "Welcher gefällt Ihnen besser?" in german.content.decode()
    other = Client(headers={"Accept-Language": "fr"}).get("/")
    assert '<html lang="en">' in other.content.decode()


@pytest.mark.django_db
def test_the_switch_is_remembered_and_goes_before_the_browsers_wish() -> None:
    client = Client(headers={"Accept-Language": "de"})
    answer = client.post("/language", {"language": "en", "next": "/sign-in"})
    assert (answer.status_code, answer["Location"]) == (302, "/sign-in")
    assert '<html lang="en">' in client.get("/sign-in").content.decode()
    away = client.post("/language", {"language": "de", "next": "https://elsewhere.example/"})
    assert away["Location"] == "/"


@pytest.mark.django_db
def test_refusals_and_the_default_question_reach_a_rater_in_german(rater: Person) -> None:
    study = make_study(minimum_listening_s=1.0)
    make_pair(study)
    german = {"Accept-Language": "de"}
    pair = rater.api("POST", "assignments", **german).json()
    assert pair["question"] == "Welcher gefällt Ihnen besser?"
    answer = {"client_id": "7e57ab1e-0000-4000-8000-000000000001", "assignment": pair["id"]}
    refused = rater.api("POST", "ratings", answer | {"choice": "A"}, **german)
    assert refused.json()["detail"] == "Seite A wurde 0.0 s gehört: 1.0 s sind nötig"
    said = rater.api("POST", "ratings", answer | {"choice": "A"}).json()["detail"]
    assert said == "side A was heard for 0.0 s: 1.0 s are needed"
    type(study).objects.update(question="Which is darker?")
    assert rater.api("POST", "assignments", **german).json()["question"] == "Which is darker?"


@pytest.mark.django_db
def test_scripts_get_their_sentences_with_the_page_and_english_costs_nothing(rater: Person) -> None:
    pages = rater.pages
    german = pages.get("/rate/", headers={"Accept-Language": "de"}).content.decode()
    assert '<script id="script-texts" type="application/json">' in german
    assert '"Paused": "Angehalten"' in german
    assert "script-texts" not in pages.get("/rate/").content.decode()


@pytest.mark.django_db
def test_the_console_stays_english(engineer: Person) -> None:
    page = engineer.pages.get("/console/", headers={"Accept-Language": "de"}).content.decode()
    assert '<html lang="en">' in page
    assert "Abmelden" not in page


@pytest.fixture
def rater(db: None) -> Person:
    """Someone who listens."""
    return make_person(Role.RATER)


@pytest.fixture
def engineer(db: None) -> Person:
    """Someone who runs rounds."""
    return make_person(Role.ENGINEER)
