"""Prints the pause between an answer and the moment at which the next pair can be played.

    .venv/bin/pytest -q -s tests/benchmarks/bench_next_pair.py

The time runs from the key that answers to the start of the next clip's sound on the audio clock,
asked for as soon as the page shows it, with the next pair fetched ahead as while people listen.
"""

import numpy as np
import pytest
from playwright.sync_api import Page
from pytest_django.live_server_helper import LiveServer

from tests.browser.conftest import (  # noqa: F401  (fixtures)
    _quiet_end,
    browser,
    context,
    make_site,
    open_pair,
    page,
    seen,
    wait_until,
)

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

N_ANSWERS = 20
CLIP_S = 10.0
WATCH = """
window.pauses = [];
window.decoded = 0;
const decode = BaseAudioContext.prototype.decodeAudioData;
BaseAudioContext.prototype.decodeAudioData = async function (bytes) {
  const buffer = await decode.call(this, bytes);
  window.decoded += 1;
  return buffer;
};
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (when, offset) {
  if (window.answered_ms !== undefined) {
    const ahead_ms = Math.max(0, when - this.context.currentTime) * 1000;
    window.pauses.push(performance.now() + ahead_ms - window.answered_ms);
    window.answered_ms = undefined;
  }
  return start.call(this, when, offset);
};
addEventListener("keydown", (event) => {
  if (event.key === "ArrowLeft") window.answered_ms = performance.now();
}, true);
addEventListener("DOMContentLoaded", () => {
  const shown = document.querySelector("[data-show=prompt]");
  const play = () => document.querySelector("[data-act=listen-a]").click();
  if (shown) new MutationObserver(() => queueMicrotask(play)).observe(shown, {childList: true});
});
"""


def test_print_the_pause_between_an_answer_and_the_next_play(
    page: Page,  # noqa: F811
    live_server: LiveServer,
) -> None:
    page.add_init_script(WATCH)
    site = make_site(
        live_server.url,
        n_pairs=N_ANSWERS + 3,
        minimum_listening_s=0.0,
        clip_duration_s=CLIP_S,
        pairs_per_session=100,
    )
    open_pair(page, site)
    page.keyboard.press("1")  # the browser lets sound begin after a press only
    for n in range(1, N_ANSWERS + 1):
        wait_until(page, f"window.decoded >= {2 * n + 2}", timeout_s=30)
        page.wait_for_timeout(300)
        page.keyboard.press("ArrowLeft")
        wait_until(page, f"window.pauses.length >= {n}", timeout_s=30)
    pauses = np.array(page.evaluate("window.pauses"))
    low, middle, high = np.percentile(pauses, [5, 50, 95])
    print(
        f"\npause between answer and sound, {len(pauses)} answers, clips of {CLIP_S:.0f} s: "
        f"median {middle:.0f} ms, 5-95 % {low:.0f}-{high:.0f} ms, most {pauses.max():.0f} ms"
    )
