"""A linear probe that hears which instrument leads, learned from real clips of a corpus."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from generator.corpus.attributes import LEADS
from generator.corpus.rendering import SAMPLE_RATE_HZ
from generator.corpus.storage import Corpus
from generator.errors import RequestError

N_FFT, HOP = 1024, 256
N_BANDS = 48
LOWEST_HZ, HIGHEST_HZ = 80.0, 7800.0
N_CEPSTRA = 24
RIDGE = 30.0
"""Weight of the penalty on the probe's weights, in clips."""


def band_matrix() -> torch.Tensor:
    """Returns bands even in log frequency, [N_BANDS, N_FFT / 2 + 1]."""
    bins_hz = torch.linspace(0, SAMPLE_RATE_HZ / 2, N_FFT // 2 + 1)
    edges = torch.logspace(np.log10(LOWEST_HZ), np.log10(HIGHEST_HZ), N_BANDS + 2)
    rising = (bins_hz[None] - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins_hz[None]) / (edges[2:] - edges[1:-1])[:, None]
    triangles = torch.minimum(rising, falling).clamp(min=0)
    return triangles / triangles.sum(dim=1, keepdim=True).clamp(min=1e-6)


def timbre_features(waveform: NDArray[np.float32]) -> NDArray[np.float64]:
    """Returns what a mono clip [N] sounds like, whatever it plays, [4 * N_CEPSTRA + N_BANDS].

    Means and spreads of cepstra over time, of their change, and the mean spectrum.
    """
    samples = torch.from_numpy(np.ascontiguousarray(waveform, np.float32))
    spectrum = torch.stft(samples, N_FFT, HOP, window=torch.hann_window(N_FFT), return_complex=True)
    bands = torch.log(band_matrix() @ spectrum.abs().square() + 1e-5)  # [N_BANDS, steps]
    order = torch.arange(N_CEPSTRA)[:, None]
    place = (torch.arange(N_BANDS)[None] + 0.5) / N_BANDS
    cepstra = torch.cos(torch.pi * order * place) @ bands / N_BANDS
    change = cepstra[:, 2:] - cepstra[:, :-2]
    parts = [cepstra.mean(1), cepstra.std(1), change.std(1), change.abs().amax(1), bands.mean(1)]
    return torch.cat(parts).double().numpy()


@dataclass(frozen=True)
class LeadProbe:
    """A ridge classifier over timbre features: mean and scale [F], weights [F, leads]."""

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    weights: NDArray[np.float64]
    offsets: NDArray[np.float64]

    @classmethod
    def fit(cls, waveforms: Iterable[NDArray[np.float32]], leads: Sequence[str]) -> LeadProbe:
        """Returns the probe of clips whose leads are known, by least squares with a penalty."""
        features = np.stack([timbre_features(waveform) for waveform in waveforms])
        if len(features) != len(leads) or len(set(leads)) < 2:
            raise RequestError(
                f"expected one lead a clip and at least two leads, got {len(leads)} leads of "
                f"{len(set(leads))} kinds for {len(features)} clips"
            )
        mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-9
        x = (features - mean) / scale
        y = np.array([[float(lead == known) for known in LEADS] for lead in leads])
        offsets = y.mean(axis=0)
        gram = x.T @ x + RIDGE * np.eye(x.shape[1])
        return cls(mean, scale, np.linalg.solve(gram, x.T @ (y - offsets)), offsets)

    def hear(self, waveform: NDArray[np.float32]) -> str:
        """Returns the lead that a mono clip [N] at 16 kHz sounds most like."""
        x = (timbre_features(waveform) - self.mean) / self.scale
        return LEADS[int(np.argmax(x @ self.weights + self.offsets))]


def fit_lead_probe(corpus: Corpus, n_clips: int) -> LeadProbe:
    """Returns the probe of the first n_clips clips of a corpus."""
    clips = corpus.clips[:n_clips]
    return LeadProbe.fit(
        (corpus.waveform(clip) for clip in clips), [clip.attributes.lead for clip in clips]
    )
