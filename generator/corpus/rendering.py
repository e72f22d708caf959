"""Audio of a score: a soundfont synthesiser, fixed levels for each instrument, and the tone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, resample_poly, sosfilt

from generator.corpus.attributes import FRAME_RATE_HZ, LEAD_PROGRAMS, STYLES, Attributes
from generator.corpus.score import KICK, SNARE, Note, Part, Score
from generator.errors import GeneratorError

DEFAULT_SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
SAMPLE_RATE_HZ = 16000
_SYNTH_RATE_HZ = 2 * SAMPLE_RATE_HZ  # twice the rate, so that the synthesiser does not alias
_FRAME_SAMPLES = _SYNTH_RATE_HZ // FRAME_RATE_HZ
_RELEASE_SAMPLES = _FRAME_SAMPLES // 4
_BASS_PROGRAM = 33
_DRUM_BANK = 128
_CHANNEL = {Part.LEAD: 0, Part.CHORDS: 1, Part.BASS: 2, Part.DRUMS: 9}
# Loudness of a sustained reference passage (RMS), and of the drums (peak).
_TARGET_RMS = {Part.LEAD: 0.10, Part.CHORDS: 0.05, Part.BASS: 0.06}
_DRUM_PEAK = {"soft": 0.16, "driving": 0.36}
_REFERENCE_KEYS = {Part.LEAD: (64, 69, 72, 76), Part.CHORDS: (55, 60, 64), Part.BASS: (38, 43, 45)}
_MELLOW_CUTOFF_HZ, _BRIGHT_CUTOFF_HZ = 1400, 1800
_TONE_GAIN = {"neutral": 1.0, "mellow": 1.2, "bright": 0.85}
_FADE_S = 0.2


def load_synthesiser(soundfont: Path) -> tuple[Any, int]:
    """Returns the synthesiser with the soundfont loaded, and the soundfont's id."""
    if not soundfont.is_file():
        raise GeneratorError(
            f"no soundfont at {soundfont}: install Debian's package fluid-soundfont-gm, or give "
            "--soundfont the path of FluidR3_GM.sf2"
        )
    try:
        import tinysoundfont
    except ImportError as exc:
        raise GeneratorError(
            "rendering the corpus needs tinysoundfont: pip install --no-deps tinysoundfont==0.3.7"
        ) from exc
    synthesiser = tinysoundfont.Synth(gain=-6, samplerate=_SYNTH_RATE_HZ)
    return synthesiser, synthesiser.sfload(str(soundfont))


class Renderer:
    """Turns scores into mono waveforms at 16 kHz, with the same levels in every clip."""

    def __init__(
        self,
        soundfont: Path = DEFAULT_SOUNDFONT,
        lead_programs: Mapping[str, int] = LEAD_PROGRAMS,
    ) -> None:
        self._lead_programs = lead_programs
        self._synthesiser, self._soundfont_id = load_synthesiser(soundfont)
        self._mellow = butter(2, _MELLOW_CUTOFF_HZ, fs=SAMPLE_RATE_HZ, output="sos")
        self._bright = butter(2, _BRIGHT_CUTOFF_HZ, btype="high", fs=SAMPLE_RATE_HZ, output="sos")
        self._gains: dict[tuple[Part, int], float] = {}

    def render(self, score: Score, attributes: Attributes) -> NDArray[np.float32]:
        """Returns the waveform [n_frames * 640]."""
        n_samples = score.n_frames * (SAMPLE_RATE_HZ // FRAME_RATE_HZ)
        mixed = np.zeros(2 * n_samples, np.float64)
        for part in Part:
            notes = [note for note in score.notes if note.part is part]
            if not notes:
                continue
            program = self._program(part, attributes)
            gain = self._gain(part, program)
            if part is Part.DRUMS:
                gain *= _DRUM_PEAK[attributes.drums]
            mixed += gain * self._play(part, program, notes, score.n_frames)
        waveform = self._colour(resample_poly(mixed, 1, 2), attributes.tone)
        n_fade = round(_FADE_S * SAMPLE_RATE_HZ)
        waveform[-n_fade:] *= np.linspace(1.0, 0.0, n_fade)
        limited: NDArray[np.float32] = np.tanh(waveform).astype(np.float32)
        return limited

    def _program(self, part: Part, attributes: Attributes) -> int:
        match part:
            case Part.LEAD:
                return self._lead_programs[attributes.lead]
            case Part.CHORDS:
                return STYLES[attributes.style].chord_program
            case Part.BASS:
                return _BASS_PROGRAM
            case Part.DRUMS:
                return 0

    def _gain(self, part: Part, program: int) -> float:
        """Returns the factor that brings an instrument to its level; measured once."""
        if (part, program) not in self._gains:
            self._gains[part, program] = self._measure_gain(part, program)
        return self._gains[part, program]

    def _measure_gain(self, part: Part, program: int) -> float:
        if part is Part.DRUMS:
            loudest = 0.0
            for key in (KICK, SNARE):
                hit = self._play(part, program, [Note(0, 2, part, key, 108)], FRAME_RATE_HZ)
                loudest = max(loudest, float(np.abs(hit).max()))
            return 1.0 / loudest
        keys = _REFERENCE_KEYS[part]
        beat = FRAME_RATE_HZ // 2
        if part is Part.CHORDS:
            notes = [Note(0, 2 * beat, part, key, 74) for key in keys]
        else:
            notes = [Note(i * beat, (i + 1) * beat, part, k, 100) for i, k in enumerate(keys)]
        n_frames = max(note.end for note in notes)
        played = self._play(part, program, notes, n_frames)
        return _TARGET_RMS[part] / float(np.sqrt(np.mean(played**2)))

    def _play(
        self, part: Part, program: int, notes: list[Note], n_frames: int
    ) -> NDArray[np.float64]:
        """Returns one part alone at the synthesiser's rate, [n_frames * 1280]."""
        synthesiser, channel = self._synthesiser, _CHANNEL[part]
        bank = _DRUM_BANK if part is Part.DRUMS else 0
        synthesiser.program_select(channel, self._soundfont_id, bank, program, part is Part.DRUMS)
        # An end comes before an onset in the same sample.
        events = [(note.onset * _FRAME_SAMPLES, 1, note.key, note.velocity) for note in notes]
        events += [(note.end * _FRAME_SAMPLES - _RELEASE_SAMPLES, 0, note.key, 0) for note in notes]
        pieces, position, total = [], 0, n_frames * _FRAME_SAMPLES
        for sample, is_onset, key, velocity in sorted(events):
            if sample > position:
                pieces.append(self._generate(sample - position))
                position = sample
            if is_onset:
                synthesiser.noteon(channel, key, velocity)
            else:
                synthesiser.noteoff(channel, key)
        pieces.append(self._generate(total - position))
        synthesiser.control_change(channel, 120, 0)
        self._generate(_FRAME_SAMPLES)
        return np.concatenate(pieces)

    def _generate(self, n_samples: int) -> NDArray[np.float64]:
        buffer = self._synthesiser.generate(n_samples)
        stereo = np.frombuffer(buffer, np.float32).reshape(-1, 2)
        return stereo.mean(axis=1).astype(np.float64)

    def _colour(self, waveform: NDArray[np.float64], tone: str) -> NDArray[np.float64]:
        if tone == "mellow":
            waveform = sosfilt(self._mellow, waveform)
        elif tone == "bright":
            waveform = waveform + 2.0 * sosfilt(self._bright, waveform)
        return waveform * _TONE_GAIN[tone]
