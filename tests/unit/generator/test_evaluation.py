"""Measures and reports answer as they must on sounds and numbers whose answer is known."""

import json
from collections.abc import Sequence
from dataclasses import replace
from math import isnan, sqrt
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from generator.__main__ import main
from generator.corpus.attributes import FRAMES_PER_BEAT
from generator.corpus.storage import create_audio, write_clips
from generator.errors import RequestError
from generator.evaluation import control_report, evaluate_real, separation, tempo_class
from generator.measures import ClipMeasures, Estimate, measure_clip
from tests.tiny import write_tiny_checkpoint
from tests.unit.generator.codec_material import sine_corpus

RATE_HZ = 16000
MEASURES = ClipMeasures(16, 2.0, 900.0, 0.1, -10.0, 0.9, 0.0, 0.0, 4.9)


def chord(keys: Sequence[int], seconds: float = 3.0, level: float = 0.1) -> NDArray[np.float32]:
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    waves = [np.sin(2 * np.pi * 440 * 2 ** ((key - 69) / 12) * time_s) for key in keys]
    return (level * np.sum(waves, axis=0)).astype(np.float32)


def clicks(every_s: float, seconds: float = 8.0) -> NDArray[np.float32]:
    waveform = np.zeros(round(seconds * RATE_HZ), np.float32)
    burst = 0.5 * np.random.default_rng(0).standard_normal(800) * np.linspace(1, 0, 800)
    for start in np.arange(0, seconds - 0.1, every_s):
        position = round(start * RATE_HZ)
        waveform[position : position + 800] += burst
    return waveform


@pytest.mark.parametrize("frames_per_beat", FRAMES_PER_BEAT)
def test_the_beat_of_clicks_is_found(frames_per_beat: int) -> None:
    measures = measure_clip(clicks(frames_per_beat / 25), RATE_HZ)
    assert measures.frames_per_beat == frames_per_beat
    assert measures.beats_per_minute == pytest.approx(1500 / frames_per_beat)


def test_onsets_are_counted() -> None:
    assert measure_clip(clicks(0.5), RATE_HZ).onsets_per_s == pytest.approx(2.0, abs=0.3)
    assert measure_clip(clicks(0.25), RATE_HZ).onsets_per_s == pytest.approx(4.0, abs=0.5)


def test_major_scores_above_minor() -> None:
    major = np.concatenate([chord([60, 64, 67]), chord([65, 69, 72]), chord([67, 71, 74])])
    minor = np.concatenate([chord([60, 63, 67]), chord([65, 68, 72]), chord([67, 70, 74])])
    assert measure_clip(major, RATE_HZ).major_score > 0
    assert measure_clip(minor, RATE_HZ).major_score < 0


def test_notes_of_one_scale_are_in_scale_and_a_cluster_is_not() -> None:
    scale = np.concatenate([chord([key], 1.0) for key in (60, 62, 64, 65, 67, 69, 71)])
    cluster = np.concatenate([chord([key], 1.0) for key in range(60, 72)])
    assert measure_clip(scale, RATE_HZ).in_scale_share > 0.97
    assert measure_clip(cluster, RATE_HZ).in_scale_share < 0.75


def test_a_higher_tone_has_a_higher_centroid() -> None:
    low = measure_clip(chord([57]), RATE_HZ).centroid_hz
    high = measure_clip(chord([93]), RATE_HZ).centroid_hz
    assert high > low + 1000


def test_a_thud_below_the_bass_raises_the_kick() -> None:
    waveform = chord([60, 64, 67], 4.0)
    thud = waveform.copy()
    time_s = np.arange(1600) / RATE_HZ
    for start in range(0, 60000, 8000):
        thud[start : start + 1600] += 0.4 * np.sin(2 * np.pi * 40 * time_s).astype(np.float32)
    assert measure_clip(thud, RATE_HZ).kick_db > measure_clip(waveform, RATE_HZ).kick_db + 10


def test_silence_clipping_and_the_end_of_sound_are_measured() -> None:
    waveform = np.concatenate([chord([60], 2.0), np.zeros(2 * RATE_HZ, np.float32)])
    measures = measure_clip(waveform, RATE_HZ)
    assert measures.silent_share == pytest.approx(0.5)
    assert measures.sounding_s == pytest.approx(2.0)
    assert measures.clipped_share == 0.0
    loud = np.clip(chord([60], 2.0, level=3.0), -1, 1)
    assert measure_clip(loud, RATE_HZ).clipped_share > 0.5
    assert measure_clip(np.zeros(RATE_HZ, np.float32), RATE_HZ).sounding_s == 0.0


def test_what_is_too_short_or_not_mono_is_refused() -> None:
    for waveform in (np.zeros(15999, np.float32), np.zeros((2, 16000), np.float32)):
        with pytest.raises(RequestError, match="mono waveform of at least 16000"):
            measure_clip(waveform, RATE_HZ)


def test_the_separation_of_two_groups_by_hand() -> None:
    """Of four pairs two are in order and one is a tie: (2 + 0.5) / 4."""
    result = separation([1.0, 3.0], [2.0, 3.0])
    assert result is not None
    assert result.auc == pytest.approx(0.625)
    assert (result.n_low, result.n_high) == (2, 2)
    q1, q2 = 0.625 / 1.375, 2 * 0.625**2 / 1.625
    variance = (0.625 * 0.375 + (q1 - 0.625**2) + (q2 - 0.625**2)) / 4
    assert result.standard_error == pytest.approx(sqrt(variance))
    assert separation([1.0], [2.0, 3.0]) is None


def test_an_estimate_has_its_error_and_count() -> None:
    estimate = Estimate.of([1.0, 3.0])
    assert (estimate.mean, estimate.standard_error, estimate.n) == (2.0, pytest.approx(1.0), 2)
    assert isnan(Estimate.of([1.0]).standard_error)
    with pytest.raises(RequestError, match="at least one"):
        Estimate.of([])


def test_only_what_was_asked_for_is_counted() -> None:
    asked: list[dict[str, object]] = [
        {"tone": "bright", "tempo": "medium", "frames_per_beat": 16},
        {"tone": "bright"},
        {"tone": "mellow", "frames_per_beat": 12},
        {"tone": "mellow"},
    ]
    measures = [
        replace(MEASURES, centroid_hz=hz, frames_per_beat=24)
        for hz in (2000.0, 1500.0, 800.0, 700.0)
    ]
    measures[0] = replace(measures[0], frames_per_beat=16)
    asked[1]["lead"] = asked[3]["lead"] = "organ"
    report = control_report(asked, measures, [5.0] * 4, ["piano", "organ", "organ", "flute"])
    assert report.lead is not None and (report.lead.mean, report.lead.n) == (0.5, 2)
    assert report.n == 4
    tone = report.separations["tone"]
    assert tone is not None and tone.auc == 1.0
    assert report.separations["drums"] is None
    assert report.tempo_class is not None and report.tempo_class.n == 1
    assert report.beat is not None and report.beat.mean == 0.5
    assert report.duration_error_s.mean == pytest.approx(0.1)
    with pytest.raises(RequestError, match="got 3 and 4 for 4"):
        control_report(asked[:3], measures, [5.0] * 4)


def test_tempo_classes_are_the_corpus_s() -> None:
    assert [tempo_class(f) for f in (26, 16, 10)] == ["slow", "medium", "fast"]
    with pytest.raises(RequestError, match="got 11"):
        tempo_class(11)


def test_clips_of_a_known_composer_show_their_attributes() -> None:
    report = evaluate_real(sine_corpus(40, seed=7), RATE_HZ)
    assert report.n == 40
    for name, least in (("mode", 0.8), ("density", 0.8)):
        found = report.separations[name]
        assert found is not None and found.auc > least, name
    assert report.in_scale.mean > 0.97
    assert report.beat is not None and report.beat.mean > 0.65


def test_the_command_reports_on_real_decoded_and_generated_clips(tmp_path: Path) -> None:
    corpus = sine_corpus(2)
    create_audio(tmp_path / "corpus", len(corpus.audio))[:] = corpus.audio
    write_clips(tmp_path / "corpus", corpus.clips)
    checkpoint = write_tiny_checkpoint(tmp_path / "checkpoint")
    output = tmp_path / "report.json"
    arguments = ["evaluate", "--corpus", str(tmp_path / "corpus"), "--output", str(output)]
    arguments += ["--probe", str(tmp_path / "corpus")]
    arguments += ["--codec", str(checkpoint), "--checkpoint", str(checkpoint)]
    assert main(arguments) == 0
    report = json.loads(output.read_text())
    assert report["real"]["n"] == report["generated"]["n"] == 2
    assert report["codec"]["decoded_from_2"]["reconstruction"]["n_codebooks"] == 2
    assert len(report["codec"]["codebooks"]) == 4


def test_the_command_names_a_corpus_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", "--corpus", str(tmp_path), "--output", str(tmp_path / "r.json")]
    assert main(arguments) == 1
    assert "no clips.json" in capsys.readouterr().err
