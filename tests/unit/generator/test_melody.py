"""The leading pitch class of a recording."""

import numpy as np
import pytest
import torch

from generator.errors import RequestError
from generator.melody import NOTHING_HEARD, chroma_cosine, chromagram, melody_ids

RATE_HZ, FRAMES_HZ = 16000, 25


def tone(key: int, duration_s: float, n_harmonics: int = 4) -> torch.Tensor:
    """Returns a tone with falling harmonics."""
    time = torch.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    hz = 440 * 2 ** ((key - 69) / 12)
    return sum(
        (torch.sin(2 * np.pi * hz * n * time) / n**2 for n in range(1, n_harmonics + 1)),
        torch.zeros_like(time),
    )


@pytest.mark.parametrize("key", range(60, 80))
def test_the_pitch_class_of_a_tone_is_found_in_every_octave(key: int) -> None:
    ids = melody_ids(tone(key, 1.0), RATE_HZ, FRAMES_HZ)
    assert len(ids) == 25
    assert set(ids.tolist()) == {key % 12}


def test_a_tune_is_followed_to_within_a_few_frames() -> None:
    keys = (60, 64, 67, 65)
    ids = melody_ids(torch.cat([tone(key, 1.0) for key in keys]), RATE_HZ, FRAMES_HZ)
    for place, key in enumerate(keys):
        inside = ids[25 * place + 3 : 25 * place + 22]
        assert set(inside.tolist()) == {key % 12}


def test_the_stronger_of_two_voices_leads_and_the_bass_is_not_heard() -> None:
    mixed = tone(72, 1.0) + 0.3 * tone(76, 1.0) + 3 * tone(33, 1.0, n_harmonics=1)
    assert set(melody_ids(mixed, RATE_HZ, FRAMES_HZ).tolist()) == {0}


def test_silence_has_no_pitch() -> None:
    ids = melody_ids(torch.cat([tone(69, 1.0), torch.zeros(RATE_HZ)]), RATE_HZ, FRAMES_HZ)
    assert ids[5] == 9
    assert set(ids[30:].tolist()) == {NOTHING_HEARD}
    assert set(melody_ids(torch.zeros(RATE_HZ), RATE_HZ, FRAMES_HZ).tolist()) == {NOTHING_HEARD}


def test_a_clips_own_frames_are_counted_down() -> None:
    assert chromagram(tone(69, 0.999), RATE_HZ, FRAMES_HZ).shape == (12, 24)


@pytest.mark.parametrize("shape", [(2, 16000), (100,)])
def test_what_is_no_mono_recording_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(RequestError, match="expected"):
        melody_ids(torch.zeros(shape), RATE_HZ, FRAMES_HZ)


def test_a_tune_agrees_with_itself_on_another_instrument_and_not_with_another_tune() -> None:
    keys = (60, 64, 67, 65)
    tune = [torch.cat([tone(key, 0.5, n) for key in keys]) for n in (2, 6)]
    other = torch.cat([tone(key + 1, 0.5, 4) for key in keys])
    chromas = [chromagram(wave, RATE_HZ, FRAMES_HZ) for wave in (*tune, other)]
    assert chroma_cosine(chromas[0], chromas[1]) > 0.8
    assert chroma_cosine(chromas[0], chromas[2]) < 0.3
    assert chroma_cosine(chromas[0], chromas[0][:, :20]) == pytest.approx(1.0)
