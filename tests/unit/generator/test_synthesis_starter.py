"""The checkpoint in the repository is whole, small, licensed, and plays what it is asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from generator.checkpoints import verify_folder
from generator.command import STARTER
from generator.lm.sampling import SamplingSettings, sample_codes
from generator.measures import measure_clip
from generator.requests import ClipRequest
from generator.synthesis import Generator, load_generator

MOST_BYTES = 25_000_000


@pytest.fixture(scope="module")
def starter() -> Generator:
    return load_generator(STARTER)


def test_the_folder_is_whole_small_and_says_how_it_was_made() -> None:
    card = verify_folder(STARTER)
    assert (card.kind, card.licence, card.parent) == ("full", "Apache-2.0", None)
    assert any("finetune" in command for command in card.recipe["commands"])
    assert sum(path.stat().st_size for path in STARTER.iterdir()) <= MOST_BYTES


def test_bright_clips_are_brighter_than_mellow_ones(starter: Generator) -> None:
    prompts = ["bright piano tune"] * 3 + ["mellow piano tune"] * 3
    requests = [ClipRequest(prompt, 4.0, seed) for seed, prompt in enumerate(prompts)]
    clips = starter.generate(requests, SamplingSettings())
    measures = [measure_clip(clip.waveform, clip.sample_rate_hz) for clip in clips]
    centroids = [measure.centroid_hz for measure in measures]
    assert np.mean(centroids[:3]) > np.mean(centroids[3:])
    for measure in measures:
        assert measure.silent_share < 0.2
        assert measure.clipped_share < 0.001
        assert abs(measure.sounding_s - 4.0) < 1.0


def test_windows_begin_and_end_where_their_piece_does(starter: Generator) -> None:
    """Windows of 4 s: the last of 12 s dies away, the first starts with an attack."""
    plan = starter.plan("a waltz")
    texts = torch.tensor([starter.reader.header(plan, seed) for seed in range(0, 16, 2)])

    def edges_db(start_s: float) -> tuple[float, float]:
        seconds = torch.tensor([[start_s, 12.0]]).repeat(len(texts), 1)
        seeds = list(range(len(texts)))
        codes = sample_codes(starter.core, texts, seconds, 100, starter.sampling, seeds)
        waveforms = starter.decode(codes)
        edge = round(0.3 * starter.codec.config.sample_rate_hz)
        whole = level_db(waveforms)
        first, last = level_db(waveforms[:, :edge]), level_db(waveforms[:, -edge:])
        return float((first - whole).mean()), float((last - whole).mean())

    first_of_start, last_of_start = edges_db(0.0)
    first_of_end, last_of_end = edges_db(8.0)
    assert last_of_end < last_of_start - 3.0
    assert first_of_start > first_of_end


def level_db(waveforms: NDArray[np.float32]) -> NDArray[np.float64]:
    """Returns the level of each of waveforms [B, N] in decibels."""
    power = np.square(waveforms.astype(np.float64)).mean(axis=1)
    return np.asarray(10.0 * np.log10(power + 1e-9))
