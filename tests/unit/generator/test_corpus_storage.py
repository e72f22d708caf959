"""The corpus and its tokens come back from disk as they were written."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from generator.codec.command import tokenise_corpus
from generator.codec.model import Codec, CodecConfig
from generator.corpus.command import draw_clips
from generator.corpus.storage import (
    Corpus,
    create_audio,
    load_corpus,
    load_tokens,
    write_clips,
    write_tokens,
)
from generator.errors import GeneratorError

CLIPS = tuple(draw_clips(6, 0))
TOTAL = sum(clip.n_samples for clip in CLIPS)


def write_noise(folder: Path) -> Corpus:
    audio = create_audio(folder, TOTAL)
    audio[:] = np.random.default_rng(0).integers(-5000, 5000, TOTAL)
    write_clips(folder, CLIPS)
    return load_corpus(folder)


def test_clips_and_samples_come_back(tmp_path: Path) -> None:
    corpus = write_noise(tmp_path)
    assert corpus.clips == CLIPS
    clip = CLIPS[3]
    waveform = corpus.waveform(clip)
    assert waveform.shape == (clip.n_samples,)
    assert waveform[10] == pytest.approx(int(corpus.audio[clip.offset + 10]) / 32767)


def test_clips_lie_end_to_end_in_whole_frames() -> None:
    offset = 0
    for clip in CLIPS:
        assert clip.offset == offset
        assert clip.n_samples % 640 == 0
        assert clip.n_samples == round(16000 * clip.duration_s)
        offset += clip.n_samples


def test_a_clip_is_the_same_in_a_corpus_of_any_size() -> None:
    assert tuple(draw_clips(3, 0)) == CLIPS[:3]
    assert draw_clips(1, 1) != list(CLIPS[:1])


def test_a_corpus_with_missing_or_short_audio_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GeneratorError, match=r"no clips\.json"):
        load_corpus(tmp_path)
    write_noise(tmp_path)
    np.save(tmp_path / "audio.npy", np.zeros(TOTAL - 640, np.int16))
    with pytest.raises(GeneratorError, match=f"expected {TOTAL} samples .* got {TOTAL - 640}"):
        load_corpus(tmp_path)


def test_tokens_come_back_with_each_clip_s_frames(tmp_path: Path) -> None:
    n_frames = TOTAL // 640
    codes = np.arange(4 * n_frames).reshape(4, n_frames).astype(np.int16)
    write_tokens(tmp_path, codes, CLIPS)
    loaded, clips = load_tokens(tmp_path)
    assert np.array_equal(loaded, codes) and loaded.dtype == np.int16
    assert [clip.start for clip in clips] == [clip.offset // 640 for clip in CLIPS]
    assert [clip.attributes for clip in clips] == [clip.attributes for clip in CLIPS]
    assert [clip.captions for clip in clips] == [clip.captions for clip in CLIPS]
    assert clips[-1].start + clips[-1].n_frames == n_frames


def test_codes_of_another_length_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GeneratorError, match=r"expected \d+ frames of codes, got shape \(4, 3\)"):
        write_tokens(tmp_path, np.zeros((4, 3), np.int16), CLIPS)


def test_a_corpus_is_coded_frame_for_frame(tmp_path: Path) -> None:
    config = CodecConfig(width=16, frame_width=16, latent_width=8, n_decoder_blocks=1)
    codec = Codec(config).eval()
    corpus = write_noise(tmp_path)
    codes = tokenise_corpus(codec, corpus.audio)
    assert codes.shape == (4, TOTAL // 640) and codes.dtype == np.int16


def test_a_changed_clip_is_another_clip() -> None:
    assert replace(CLIPS[0], offset=1) != CLIPS[0]
