"""The headphone check's sounds hold what they should, and nothing that gives the answer away."""

import io
import wave

import numpy as np
import pyloudnorm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from attune.raters.device_check import N_TRIALS, count_right, right_interval, trial_sound
from attune.raters.models import DeviceCheckKind
from attune.raters.practice_sounds import (
    TUNES,
    outline,
    practice_sounds,
    volume_noise,
)
from attune.raters.stimuli import (
    INTERVAL_S,
    PITCH_GAP_S,
    SAMPLE_RATE_HZ,
    TONE_GAP_S,
    antiphase_trial,
    huggins_trial,
)
from attune.raters.wav import wav_bytes

LEVEL_DBFS = -23.0
N_INTERVAL = round(INTERVAL_S * SAMPLE_RATE_HZ)
MIDDLE = slice(N_INTERVAL // 8, -N_INTERVAL // 8)


def loudness_lufs(waveform: NDArray[np.float64]) -> float:
    """Integrated loudness by ITU-R BS.1770."""
    return float(pyloudnorm.Meter(SAMPLE_RATE_HZ).integrated_loudness(waveform))


def intervals(sound: NDArray[np.float64], gap_s: float) -> list[NDArray[np.float64]]:
    """The three intervals of a trial, [2, N] each; what lies between must be silence."""
    n_gap = round(gap_s * SAMPLE_RATE_HZ)
    parts = []
    for number in range(3):
        first = number * (N_INTERVAL + n_gap)
        parts.append(sound[:, first : first + N_INTERVAL])
        between = sound[:, first + N_INTERVAL : first + N_INTERVAL + n_gap]
        assert not between.any()
    return parts


def level_dbfs(samples: NDArray[np.float64]) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(samples**2))))


def interaural(part: NDArray[np.float64], low_hz: float, high_hz: float) -> float:
    """Correlation of both ears within a band, -1 to 1: the cosine of the phase between them."""
    spectra = np.fft.rfft(part[:, MIDDLE] * np.hanning(part[:, MIDDLE].shape[1]))
    frequency_hz = np.fft.rfftfreq(part[:, MIDDLE].shape[1], 1 / SAMPLE_RATE_HZ)
    left, right = spectra[:, (frequency_hz >= low_hz) & (frequency_hz <= high_hz)]
    cross = np.sum(left * np.conj(right)).real
    return float(cross / np.sqrt(np.sum(np.abs(left) ** 2) * np.sum(np.abs(right) ** 2)))


@pytest.mark.parametrize("answer", [0, 1, 2])
def test_one_burst_alone_is_turned_in_the_band_of_the_pitch_and_nowhere_else(answer: int) -> None:
    parts = intervals(huggins_trial(answer, np.random.default_rng(7)), PITCH_GAP_S)
    for number, part in enumerate(parts):
        if number != answer:
            assert np.array_equal(part[0], part[1])
            continue
        assert interaural(part, 570, 630) < -0.99
        for low_hz, high_hz in ((50, 550), (650, 1000), (1000, 3000), (3000, 7900)):
            assert interaural(part, low_hz, high_hz) > 0.99


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), answer=st.integers(0, 2))
def test_no_ear_and_no_level_gives_the_burst_with_the_pitch_away(seed: int, answer: int) -> None:
    parts = intervals(huggins_trial(answer, np.random.default_rng(seed)), PITCH_GAP_S)
    assert [level_dbfs(part) for part in parts] == pytest.approx([LEVEL_DBFS] * 3, abs=1e-9)
    for part in parts:
        for ear in part:
            assert level_dbfs(ear) == pytest.approx(LEVEL_DBFS, abs=0.05)


def test_each_ear_by_itself_hears_plain_noise_at_the_pitch() -> None:
    """Over 200 bursts, the band of the pitch is as loud as its neighbours in both ears."""
    rng = np.random.default_rng(3)
    frequency_hz = np.fft.rfftfreq(N_INTERVAL, 1 / SAMPLE_RATE_HZ)
    power = np.zeros((2, len(frequency_hz)))
    for _ in range(200):
        part = intervals(huggins_trial(0, rng), PITCH_GAP_S)[0]
        power += np.abs(np.fft.rfft(part)) ** 2
    for ear in power:
        in_band = ear[(frequency_hz > 564) & (frequency_hz < 636)].mean()
        beside = ear[(frequency_hz > 400) & (frequency_hz < 800)].mean()
        assert 10 * np.log10(in_band / beside) == pytest.approx(0.0, abs=0.25)


def test_the_turned_ear_is_the_left_or_the_right() -> None:
    ears = set()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        clean = np.random.default_rng(seed).standard_normal(N_INTERVAL)[MIDDLE]
        part = intervals(huggins_trial(0, rng), PITCH_GAP_S)[0][:, MIDDLE]
        ears.add(int(np.argmax([np.corrcoef(ear, clean)[0, 1] for ear in part])))
    assert ears == {0, 1}


@pytest.mark.parametrize("answer", [0, 1, 2])
@pytest.mark.parametrize("seed", range(6))
def test_the_quiet_tone_is_6_db_below_and_one_loud_tone_is_turned(answer: int, seed: int) -> None:
    parts = intervals(antiphase_trial(answer, np.random.default_rng(seed)), TONE_GAP_S)
    n_turned = 0
    for number, part in enumerate(parts):
        wanted = LEVEL_DBFS - (6.0 if number == answer else 0.0)
        for ear in part:
            assert level_dbfs(ear[MIDDLE]) == pytest.approx(wanted, abs=0.02)
            spectrum = np.abs(np.fft.rfft(ear[MIDDLE]))
            peak_hz = np.fft.rfftfreq(len(ear[MIDDLE]), 1 / SAMPLE_RATE_HZ)[spectrum.argmax()]
            assert peak_hz == pytest.approx(200.0, abs=1.0)
        is_turned = np.array_equal(part[0], -part[1])
        assert is_turned or np.array_equal(part[0], part[1])
        n_turned += is_turned
        assert not (is_turned and number == answer)
    assert n_turned == 1


def test_loudspeakers_swallow_the_turned_tone_and_make_it_the_quietest() -> None:
    parts = intervals(antiphase_trial(0, np.random.default_rng(1)), TONE_GAP_S)
    in_the_air = [float(np.abs(part.sum(axis=0)).max()) for part in parts]
    assert int(np.argmin(in_the_air)) != 0
    assert min(in_the_air) == 0.0


def test_edges_rise_and_fall_without_a_jump() -> None:
    for sound in (
        huggins_trial(1, np.random.default_rng(5)),
        antiphase_trial(1, np.random.default_rng(5)),
    ):
        assert np.abs(sound[:, 0]).max() < 1e-3
        assert np.abs(sound[:, -1]).max() < 1e-3
        assert np.abs(sound).max() < 1.0


@pytest.mark.parametrize("kind", list(DeviceCheckKind))
def test_sounds_of_all_answers_are_files_of_one_length(kind: DeviceCheckKind) -> None:
    files = [
        wav_bytes(trial_sound(99, kind, trial, level_dbfs=LEVEL_DBFS), SAMPLE_RATE_HZ)
        for trial in range(N_TRIALS)
    ]
    assert len({len(file) for file in files}) == 1
    assert len(set(files)) > 1
    with wave.open(io.BytesIO(files[0])) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, SAMPLE_RATE_HZ)
        assert file.getnframes() == 57_600  # three seconds and two gaps of 0.3 s


def test_what_is_played_is_what_is_counted_as_right() -> None:
    for seed in range(20):
        for trial in range(N_TRIALS):
            sound = trial_sound(seed, "huggins_pitch", trial, level_dbfs=LEVEL_DBFS)
            parts = intervals(sound, PITCH_GAP_S)
            (pitched,) = [i for i, part in enumerate(parts) if not np.array_equal(*part)]
            assert pitched == right_interval(seed, "huggins_pitch", trial)
            tones = intervals(
                trial_sound(seed, "antiphase", trial, level_dbfs=LEVEL_DBFS), TONE_GAP_S
            )
            quiet = int(np.argmin([level_dbfs(part) for part in tones]))
            assert quiet == right_interval(seed, "antiphase", trial)


def test_answers_are_spread_evenly_and_counted() -> None:
    drawn = [right_interval(seed, "huggins_pitch", 0) for seed in range(600)]
    assert all(160 < drawn.count(interval) < 240 for interval in range(3))
    right = [right_interval(4, "antiphase", trial) for trial in range(6)]
    wrong = [(interval + 1) % 3 for interval in right]
    assert count_right(4, "antiphase", right) == 6
    assert count_right(4, "antiphase", wrong) == 0
    assert count_right(4, "antiphase", [*right[:4], *wrong[4:]]) == 4


def test_a_trial_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="trial 6: expected 0 to 5"):
        right_interval(1, "antiphase", 6)


class TestPracticeSounds:
    @pytest.mark.parametrize("number", range(len(TUNES)))
    def test_both_sounds_are_heard_at_the_level_of_clips(self, number: int) -> None:
        sounds = practice_sounds(number, -23.0)
        for waveform, gain_db in (
            (sounds.clean, sounds.clean_gain_db),
            (sounds.damaged, sounds.damaged_gain_db),
        ):
            played = waveform * 10 ** (gain_db / 20)
            assert loudness_lufs(played) == pytest.approx(-23.0, abs=0.1)
            assert np.abs(waveform).max() <= 0.9
            assert np.abs(played).max() < 1.0

    @pytest.mark.parametrize("number", range(len(TUNES)))
    def test_the_copy_is_plainly_another_sound(self, number: int) -> None:
        sounds = practice_sounds(number, -23.0)
        clean, damaged = (np.abs(np.fft.rfft(s)) for s in (sounds.clean, sounds.damaged))
        difference = np.linalg.norm(clean - damaged) / np.linalg.norm(clean)
        assert difference > 0.25
        assert len(sounds.clean) == len(sounds.damaged)

    def test_the_reference_noise_has_the_level_of_clips_and_no_seam(self) -> None:
        noise = volume_noise(-23.0)
        assert loudness_lufs(noise) == pytest.approx(-23.0, abs=0.05)
        steps = np.abs(np.diff(noise))
        assert abs(noise[0] - noise[-1]) <= steps.max()

    def test_an_outline_has_a_value_for_each_stretch(self) -> None:
        peaks = outline(practice_sounds(0, -23.0).clean)
        assert len(peaks) == 160
        assert max(peaks) == pytest.approx(0.89, abs=1e-3)


def test_a_file_is_refused_where_samples_would_be_cut_off() -> None:
    with pytest.raises(ValueError, match=r"a peak of 1\.500"):
        wav_bytes(np.array([0.0, 1.5]), SAMPLE_RATE_HZ)
