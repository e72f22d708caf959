"""The probe hears a lead whatever it plays, on sounds whose answer is known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from generator.errors import RequestError
from generator.timbre import LeadProbe, timbre_features

RATE_HZ = 16000


def tone(key: int, tilt: float, decay: float, seconds: float = 1.0) -> NDArray[np.float32]:
    """Returns a tone whose n-th harmonic is n ** -tilt strong and whose level decays."""
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    hz = 440 * 2 ** ((key - 69) / 12)
    harmonics = range(1, int(7000 / hz) + 1)
    wave = np.sum([n**-tilt * np.sin(2 * np.pi * n * hz * time_s) for n in harmonics], axis=0)
    return (0.1 * wave * np.exp(-decay * time_s)).astype(np.float32)


TIMBRES = {"flute": (3.0, 0.0), "trumpet": (0.7, 0.0), "piano": (1.5, 3.0)}


def test_timbres_are_told_apart_on_keys_that_were_not_learned() -> None:
    learned = [(lead, tone(key, *TIMBRES[lead])) for lead in TIMBRES for key in range(60, 84, 2)]
    probe = LeadProbe.fit([wave for _, wave in learned], [lead for lead, _ in learned])
    for lead, timbre in TIMBRES.items():
        heard = [probe.hear(tone(key, *timbre)) for key in range(61, 84, 2)]
        assert heard.count(lead) >= 11, lead


def test_features_of_silence_are_finite() -> None:
    assert np.isfinite(timbre_features(np.zeros(RATE_HZ, np.float32))).all()


def test_one_kind_of_lead_is_no_choice() -> None:
    with pytest.raises(RequestError, match="at least two leads, got 1 leads of 1 kinds"):
        LeadProbe.fit([tone(60, 1.0, 0.0)], ["piano"])
