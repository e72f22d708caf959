"""What the rating page is made of: its policy, its scripts, its colours."""

import re
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.staticfiles import finders
from django.test import Client

import rating_ui
from attune.raters.models import Role
from attune.raters.services import create_member
from rating_ui.views import MODULES
from tests.factories import make_study

ROOT = Path(rating_ui.__file__).parent
SCRIPTS = ROOT / "static" / "rating_ui"
TEXT = 4.5
PARTS = 3.0


def rater_client() -> Client:
    """A browser in which a new rater is signed in."""
    client = Client()
    client.force_login(create_member(role=Role.RATER), backend=settings.AUTHENTICATION_BACKENDS[1])
    return client


@pytest.mark.django_db
def test_the_first_paint_shows_the_question_and_no_pair() -> None:
    study = make_study()
    response = rater_client().get("/rate/")
    assert study.question in response.content.decode()
    assert 'data-n-target="40"' in response.content.decode()
    assert response["Cache-Control"].startswith("max-age=0, no-cache, no-store")
    assert settings.CSRF_COOKIE_NAME in response.cookies


@pytest.mark.django_db
def test_every_file_a_page_names_exists() -> None:
    content = rater_client().get("/rate/").content.decode()
    names = re.findall(r'(?:href|src)="/static/([^"]+)"', content)
    assert len(names) > len(MODULES)
    missing = [name for name in names if finders.find(name) is None]
    assert missing == []


def test_every_module_is_fetched_early_and_imported_by_a_relative_path() -> None:
    files = {f"rating_ui/{file.name}" for file in SCRIPTS.glob("*.js")}
    assert files == {*MODULES, "rating_ui/page.js"}
    for file in SCRIPTS.glob("*.js"):
        for target in re.findall(r'from "([^"]+)"', file.read_text()):
            assert target.startswith("./"), f"{file.name} imports {target}"
            assert (SCRIPTS / target).is_file(), f"{file.name} imports {target}"


@pytest.mark.django_db
def test_the_policy_allows_own_files_only() -> None:
    policy = rater_client().get("/rate/")["Content-Security-Policy"]
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";") if part.strip())
    assert directives["default-src"] == "'none'"
    assert directives["script-src"].split() == ["'self'"]
    assert "unsafe" not in policy


def test_no_template_carries_inline_style_or_script() -> None:
    found = [
        f"{file.name}: {match}"
        for file in (ROOT / "templates").rglob("*.html")
        for match in re.findall(
            r'<style|\sstyle="|\son\w+="|<script(?![^>]*\ssrc=)[^>]*>', file.read_text()
        )
    ]
    assert found == []


def tokens(css: str, *, dark: bool) -> dict[str, str]:
    """The colours of base.css in one of the two schemes."""
    light_part, dark_part = css.split("@media (prefers-color-scheme: dark)", 1)
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light_part))
    if dark:
        found |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", dark_part))
    return found


def contrast(first: str, second: str) -> float:
    """The contrast ratio of WCAG 2.2 of two #rrggbb colours."""

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_of_black_on_white_is_21() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(
    ("ink", "ground", "least"),
    [
        ("ink", "paper", TEXT),
        ("ink", "sunken", TEXT),
        ("soft", "paper", TEXT),
        ("soft", "card", TEXT),
        ("soft", "sunken", TEXT),
        ("soft", "a-tint", TEXT),
        ("soft", "b-tint", TEXT),
        ("on-ink", "ink", TEXT),
        ("a", "card", TEXT),
        ("a", "a-tint", TEXT),
        ("on-a", "a", TEXT),
        ("b", "card", TEXT),
        ("b-text", "b-tint", TEXT),
        ("b-text", "paper", TEXT),
        ("on-b", "b", TEXT),
        ("ok", "card", TEXT),
        ("ok-text", "a-tint", TEXT),
        ("ok-text", "b-tint", TEXT),
        ("ok-text", "ok-tint", TEXT),
        ("danger", "danger-tint", TEXT),
        ("line-strong", "card", PARTS),
        ("focus", "paper", PARTS),
    ],
)
def test_text_and_parts_stand_out_from_their_ground(
    dark: bool, ink: str, ground: str, least: float
) -> None:
    colours = tokens((ROOT / "static/attune/base.css").read_text(), dark=dark)
    assert contrast(colours[ink], colours[ground]) >= least
