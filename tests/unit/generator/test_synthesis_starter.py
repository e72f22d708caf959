"""The checkpoint in the repository is whole, small, licensed, and plays what it is asked for."""

from __future__ import annotations

import numpy as np
import pytest

from generator.checkpoints import verify_folder
from generator.command import STARTER
from generator.lm.sampling import SamplingSettings
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
