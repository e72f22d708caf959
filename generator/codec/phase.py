"""Waveforms from magnitude spectra: phase from peaks, then a few Griffin-Lim rounds."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOMENTUM = 0.99
_FAR = 1 << 20


@dataclass(frozen=True)
class Turning:
    """How a spectrum's last frame stands and turns, from which the next one goes on.

    Phase and turn of a hop in radians, [B, n_fft // 2 + 1] each.
    """

    phase: Tensor
    turn: Tensor


class PhaseReconstruction(nn.Module):
    """Finds a phase for magnitudes [B, n_fft // 2 + 1, T], the same one every time.

    The start is single pass spectrogram inversion (Beauregard, Harish and Wyse 2015): each peak
    turns at its interpolated frequency and its neighbours turn with it. Fast Griffin-Lim
    (Perraudin, Balazs and Sondergaard 2013) then makes overlapping frames agree.
    """

    window: Tensor
    first_phase: Tensor

    def __init__(self, n_fft: int, hop: int, n_iterations: int) -> None:
        super().__init__()
        self.n_fft, self.hop, self.n_iterations = n_fft, hop, n_iterations
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        start = torch.rand(n_fft // 2 + 1, generator=torch.Generator().manual_seed(0))
        self.register_buffer("first_phase", 2 * math.pi * start, persistent=False)

    def forward(self, spectrum: Tensor) -> Tensor:
        """Returns waveforms [B, T * hop]."""
        return self.agree(spectrum, self.peak_phase(spectrum)[0])

    def agree(self, spectrum: Tensor, phase: Tensor) -> Tensor:
        """Returns waveforms [B, T * hop] after the rounds that make overlapping frames agree.

        phase: unit complex numbers to start from, shaped as the spectrum. A frame moves by its
        neighbours within reach of the transform, once a round.
        """
        envelope = self._window_sum(spectrum.shape[-1])
        previous: Tensor | None = None
        for _ in range(self.n_iterations):
            again = self._transform(self._invert(spectrum * phase, envelope))
            ahead = again
            if previous is not None:
                ahead = again - MOMENTUM / (1 + MOMENTUM) * previous
            phase = ahead / (ahead.abs() + 1e-7)
            previous = again
        return self._invert(spectrum * phase, envelope)

    def _overlap_add(self, frames: Tensor) -> Tensor:
        """Returns the sum of frames [B, n_fft, T] laid a hop apart, [B, (T - 1) * hop + n_fft]."""
        length = (frames.shape[-1] - 1) * self.hop + self.n_fft
        folded = F.fold(frames, (1, length), (1, self.n_fft), stride=(1, self.hop))
        return folded[:, 0, 0]

    def _window_sum(self, n_frames: int) -> Tensor:
        squared = self.window.pow(2)[None, :, None].expand(1, -1, n_frames)
        return self._overlap_add(squared).clamp(min=0.1)

    def _invert(self, spectra: Tensor, envelope: Tensor) -> Tensor:
        frames = torch.fft.irfft(spectra, n=self.n_fft, dim=1) * self.window[:, None]
        edge = (self.n_fft - self.hop) // 2
        n_samples = spectra.shape[-1] * self.hop
        return (self._overlap_add(frames) / envelope)[:, edge : edge + n_samples]

    def _transform(self, waveform: Tensor) -> Tensor:
        edge = (self.n_fft - self.hop) // 2
        padded = F.pad(waveform, (edge, self.n_fft - self.hop - edge))
        return torch.stft(
            padded, self.n_fft, self.hop, window=self.window, center=False, return_complex=True
        )

    def peak_phase(self, spectrum: Tensor, before: Turning | None = None) -> tuple[Tensor, Turning]:
        """Returns unit complex numbers, shaped as the spectrum, and how its last frame stands.

        before: how the frame before the first one stood; None at the beginning of a clip.
        """
        n_bins, n_frames = spectrum.shape[1:]
        bins = torch.arange(n_bins, device=spectrum.device)[None, :, None]
        log = torch.log(spectrum + 1e-6)
        left, mid, right = log[:, :-2], log[:, 1:-1], log[:, 2:]
        is_peak = F.pad((mid > left) & (mid >= right), (0, 0, 1, 1))
        # The vertex of the parabola through a peak and its neighbours.
        bend = (left - 2 * mid + right).clamp(max=-1e-4)
        offset = F.pad((0.5 * (left - right) / bend).clamp(-0.5, 0.5), (0, 0, 1, 1))
        below = torch.where(is_peak, bins, -_FAR).cummax(dim=1).values
        above = -torch.where(is_peak, -bins, -_FAR).flip(1).cummax(dim=1).values.flip(1)
        nearest = torch.where(bins - below <= above - bins, below, above).clamp(0, n_bins - 1)
        turn = 2 * math.pi * self.hop / self.n_fft * (bins + offset)
        turn = turn.gather(1, nearest)  # [B, n_bins, T]: how far each bin turns in a hop
        last_turn: Tensor | None = None
        if before is None:
            phase = self.first_phase.to(spectrum.dtype).expand(len(spectrum), -1)
        else:
            phase, last_turn = before.phase, before.turn
        columns = []
        for frame in range(n_frames):
            peak = nearest[:, :, frame]
            phase = phase.gather(1, peak)
            if last_turn is not None:
                # Whole turns are left out: a float32 would lose its place within a minute.
                turned = 0.5 * (turn[:, :, frame] + last_turn.gather(1, peak))
                phase = (phase + turned).remainder(2 * math.pi)
            last_turn = turn[:, :, frame]
            columns.append(phase)
        angles = torch.stack(columns, dim=2) + math.pi * bins
        assert last_turn is not None
        return torch.polar(torch.ones_like(angles), angles), Turning(phase, last_turn)
