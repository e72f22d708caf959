"""Pieces of any length: windows that fit together, codes kept at seams, texts that change."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from generator.__main__ import main
from generator.errors import RequestError
from generator.lm.sampling import SamplingSettings, sample_codes
from generator.lm.starter import StarterCore
from generator.lm.timing import remaining_bins
from generator.longform import (
    Metre,
    Text,
    Window,
    metre_period,
    plan_windows,
    sample_windows,
    section_metres,
    told_seconds,
    trained_frames,
    window_seed,
)
from generator.requests import ClipRequest
from generator.stories import (
    PieceBlock,
    PieceRequest,
    Section,
    generate_piece,
    parse_story,
    plan_piece,
    section_headers,
)
from generator.synthesis import Generator, load_generator
from generator.text.header import EMPTY_HEADER, decode_header, encode_header
from tests.tiny import TINY_CORE, tiny_core, write_tiny_checkpoint
from tests.tiny_musicgen import write_tiny_musicgen

SETTINGS = SamplingSettings(guidance=2.0)
SLOW_WALTZ = encode_header({"style": "waltz", "frames_per_beat": 22})
FAST_DANCE = encode_header({"style": "dance", "frames_per_beat": 10})


@pytest.fixture(scope="module")
def core() -> StarterCore:
    """A core that is trained, as it were, on pieces of two seconds."""
    return tiny_core(config=replace(TINY_CORE, longest_s=2.0, attention_window=32))


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Generator:
    return load_generator(write_tiny_checkpoint(tmp_path_factory.mktemp("tiny")))


def text(header: Any, n_clips: int = 1) -> Text:
    ids = torch.tensor([header] * n_clips)
    return Text(ids, torch.ones_like(ids))


def joined(core: StarterCore, n_frames: int, seeds: list[int], **changes: Any) -> torch.Tensor:
    texts = changes.pop("texts", [text(SLOW_WALTZ, len(seeds))])
    starts = changes.pop("starts", [0])
    windows = sample_windows(core, texts, starts, n_frames, SETTINGS, seeds, **changes)
    return torch.cat(list(windows), dim=2)


def test_windows_can_be_laid_by_hand() -> None:
    # Of 10 frames trained on 4 are given again and 3 are new; the last window has all the rest.
    plain = plan_windows(24, [0], [Metre(1)], longest=10, step=1)
    assert [(w.first_frame, w.n_known, w.end) for w in plain] == [
        (0, 0, 7),
        (3, 4, 10),
        (6, 4, 13),
        (9, 4, 16),
        (12, 4, 19),
        (15, 4, 24),
    ]
    # The text changes at frame 9, so a window ends there.
    story = plan_windows(20, [0, 9], [Metre(1), Metre(1)], longest=10, step=1)
    assert [(w.first_frame, w.end, w.section) for w in story] == [
        (0, 7, 0),
        (3, 9, 0),
        (5, 12, 1),
        (8, 15, 1),
        (11, 20, 1),
    ]


@pytest.mark.parametrize("seed", range(6))
def test_windows_tile_a_piece_and_start_where_the_metre_is_told_to_the_frame(seed: int) -> None:
    rng = np.random.default_rng(seed)
    longest, step = int(rng.integers(50, 400)), 5
    n_frames = int(rng.integers(longest, 12 * longest))
    starts = [0, *sorted(rng.choice(np.arange(30, n_frames - 30, 30), 3, replace=False).tolist())]
    metres = [Metre(int(rng.integers(1, 420))) for _ in starts]
    windows = plan_windows(n_frames, starts, metres, longest=longest, step=step)
    assert windows[0].first_frame == windows[0].n_known == 0
    assert windows[-1].end == n_frames
    for before, window in pairwise(windows):
        assert window.first_frame + window.n_known == before.end
        assert window.n_known >= min(before.end, round(0.4 * longest))
    for window in windows:
        assert window.n_known < window.n_frames <= longest
        new = range(window.first_frame + window.n_known, window.end)
        assert {max(i for i, s in enumerate(starts) if s <= frame) for frame in new} == {
            window.section
        }
        assert window.told_frame % step == 0 or window.first_frame == 0
        assert (window.first_frame - window.told_frame) % metres[window.section].period == 0


def test_the_end_is_told_only_at_the_end() -> None:
    windows = plan_windows(1500, [0], [Metre(1)], longest=350, step=5)
    assert len(windows) > 5
    told = []
    for window in windows:
        seconds = told_seconds(window, 1500, 350, 25)[None]
        frames = torch.arange(window.n_known, window.n_frames)
        told += remaining_bins(seconds, frames, 25, 14.0)[0].tolist()
    truth = [(1500 - frame) / 25 for frame in range(1500)]
    assert len(told) == 1500
    for bin_told, remaining_s in zip(told, truth, strict=True):
        # Told to the bin once fewer seconds remain than a window's last; never less than 4 before.
        if remaining_s > 14.0:
            assert 0.2 * bin_told >= 4.0
        elif remaining_s < 4.0:
            assert abs(0.2 * bin_told - remaining_s) <= 0.21
    assert told[-1] == 1


def test_the_metre_comes_round_after_a_phrase_or_a_beat(core: StarterCore) -> None:
    assert metre_period(core, text(SLOW_WALTZ)) == 22 * 3 * 4
    assert metre_period(core, text(encode_header({"frames_per_beat": 22}))) == 22
    assert metre_period(core, text(EMPTY_HEADER)) == 1
    deaf = tiny_core(config=replace(TINY_CORE, beat_ids=(), bar_ids=()))
    assert metre_period(deaf, text(SLOW_WALTZ)) == 1
    texts = [text(SLOW_WALTZ), text(SLOW_WALTZ), text(FAST_DANCE)]
    assert section_metres(core, texts, [0, 50, 90]) == [Metre(264), Metre(264), Metre(160, 90)]


def test_what_a_core_hears_of_the_metre_does_not_jump_at_a_seam(core: StarterCore) -> None:
    ids = torch.tensor([SLOW_WALTZ])
    whole = core.metre(core.metre.told(ids), torch.arange(600)[None])  # type: ignore[misc,union-attr]
    metres = section_metres(core, [text(SLOW_WALTZ)], [0])
    for window in plan_windows(600, [0], metres, longest=trained_frames(core), step=5):
        seconds = told_seconds(window, 600, trained_frames(core), 25)
        start = torch.round(seconds[:1] * 25).long()
        heard = core.metre(core.metre.told(ids), start[None] + torch.arange(window.n_frames)[None])  # type: ignore[misc,union-attr]
        assert torch.equal(heard, whole[:, window.first_frame : window.end])


def test_every_window_goes_on_from_the_codes_of_the_one_before(core: StarterCore) -> None:
    piece = joined(core, 160, [7])
    assert piece.shape == (1, 2, 160)
    metres = section_metres(core, [text(SLOW_WALTZ)], [0])
    windows = plan_windows(160, [0], metres, longest=50, step=5)
    assert len(windows) > 5
    for number, window in enumerate(windows):
        known = piece[:, :, window.first_frame : window.first_frame + window.n_known]
        alone = sample_codes(
            core,
            torch.tensor([SLOW_WALTZ]),
            told_seconds(window, 160, 50, 25)[None],
            window.n_frames,
            SETTINGS,
            [window_seed(7, number)],
            prefix=known,
        )
        assert torch.equal(alone, piece[:, :, window.first_frame : window.end])


def test_a_seed_gives_one_piece_in_any_batch(core: StarterCore) -> None:
    pair = joined(core, 120, [3, 4])
    assert torch.equal(joined(core, 120, [4])[0], pair[1])
    assert not torch.equal(pair[0], pair[1])
    assert len({window_seed(3, number) for number in range(50)}) == 50


def test_the_text_of_a_section_is_heard_from_its_start_on(core: StarterCore) -> None:
    changed = joined(core, 120, [3], texts=[text(SLOW_WALTZ), text(FAST_DANCE)], starts=[0, 60])
    same = joined(core, 120, [3], texts=[text(SLOW_WALTZ), text(SLOW_WALTZ)], starts=[0, 60])
    assert torch.equal(changed[:, :, :60], same[:, :, :60])
    assert not torch.equal(changed[:, :, 60:], same[:, :, 60:])


def test_steps_and_memory_of_a_window_do_not_grow_with_the_piece(
    core: StarterCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    sizes: list[int] = []
    new_cache = core.new_cache

    def watched(batch_size: int, n_steps: int) -> Any:
        sizes.append(n_steps)
        return new_cache(batch_size, n_steps)

    monkeypatch.setattr(core, "new_cache", watched)
    joined(core, 500, [0], on_step=lambda done, _: taken.append(done))
    assert len(sizes) > 20 and max(sizes) <= 51
    # One step a new frame and, in each window, one more for the codebook that runs late.
    assert len(taken) == 500 + len(sizes)
    assert taken == sorted(taken)
    assert taken[-1] == 500


def sound(blocks: list[PieceBlock]) -> np.ndarray:
    return np.concatenate([b.waveform for b in blocks if b.waveform is not None], axis=-1)


PROMPT = "a slow ballad on piano in a minor key"


def test_a_short_piece_is_the_clip_of_the_same_seed(generator: Generator) -> None:
    request = PieceRequest((Section(0, PROMPT),), 2.0, 11)
    blocks = list(generate_piece(generator, request, SETTINGS))
    (clip,) = generator.generate([ClipRequest(PROMPT, 2.0, 11)], SETTINGS)
    assert np.array_equal(np.concatenate([b.codes for b in blocks], axis=1), clip.codes)
    waveform = sound(blocks)
    assert np.abs(waveform - clip.waveform).max() < 1e-3


def test_the_sound_of_a_long_piece_is_its_decoded_codes(generator: Generator) -> None:
    shares: list[float] = []
    request = PieceRequest((Section(0, PROMPT), Section(9, "fast dance music")), 24.0, 5)
    blocks = list(generate_piece(generator, request, SETTINGS, shares.append))
    assert len(blocks) > 3
    codes = np.concatenate([block.codes for block in blocks], axis=1)
    waveform = sound(blocks)
    assert (codes.shape, waveform.shape) == ((2, 600), (600 * 640,))
    assert float(np.abs(waveform - generator.decode(codes[None])[0]).mean()) < 1e-3
    assert shares == sorted(shares) and shares[-1] == 1.0


def test_a_section_keeps_what_its_prompt_leaves_open() -> None:
    told = [
        encode_header({"style": "waltz", "lead": "piano", "tempo": "slow"}),
        encode_header({"drums": "driving"}),
        encode_header({"lead": "organ", "tempo": "fast"}),
    ]
    first, second, third = (decode_header(header) for header in section_headers(told, seed=4))
    assert second == first | {"drums": "driving"}
    assert third["root"] == first["root"]
    assert (third["style"], third["lead"], third["drums"]) == ("waltz", "organ", "driving")
    assert third["tempo"] == "fast" and third["frames_per_beat"] in (10, 12)
    assert first["frames_per_beat"] in (22, 26)


def test_a_plan_reports_the_unknown_words_of_all_sections(generator: Generator) -> None:
    sections = (Section(0, "a zorgly ballad"), Section(5, "blimpy and zorgly drums"))
    plan = plan_piece(generator, PieceRequest(sections, 10.0, 0))
    assert len(plan.headers) == 2
    assert list(plan.unknown_words) == ["zorgly", "blimpy"]


def test_a_story_is_read_from_text() -> None:
    assert parse_story("0: slow piano; 20: add drums: loud ;40.5:organ;") == (
        Section(0.0, "slow piano"),
        Section(20.0, "add drums: loud"),
        Section(40.5, "organ"),
    )


@pytest.mark.parametrize(
    ("story", "said"),
    [
        ("", "a story is"),
        (" ; ", "a story is"),
        ("slow piano", "got 'slow piano'"),
        ("0: piano; soon: drums", "got 'soon: drums'"),
        ("0: piano; 5:", "not all blank"),
        ("nan: piano", "a section starts at 0 s or later, got nan"),
        ("-1: piano", "got -1.0"),
        ("3: piano", "the first section starts at 0 s, got 3 s"),
        ("0: piano; 5: drums; 4: organ", "at least 1 s, got -1 s from 5 s on"),
        ("0: piano; 0.5: drums", "got 0.5 s from 0 s on"),
        ("0: piano; 60: drums", "got 0 s from 60 s on in a piece of 60 s"),
        (";".join(f"{i}: piano" for i in range(65)), "1 to 64 sections, got 65"),
    ],
)
def test_stories_that_cannot_be_told_are_refused(story: str, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        PieceRequest(parse_story(story), 60.0, 0)


@pytest.mark.parametrize("duration_s", [0.5, 600.1, 36000.0, float("nan"), "60", True])
def test_pieces_last_from_a_second_to_ten_minutes(duration_s: Any) -> None:
    with pytest.raises(RequestError, match="duration_s is 1 to 600 seconds, got"):
        PieceRequest((Section(0, "piano"),), duration_s, 0)
    PieceRequest((Section(0, "piano"),), 600.0, 0)


def test_windows_are_told_apart_by_their_places() -> None:
    assert Window(30, 20, 35, 0, 10).end == 65


def test_generate_writes_long_pieces_and_stories(tmp_path: Path) -> None:
    checkpoint = ["--checkpoint", str(write_tiny_checkpoint(tmp_path / "tiny"))]
    out = ["--out", str(tmp_path), "--guidance", "1"]
    assert main(["generate", "slow piano", "--seconds", "33", *out, *checkpoint]) == 0
    samples, rate_hz = soundfile.read(tmp_path / "clip-0.wav")
    assert (len(samples), rate_hz) == (33 * 16000, 16000)
    story = ["--story", "0: slow piano; 3: add drums", "--seconds", "6", "--seed", "9"]
    assert main(["generate", *story, *out, *checkpoint]) == 0
    samples, _ = soundfile.read(tmp_path / "clip-9.wav")
    assert len(samples) == 6 * 16000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--story", "0: piano", "--seconds", "601"], "1 to 600 seconds, got 601.0"),
        (["--story", "0: piano; 9: drums", "--seconds", "9"], "at least 1 s"),
        (["piano", "--story", "0: piano"], "a prompt or a story"),
        ([], "a prompt or a story"),
    ],
)
def test_bad_stories_are_one_line_and_a_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    checkpoint = ["--checkpoint", str(write_tiny_checkpoint(tmp_path / "tiny"))]
    out = tmp_path / "out"
    out.mkdir()
    assert main(["generate", *arguments, "--out", str(out), *checkpoint]) == 1
    assert said in capsys.readouterr().err.strip().splitlines()[-1]
    assert list(out.iterdir()) == []


def test_pretrained_musicgen_goes_on_beyond_its_thirty_seconds(tmp_path: Path) -> None:
    folder = write_tiny_musicgen(tmp_path / "musicgen", is_stereo=True)
    generator = load_generator(folder)
    sections = (Section(0, "slow ballad"), Section(8, "fast dance"))
    request = PieceRequest(sections, 33.0, 3)
    blocks = list(generate_piece(generator, request, SamplingSettings(guidance=1.0)))
    codes = np.concatenate([block.codes for block in blocks], axis=1)
    assert codes.shape == (8, 33 * 50)
    waveform = sound(blocks)
    assert waveform.shape == (2, 33 * 3200)
    whole = generator.decode(codes[None])[0]
    assert np.abs(whole).mean() > 0.01
    assert np.abs(waveform - whole).max() < 1e-3
