"""The sound path, rendered sample by sample from the very module that the page plays with."""

import math
from typing import Any

import pytest
from playwright.sync_api import Page
from pytest_django.live_server_helper import LiveServer

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

RATE_HZ = 48_000
RAMP_S = 0.005
# The largest step per sample of a raised cosine from 0 to 1, with room for its 128 points.
STEEPEST = math.pi / 2 / (RAMP_S * RATE_HZ) * 1.05

RENDER = """async ({make, play, duration_s}) => {
  const {SwitchGraph} = await import("/static/rating_ui/graph.js");
  const rate = 48000;
  const context = new OfflineAudioContext(1, rate * duration_s, rate);
  const wave = {
    level: (value) => () => value,
    tone: (hz) => (t) => 0.5 * Math.sin(2 * Math.PI * hz * t),
    time: (scale) => (t) => t * scale,
  };
  const buffers = make.map(([kind, value, seconds]) => {
    const buffer = context.createBuffer(1, rate * seconds, rate);
    const samples = buffer.getChannelData(0);
    for (let i = 0; i < samples.length; i += 1) samples[i] = wave[kind](value)(i / rate);
    return buffer;
  });
  const graph = new SwitchGraph(context, {
    A: {buffer: buffers[0], gain_db: -6},
    B: {buffer: buffers[1], gain_db: -3},
  });
  for (const [method, ...args] of play) {
    if (method === "cut") graph.faders.A.node.gain.setValueAtTime(0, args[0]);
    else graph[method](...args);
  }
  const samples = (await context.startRendering()).getChannelData(0);
  let steepest = 0;
  let at_s = 0;
  for (let i = 1; i < samples.length; i += 1) {
    const step = Math.abs(samples[i] - samples[i - 1]);
    if (step > steepest) [steepest, at_s] = [step, i / rate];
  }
  const every = Math.round(rate / 100);
  return {steepest, at_s, values: Array.from(samples).filter((_, i) => i % every === 0)};
}"""

GAIN_A = 10 ** (-6 / 20)
GAIN_B = 10 ** (-3 / 20)


@pytest.fixture
def render(page: Page, live_server: LiveServer) -> Any:
    """Plays steps through the page's graph; answers with the steepest step and 100 values/s."""
    page.goto(live_server.url)

    def play(make: list[Any], steps: list[Any], duration_s: float = 2.0) -> dict[str, Any]:
        found: dict[str, Any] = page.evaluate(
            RENDER, {"make": make, "play": steps, "duration_s": duration_s}
        )
        return found

    return play


def test_switching_between_opposite_levels_has_no_step_above_the_ramps_slope(render: Any) -> None:
    found = render(
        [["level", 0.8, 4], ["level", -0.8, 4]],
        [
            ["start", 0, 0.1],
            ["listenTo", "B", 0.5],
            ["listenTo", "A", 0.7],
            ["listenTo", "B", 0.702],  # before the ramp before it has ended
            ["listenTo", "A", 0.703],
            ["start", 1.5, 1.0],  # a seek
            ["listenTo", "B", 1.3],
            ["stop", 1.6],
        ],
    )
    swing = 0.8 * (GAIN_A + GAIN_B)
    assert 0 < found["steepest"] <= swing * STEEPEST, found["at_s"]
    assert found["values"][30] == pytest.approx(0.8 * GAIN_A, rel=1e-3)
    assert found["values"][60] == pytest.approx(-0.8 * GAIN_B, rel=1e-3)
    assert found["values"][80] == pytest.approx(0.8 * GAIN_A, rel=1e-3)
    assert found["values"][170] == 0.0


def test_the_same_measure_finds_a_hard_cut(render: Any) -> None:
    found = render([["level", 0.8, 4], ["level", -0.8, 4]], [["start", 0, 0.1], ["cut", 0.5]])
    assert found["steepest"] > 0.8 * GAIN_A * 0.9
    assert found["steepest"] > 0.8 * (GAIN_A + GAIN_B) * STEEPEST


def test_both_clips_run_on_one_clock(render: Any) -> None:
    """Each sample is its own time: after a switch at 1.0 s, B is where A would have been."""
    found = render(
        [["time", 0.1, 4], ["time", 0.1, 4]], [["start", 0, 0.0], ["listenTo", "B", 1.0]]
    )
    assert found["values"][90] == pytest.approx(0.09 * GAIN_A, rel=1e-3)
    assert found["values"][150] == pytest.approx(0.15 * GAIN_B, rel=1e-3)


def test_a_seek_lands_where_it_was_asked_to(render: Any) -> None:
    found = render([["time", 0.1, 4], ["time", 0.1, 4]], [["start", 0, 0.0], ["start", 3.0, 1.0]])
    # the fade-out before it takes a ramp and a millisecond
    assert found["values"][150] == pytest.approx((0.3 + 0.05 - 0.0006) * GAIN_A, rel=1e-3)


def test_a_loop_wraps_without_a_click_and_at_its_length(render: Any) -> None:
    loop = {"start_s": 1.0, "end_s": 1.5}
    found = render([["level", 0.8, 4], ["level", 0.1, 4]], [["start", 1.2, 0.1, loop]], 3.0)
    assert found["steepest"] <= 0.8 * GAIN_A * STEEPEST, found["at_s"]
    quiet = [i for i, value in enumerate(found["values"]) if i > 10 and abs(value) < 0.01]
    assert quiet == [40, 90, 140, 190, 240, 290]


def test_a_clip_that_stops_abruptly_ends_softly(render: Any) -> None:
    found = render([["level", 0.8, 1], ["level", 0.8, 1]], [["start", 0, 0.1]])
    assert found["steepest"] <= 0.8 * GAIN_A * STEEPEST, found["at_s"]
    assert found["values"][130] == 0.0
