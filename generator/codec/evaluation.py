"""How well a codec gives back what it was given: pitch, spectrum, and use of its codebooks."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from generator.codec.features import LOWEST_SEMITONE, N_SEMITONES, mel_bands
from generator.codec.model import Codec
from generator.measures import Estimate

SEMITONE_N_FFT, SEMITONE_HOP = 4096, 512
MEL_N_FFT, MEL_HOP, N_MEL = 1024, 256, 80
SILENT_NORM = 1.0


@dataclass(frozen=True)
class ReconstructionReport:
    """Measures of clips decoded from their first `n_codebooks` codebooks."""

    n_codebooks: int
    semitone_cosine: Estimate
    mel_distance_db: Estimate


@dataclass(frozen=True)
class CodebookUse:
    """Share of a codebook's entries that occur, and the perplexity of their use."""

    share_used: float
    perplexity: float


def semitone_energy(waveform: Tensor, sample_rate_hz: int) -> Tensor:
    """Returns root energy per semitone from key 36 to 96, [61, frames], of samples [N]."""
    window = torch.hann_window(SEMITONE_N_FFT)
    spectrum = torch.stft(
        waveform, SEMITONE_N_FFT, SEMITONE_HOP, window=window, return_complex=True
    ).abs()
    bins_hz = torch.linspace(0, sample_rate_hz / 2, SEMITONE_N_FFT // 2 + 1).clamp(min=1)
    keys = 12 * torch.log2(bins_hz / 440) + 69
    row = (keys.round() - LOWEST_SEMITONE).long()
    inside = (row >= 0) & (row < N_SEMITONES)
    energy = torch.zeros(N_SEMITONES, spectrum.shape[1])
    return energy.index_add_(0, row[inside], spectrum[inside].pow(2)).sqrt()


def semitone_cosine(original: Tensor, decoded: Tensor, sample_rate_hz: int) -> float:
    """Returns the mean cosine of semitone spectra of two [N] waveforms, silence left out."""
    ours, theirs = (semitone_energy(w, sample_rate_hz) for w in (decoded, original))
    audible = theirs.norm(dim=0) > SILENT_NORM
    if not audible.any():
        return float("nan")
    return float(F.cosine_similarity(theirs[:, audible], ours[:, audible], dim=0).mean())


def mel_distance_db(original: Tensor, decoded: Tensor, sample_rate_hz: int) -> float:
    """Returns the mean absolute difference of mel spectra of two [N] waveforms, in decibels."""
    bands = mel_bands(N_MEL, MEL_N_FFT, sample_rate_hz)
    window = torch.hann_window(MEL_N_FFT)

    def level_db(waveform: Tensor) -> Tensor:
        spectrum = torch.stft(waveform, MEL_N_FFT, MEL_HOP, window=window, return_complex=True)
        return 20 * torch.log10(bands @ spectrum.abs() + 1e-3)

    return float((level_db(original) - level_db(decoded)).abs().mean())


def evaluate_reconstruction(
    codec: Codec, waveforms: Sequence[Tensor], n_codebooks: int
) -> ReconstructionReport:
    """Returns the measures of held-out clips, each [N] of its own length."""
    cosines, distances = [], []
    rate = codec.config.sample_rate_hz
    for waveform in waveforms:
        codes = codec.encode(waveform[None])[:, :n_codebooks]
        decoded = codec.decode(codes)[0]
        original = waveform[: len(decoded)]
        cosines.append(semitone_cosine(original, decoded, rate))
        distances.append(mel_distance_db(original, decoded, rate))
    return ReconstructionReport(n_codebooks, Estimate.of(cosines), Estimate.of(distances))


def codebook_use(codes: Tensor, codebook_size: int) -> list[CodebookUse]:
    """Returns the use of each codebook in codes [K, T]."""
    uses = []
    for row in codes:
        counts = torch.bincount(row.long(), minlength=codebook_size).double()
        shares = counts / counts.sum()
        entropy = -(shares * shares.clamp(min=1e-12).log()).sum()
        uses.append(CodebookUse(float((counts > 0).double().mean()), float(entropy.exp())))
    return uses
