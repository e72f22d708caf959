"""The codec's measures answer as they must on waveforms whose answer is known."""

import pytest
import torch

from generator.codec.evaluation import (
    codebook_use,
    mel_distance_db,
    semitone_cosine,
    semitone_energy,
)

RATE_HZ = 16000


def tone(key: int, level: float = 0.2) -> torch.Tensor:
    time_s = torch.arange(2 * RATE_HZ) / RATE_HZ
    return level * torch.sin(2 * torch.pi * 440 * 2 ** ((key - 69) / 12) * time_s)


def test_a_waveform_is_like_itself() -> None:
    assert semitone_cosine(tone(69), tone(69), RATE_HZ) == pytest.approx(1.0, abs=1e-5)
    assert mel_distance_db(tone(69), tone(69), RATE_HZ) == 0.0


def test_a_neighbouring_key_is_heard_as_another() -> None:
    assert semitone_cosine(tone(69), tone(70), RATE_HZ) < 0.3


def test_level_changes_the_mel_distance_and_not_the_cosine() -> None:
    assert semitone_cosine(tone(69), tone(69, 0.1), RATE_HZ) == pytest.approx(1.0, abs=1e-4)
    assert mel_distance_db(tone(69), tone(69, 0.1), RATE_HZ) > 0.1


def test_energy_lies_in_the_row_of_the_key() -> None:
    energy = semitone_energy(tone(72), RATE_HZ)
    assert int(energy.sum(dim=1).argmax()) == 72 - 36


def test_use_counts_entries_and_their_evenness() -> None:
    """Of four entries the first row uses two evenly, the second one alone."""
    even, single = codebook_use(torch.tensor([[0, 1, 0, 1], [3, 3, 3, 3]]), 4)
    assert (even.share_used, single.share_used) == (0.5, 0.25)
    assert even.perplexity == pytest.approx(2.0)
    assert single.perplexity == pytest.approx(1.0)
