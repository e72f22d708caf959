"""Rendered clips: length, levels, tone, and what is said when the soundfont is missing."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from generator.corpus.attributes import Attributes
from generator.corpus.command import write_corpus
from generator.corpus.composer import compose
from generator.corpus.rendering import DEFAULT_SOUNDFONT, Renderer
from generator.corpus.storage import load_corpus
from generator.errors import GeneratorError
from generator.measures import measure_clip

EXAMPLE = Attributes("folk", "fast", "major", "flute", "neutral", "dense", "none", 12, 60, False)
needs_soundfont = pytest.mark.skipif(
    not DEFAULT_SOUNDFONT.is_file(),
    reason="needs Debian's fluid-soundfont-gm and tinysoundfont",
)


def test_a_missing_soundfont_is_named_with_the_package_that_has_it(tmp_path: Path) -> None:
    with pytest.raises(GeneratorError, match=r"nothing\.sf2.*fluid-soundfont-gm"):
        Renderer(tmp_path / "nothing.sf2")


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    pytest.importorskip("tinysoundfont")
    return Renderer()


@needs_soundfont
def test_a_clip_has_640_samples_a_frame_and_neither_clips_nor_stays_silent(
    renderer: Renderer,
) -> None:
    waveform = renderer.render(compose(EXAMPLE, 5.0, random.Random(0)), EXAMPLE)
    assert waveform.shape == (80000,) and waveform.dtype == np.float32
    assert np.abs(waveform).max() < 1.0
    assert 0.03 < float(np.sqrt((waveform**2).mean())) < 0.3


@needs_soundfont
def test_bright_is_brighter_than_mellow(renderer: Renderer) -> None:
    score = compose(EXAMPLE, 5.0, random.Random(0))
    centroids = [
        measure_clip(renderer.render(score, replace(EXAMPLE, tone=tone)), 16000).centroid_hz
        for tone in ("mellow", "neutral", "bright")
    ]
    assert centroids == sorted(centroids)
    assert centroids[2] > 1.5 * centroids[0]


@needs_soundfont
def test_a_clip_does_not_depend_on_what_was_rendered_before(renderer: Renderer) -> None:
    score = compose(EXAMPLE, 5.0, random.Random(0))
    first = renderer.render(score, EXAMPLE)
    other = replace(EXAMPLE, lead="organ", drums="driving")
    renderer.render(compose(other, 6.0, random.Random(1)), other)
    again = renderer.render(score, EXAMPLE)
    assert float(np.abs(first - again).max()) < 0.02


@needs_soundfont
def test_the_lead_keeps_its_level_however_much_else_plays(renderer: Renderer) -> None:
    sparse = replace(EXAMPLE, density="sparse")
    loudness = [
        float(np.sqrt((renderer.render(compose(a, 8.0, random.Random(2)), a) ** 2).mean()))
        for a in (sparse, EXAMPLE)
    ]
    assert 0.5 < loudness[0] / loudness[1] < 2.0


@needs_soundfont
def test_a_corpus_is_written_whole(tmp_path: Path) -> None:
    pytest.importorskip("tinysoundfont")
    write_corpus(tmp_path, 2, 5, DEFAULT_SOUNDFONT)
    corpus = load_corpus(tmp_path)
    assert len(corpus.clips) == 2
    assert all(np.abs(corpus.waveform(clip)).max() > 0.05 for clip in corpus)


@needs_soundfont
def test_held_out_timbres_play_the_same_notes_on_other_instruments(tmp_path: Path) -> None:
    pytest.importorskip("tinysoundfont")
    for name, held_out in (("usual", False), ("other", True)):
        write_corpus(tmp_path / name, 2, 5, DEFAULT_SOUNDFONT, held_out_timbres=held_out)
    usual, other = load_corpus(tmp_path / "usual"), load_corpus(tmp_path / "other")
    assert usual.clips == other.clips
    for clip in usual:
        assert not np.allclose(usual.waveform(clip), other.waveform(clip), atol=0.02)
