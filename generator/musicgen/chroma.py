"""The melody that MusicGen melody follows: the strongest pitch class of each 128 ms.

Equal to transformers' MusicgenMelodyFeatureExtractor, which would need torchaudio.
"""

from __future__ import annotations

import torch
from torch import Tensor

from generator.errors import RequestError
from generator.melody import N_PITCH_CLASSES

N_FFT = 16384
HOP_SAMPLES = 4096


def melody_classes(waveform: Tensor, sample_rate_hz: int) -> Tensor:
    """Returns the strongest pitch class [M] of each hop of a mono waveform [N]; 0 is C.

    Silence reads as C, as it did when MusicGen was trained.
    """
    from transformers.audio_utils import chroma_filter_bank

    if waveform.ndim != 1 or not len(waveform):
        raise RequestError(f"expected a mono waveform [N], got shape {tuple(waveform.shape)}")
    short = max(0, N_FFT - len(waveform))
    padded = torch.nn.functional.pad(waveform.float(), (short // 2, short - short // 2))
    spectrum = torch.stft(
        padded, N_FFT, HOP_SAMPLES, window=torch.hann_window(N_FFT), return_complex=True
    )
    bank = chroma_filter_bank(
        sampling_rate=sample_rate_hz, num_frequency_bins=N_FFT, tuning=0, num_chroma=N_PITCH_CLASSES
    )
    chroma = torch.from_numpy(bank).float() @ spectrum.abs().square()  # [12, M]
    return chroma.argmax(dim=0)
