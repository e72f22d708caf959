"""What tests of questions after the answer share."""

from typing import Any

from playwright.sync_api import Page

from attune.ratings.services import update_study
from tests.browser.conftest import (
    Site,
    wait_until,
)

IN_PASS = 'document.querySelector("#rate").classList.contains("in-pass")'
CHANGING = 'document.querySelector("#rate").classList.contains("changing")'


def ask_aspects(site: Site, *aspects: str) -> None:
    update_study(study=site.study, aspects=list(aspects))


def count(model: Any, n: int, page: Page) -> None:
    """Waits until the table holds n rows."""
    for _ in range(200):
        if model.objects.count() == n:
            return
        page.wait_for_timeout(40)
    raise AssertionError(f"expected {n} {model.__name__}, found {model.objects.count()}")


def wait_for_prefetch(page: Page) -> None:
    """Waits until the clips of the next pair have come, and are about to be decoded."""
    fetched = "performance.getEntriesByType('resource').filter((r) => /audio/.test(r.name))"
    wait_until(page, f"{fetched}.length >= 4")
    page.wait_for_timeout(200)
