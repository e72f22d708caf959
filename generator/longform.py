"""Long form: pieces longer than what a core was trained on, in windows that overlap.

The end of a window's codes is the given beginning of the next one (MusicGen, Copet et al. 2023,
appendix, arXiv:2306.05284: windows of 30 s every 18 s), so that nothing is blended and no code
changes at a seam. In story mode (MusicLM, Agostinelli et al. 2023, section 5.3, arXiv:2301.11325)
the text changes at given times, and a window ends where it does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from generator.lm.core import Core
from generator.lm.metre import BARS_PER_PHRASE
from generator.lm.sampling import SamplingSettings, StepCallback, sample_codes
from generator.lm.starter import StarterCore
from generator.lm.timing import SECONDS_PER_BIN

PRETRAINED_S = 30.0
"""What cores of other families than ours were trained on."""
OVERLAP_SHARE = 0.4
WINDOW_SHARE = 0.7
"""Of the length trained on: the rest is where pieces come to their end."""


@dataclass(frozen=True)
class Text:
    """What a core reads in one section: text ids and mask [B, L]."""

    ids: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Window:
    """A stretch of frames that is sampled at once, of which the first n_known are given."""

    first_frame: int
    n_known: int
    n_frames: int
    section: int
    told_frame: int
    """Where the core is told that the window starts: at the same place of its metre."""

    @property
    def end(self) -> int:
        """The frame after its last one."""
        return self.first_frame + self.n_frames


@dataclass(frozen=True)
class Metre:
    """After how many frames a core's metre comes round, counted from `origin`."""

    period: int
    origin: int = 0

    def place(self, frame: int) -> int:
        """Returns where in the metre a frame lies."""
        return (frame - self.origin) % self.period


def trained_frames(core: Core) -> int:
    """Returns the length of the longest pieces that a core was trained on."""
    longest_s = core.config.longest_s if isinstance(core, StarterCore) else PRETRAINED_S
    return round(longest_s * core.frame_rate_hz)


def metre_period(core: Core, text: Text) -> int:
    """Returns after how many frames what a core is told of the metre repeats, 1 if nothing is."""
    if not isinstance(core, StarterCore) or core.metre is None:
        return 1
    per_beat, per_bar = (int(value) for value in core.metre.told(text.ids[:1])[0])
    if not per_beat:
        return 1
    return per_beat * (per_bar * BARS_PER_PHRASE if per_bar else 1)


def section_metres(core: Core, texts: Sequence[Text], starts: Sequence[int]) -> list[Metre]:
    """Returns the metre of each section; where it changes it begins anew."""
    metres: list[Metre] = []
    for text, start in zip(texts, starts, strict=True):
        period = metre_period(core, text)
        goes_on = bool(metres) and metres[-1].period == period
        metres.append(Metre(period, metres[-1].origin if goes_on else start))
    return metres


def plan_windows(
    n_frames: int,
    starts: Sequence[int],
    metres: Sequence[Metre],
    *,
    longest: int,
    step: int,
) -> list[Window]:
    """Returns the windows of a piece of n_frames frames whose sections start at `starts`.

    longest: frames the core was trained on; step: windows start at places of the metre that are
    multiples of it. A piece that is not longer and has one section is a single window.
    """
    windows: list[Window] = []
    end = 0
    while end < n_frames:
        section = max(i for i, start in enumerate(starts) if start <= end)
        first = max(0, end - round(OVERLAP_SHARE * longest))
        while first and metres[section].place(first) % step:
            first -= 1
        last = n_frames if n_frames - first <= longest else first + round(WINDOW_SHARE * longest)
        stop = min([last, *(start for start in starts if start > end)])
        windows.append(
            Window(first, end - first, stop - first, section, metres[section].place(first))
        )
        end = stop
    return windows


def windows_of(
    core: Core, texts: Sequence[Text], starts: Sequence[int], n_frames: int
) -> list[Window]:
    """Returns the windows in which a core makes a piece."""
    return plan_windows(
        n_frames,
        starts,
        section_metres(core, texts, starts),
        longest=trained_frames(core),
        step=round(SECONDS_PER_BIN * core.frame_rate_hz),
    )


def window_seed(seed: int, number: int) -> int:
    """Returns the seed of a window: the piece's own for the first, as that of a clip would be."""
    if number == 0:
        return seed
    digest = hashlib.sha256(f"{seed}:{number}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def told_seconds(window: Window, n_frames: int, longest: int, frame_rate_hz: int) -> Tensor:
    """Returns start and total [2] as a core is told them for a window of n_frames frames in all.

    What remains is true as far as a core was trained to count it; more than that is told as the
    most. The start is the window's place in the metre, since no later one was trained on.
    """
    remaining = min(n_frames - window.first_frame, longest)
    frames = [window.told_frame, window.told_frame + remaining]
    return torch.tensor(frames, dtype=torch.float32) / frame_rate_hz


def sample_windows(  # noqa: PLR0917 - the order in which a piece is described
    core: Core,
    texts: Sequence[Text],
    starts: Sequence[int],
    n_frames: int,
    settings: SamplingSettings,
    seeds: Sequence[int],
    *,
    on_step: StepCallback | None = None,
) -> Iterator[Tensor]:
    """Yields the new codes [B, K, t] of each window; together they are pieces of n_frames frames.

    texts: what the sections that start at frames `starts` tell, one row a piece. Only the overlap
    is kept between windows. on_step counts over all windows.
    """
    longest = trained_frames(core)
    windows = windows_of(core, texts, starts, n_frames)
    most_known = max(window.n_known for window in windows)
    recent: Tensor | None = None
    for number, window in enumerate(windows):
        text = texts[window.section]
        told = told_seconds(window, n_frames, longest, core.frame_rate_hz).to(text.ids.device)

        def count(done: int, _: int, window: Window = window) -> None:
            if on_step is not None:
                on_step(min(window.first_frame + done, window.end), n_frames)

        codes = sample_codes(
            core,
            text.ids,
            told.expand(len(seeds), 2),
            window.n_frames,
            settings,
            [window_seed(seed, number) for seed in seeds],
            text_mask=text.mask,
            prefix=None if recent is None else recent[:, :, recent.shape[2] - window.n_known :],
            on_step=count,
        )
        yield codes[:, :, window.n_known :]
        recent = codes[:, :, max(0, window.n_frames - most_known) :]
