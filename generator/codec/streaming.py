"""Coding in blocks: sound of any length in the memory of a few seconds.

Both directions see a frame's whole surroundings before they write it, so that block borders leave
no trace; what they hold is one block and what lies within reach of it on both sides.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from generator.codec.model import SPECTRA_PER_FRAME, Codec
from generator.codec.phase import Turning
from generator.errors import RequestError

BLOCK_FRAMES = 250


class _Ahead:
    """A stretch of a stream that is kept, and where in the stream it begins."""

    def __init__(self) -> None:
        self.first = 0
        self.kept: Tensor | None = None

    @property
    def end(self) -> int:
        """Where the stream ends so far."""
        return self.first + (0 if self.kept is None else self.kept.shape[-1])

    def append(self, more: Tensor) -> None:
        """Puts more at the end; its leading sizes stay what they were."""
        if self.kept is not None and more.shape[:-1] != self.kept.shape[:-1]:
            raise RequestError(
                f"expected blocks of shape {[*self.kept.shape[:-1], 'n']}, as before, "
                f"got {list(more.shape)}"
            )
        self.kept = more if self.kept is None else torch.cat([self.kept, more], dim=-1)

    def stretch(self, start: int, stop: int) -> Tensor:
        """Returns what lies between two places of the stream."""
        assert self.kept is not None and start >= self.first
        return self.kept[..., start - self.first : stop - self.first]

    def forget_before(self, place: int) -> None:
        """Drops what lies before a place."""
        if self.kept is not None and place > self.first:
            self.kept = self.kept[..., place - self.first :].clone()
            self.first = place


class StreamEncoder:
    """Codes of waveforms that arrive in blocks, equal to those of the whole waveform at once."""

    def __init__(self, codec: Codec, block_frames: int = BLOCK_FRAMES) -> None:
        if block_frames < 1:
            raise RequestError(f"block_frames is at least 1, got {block_frames}")
        self.codec = codec
        self.block_frames = block_frames
        self._samples = _Ahead()
        self._n_coded = 0

    def push(self, waveform: Tensor) -> Tensor | None:
        """Returns the codes [B, K, t] that more samples [B, n] complete, None while there are none.

        A frame is coded once all that its codes depend on has arrived.
        """
        if waveform.ndim != 2 or not waveform.is_floating_point():
            raise RequestError(
                f"expected float waveforms [B, n], got {waveform.dtype} of shape "
                f"{tuple(waveform.shape)}"
            )
        self._samples.append(waveform)
        n_whole = self._samples.end // self.codec.config.frame_samples
        parts = []
        while n_whole - self.codec.config.encoder_reach - self._n_coded >= self.block_frames:
            parts.append(self._code(self._n_coded + self.block_frames, n_whole))
        return torch.cat(parts, dim=2) if parts else None

    def finish(self) -> Tensor | None:
        """Returns the codes [B, K, t] of what is left, None if all is coded."""
        frame_samples = self.codec.config.frame_samples
        n_whole = self._samples.end // frame_samples
        if n_whole < 1:
            raise RequestError(
                f"expected at least {frame_samples} samples, got {self._samples.end}"
            )
        parts = []
        while self._n_coded < n_whole:
            parts.append(self._code(min(self._n_coded + self.block_frames, n_whole), n_whole))
        return torch.cat(parts, dim=2) if parts else None

    def _code(self, stop: int, n_whole: int) -> Tensor:
        """Returns the codes of the frames up to `stop`."""
        reach, size = self.codec.config.encoder_reach, self.codec.config.frame_samples
        start = max(0, self._n_coded - reach)
        window = self._samples.stretch(start * size, min(stop + reach, n_whole) * size)
        codes = self.codec.encode(window)[:, :, self._n_coded - start : stop - start]
        self._n_coded = stop
        self._samples.forget_before(max(0, stop - reach) * size)
        return codes


class StreamDecoder:
    """Waveforms of codes that arrive in blocks, equal but for rounding to decoding all at once.

    Phases go on from the last frame of the block before. Where rounding moves a spectral peak by a
    bin its phase turns otherwise from there on, which changes no magnitude.
    """

    def __init__(self, codec: Codec, block_frames: int = BLOCK_FRAMES) -> None:
        if block_frames < 1:
            raise RequestError(f"block_frames is at least 1, got {block_frames}")
        self.codec = codec
        self.block_frames = block_frames
        self._codes = _Ahead()
        self._spectrum = _Ahead()
        self._phase = _Ahead()
        self._turning: Turning | None = None
        self._n_decoded = 0

    def push(self, codes: Tensor) -> Tensor | None:
        """Returns the waveform [B, n] that more codes [B, k, t] complete, None while there is none.

        A frame is decoded once all that its sound depends on has arrived.
        """
        if codes.ndim != 3:
            raise RequestError(f"expected codes [B, k, t], got shape {tuple(codes.shape)}")
        self._codes.append(codes)
        reach = self.codec.config.decoder_reach
        parts = []
        while self._codes.end - reach - self._n_shaped >= self.block_frames:
            self._shape(self._n_shaped + self.block_frames)
            ready = self._n_shaped - self.codec.config.phase_reach
            if ready > self._n_decoded:
                parts.append(self._decode(ready))
        return torch.cat(parts, dim=1) if parts else None

    def finish(self) -> Tensor | None:
        """Returns the waveform [B, n] of what is left, None if all is decoded."""
        if self._codes.end < 1:
            raise RequestError("expected at least one frame, got none")
        parts = []
        while self._n_shaped < self._codes.end:
            self._shape(min(self._n_shaped + self.block_frames, self._codes.end))
            is_last = self._n_shaped == self._codes.end
            ready = self._n_shaped - (0 if is_last else self.codec.config.phase_reach)
            if ready > self._n_decoded:
                parts.append(self._decode(ready))
        if self._n_decoded < self._codes.end:
            parts.append(self._decode(self._codes.end))
        return torch.cat(parts, dim=1) if parts else None

    @property
    def _n_shaped(self) -> int:
        """How many frames have spectra."""
        return self._spectrum.end // SPECTRA_PER_FRAME

    @torch.inference_mode()
    def _shape(self, stop: int) -> None:
        """Finds magnitudes and first phases of the frames up to `stop`."""
        reach, begun = self.codec.config.decoder_reach, self._n_shaped
        start = max(0, begun - reach)
        window = self._codes.stretch(start, min(stop + reach, self._codes.end))
        spectrum = self.codec.decoded_spectrum(window)
        inner = slice(SPECTRA_PER_FRAME * (begun - start), SPECTRA_PER_FRAME * (stop - start))
        phase, self._turning = self.codec.phase.peak_phase(spectrum[..., inner], self._turning)
        self._spectrum.append(spectrum[..., inner])
        self._phase.append(phase)
        self._codes.forget_before(max(0, stop - reach))

    @torch.inference_mode()
    def _decode(self, stop: int) -> Tensor:
        """Returns the waveform of the frames up to `stop`."""
        reach, size = self.codec.config.phase_reach, self.codec.config.frame_samples
        start = max(0, self._n_decoded - reach)
        first, last = start * SPECTRA_PER_FRAME, self._spectrum.end
        waveform = self.codec.phase.agree(
            self._spectrum.stretch(first, last), self._phase.stretch(first, last)
        )
        waveform = waveform[:, (self._n_decoded - start) * size : (stop - start) * size]
        self._n_decoded = stop
        for kept in (self._spectrum, self._phase):
            kept.forget_before(max(0, stop - reach) * SPECTRA_PER_FRAME)
        return waveform.clamp(-1.0, 1.0)


class SurroundedDecoder:
    """Waveforms of codes that arrive in blocks, each decoded together with its surroundings.

    For codecs whose sound depends on codes of any distance, as a recurrent layer's does: equal to
    decoding all at once as far as what lies beyond `reach` frames is forgotten.
    """

    def __init__(
        self,
        decode: Callable[[Tensor], Tensor],
        frame_samples: int,
        reach: int,
        block_frames: int = BLOCK_FRAMES,
    ) -> None:
        """decode: codes [B, K, T] to waveforms [..., T * frame_samples]."""
        if block_frames < 1 or reach < 0:
            raise RequestError(
                f"block_frames is at least 1 and reach at least 0, got {block_frames} and {reach}"
            )
        self.decode = decode
        self.frame_samples = frame_samples
        self.reach = reach
        self.block_frames = block_frames
        self._codes = _Ahead()
        self._n_decoded = 0

    def push(self, codes: Tensor) -> Tensor | None:
        """Returns the waveform [..., n] that more codes [B, K, t] complete, None while none is."""
        self._codes.append(codes)
        parts = []
        while self._codes.end - self.reach - self._n_decoded >= self.block_frames:
            parts.append(self._decode(self._n_decoded + self.block_frames))
        return torch.cat(parts, dim=-1) if parts else None

    def finish(self) -> Tensor | None:
        """Returns the waveform [..., n] of what is left, None if all is decoded."""
        parts = []
        while self._n_decoded < self._codes.end:
            parts.append(self._decode(min(self._n_decoded + self.block_frames, self._codes.end)))
        return torch.cat(parts, dim=-1) if parts else None

    def _decode(self, stop: int) -> Tensor:
        start, size = max(0, self._n_decoded - self.reach), self.frame_samples
        waveform = self.decode(self._codes.stretch(start, min(stop + self.reach, self._codes.end)))
        waveform = waveform[..., (self._n_decoded - start) * size : (stop - start) * size]
        self._n_decoded = stop
        self._codes.forget_before(max(0, stop - self.reach))
        return waveform
