"""Residual vector quantiser with codebooks that follow moving averages."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from generator.errors import RequestError


class ResidualQuantiser(nn.Module):
    """K codebooks, each of which codes what those before it left over.

    Codebooks are no parameters: they move to the running mean of the vectors they are chosen for
    (van den Oord et al. 2017, appendix A.1, arXiv:1711.00937); an entry that is hardly chosen any
    more is restarted at a vector of the batch (SoundStream, Zeghidour et al. 2021,
    arXiv:2107.03312). Residuals are SoundStream's algorithm 1.
    """

    codebooks: Tensor
    counts: Tensor
    sums: Tensor
    is_started: Tensor

    def __init__(
        self,
        n_codebooks: int,
        codebook_size: int,
        width: int,
        decay: float = 0.98,
        restart_below: float = 0.05,
    ) -> None:
        super().__init__()
        self.decay = decay
        self.restart_below = restart_below
        shape = (n_codebooks, codebook_size, width)
        self.register_buffer("codebooks", torch.randn(shape) / width**0.5)
        self.register_buffer("counts", torch.ones(n_codebooks, codebook_size), persistent=False)
        self.register_buffer("sums", self.codebooks.clone(), persistent=False)
        self.register_buffer("is_started", torch.zeros((), dtype=torch.bool), persistent=False)

    @property
    def n_codebooks(self) -> int:
        """Returns K."""
        return self.codebooks.shape[0]

    @property
    def codebook_size(self) -> int:
        """Returns how many entries a codebook has."""
        return self.codebooks.shape[1]

    @property
    def statistics(self) -> dict[str, Tensor]:
        """The moving averages that training goes on from; a codec in use does without."""
        return {"counts": self.counts, "sums": self.sums, "is_started": self.is_started}

    def nearest(self, vectors: Tensor, codebook: int) -> Tensor:
        """Returns the index of the nearest entry for each row of [n, D]."""
        entries = self.codebooks[codebook]
        # |x - e|^2 without |x|^2, which does not change the order.
        distances = entries.pow(2).sum(1) - 2 * vectors @ entries.T
        return distances.argmin(dim=1)

    def encode(self, latents: Tensor, n_codebooks: int | None = None) -> Tensor:
        """Returns the codes [B, k, T] of latents [B, D, T]."""
        batch, width, n_frames = latents.shape
        residual = latents.transpose(1, 2).reshape(-1, width)
        codes = []
        for codebook in range(n_codebooks or self.n_codebooks):
            index = self.nearest(residual, codebook)
            residual = residual - self.codebooks[codebook][index]
            codes.append(index.view(batch, n_frames))
        return torch.stack(codes, dim=1)

    def decode(self, codes: Tensor) -> Tensor:
        """Returns the latents [B, D, T] of the first k codebooks' codes [B, k, T]."""
        if codes.ndim != 3 or not 1 <= codes.shape[1] <= self.n_codebooks:
            raise RequestError(
                f"expected codes [B, 1 to {self.n_codebooks}, T], got shape {tuple(codes.shape)}"
            )
        if codes.numel():
            lowest, highest = int(codes.min()), int(codes.max())
            if lowest < 0 or highest >= self.codebook_size:
                raise RequestError(
                    f"expected codes 0 to {self.codebook_size - 1}, got {lowest} to {highest}"
                )
        parts = [F.embedding(codes[:, k], self.codebooks[k]) for k in range(codes.shape[1])]
        return torch.stack(parts).sum(dim=0).transpose(1, 2)

    def forward(self, latents: Tensor, n_codebooks: int) -> tuple[Tensor, Tensor, Tensor]:
        """Returns (quantised latents, those of the first codebook alone, commitment loss).

        Gradients pass straight through to the latents [B, D, T]. In training mode every codebook
        learns, also those after `n_codebooks`, which the result leaves out.
        """
        batch, width, n_frames = latents.shape
        vectors = latents.detach().transpose(1, 2).reshape(-1, width)
        if self.training and not self.is_started:
            self._start(vectors)
        residual, total = vectors, torch.zeros_like(vectors)
        kept: list[Tensor] = []
        for codebook in range(self.n_codebooks):
            if codebook >= n_codebooks and not self.training:
                break
            index = self.nearest(residual, codebook)
            entry = self.codebooks[codebook][index]
            if self.training:
                self._follow(residual, index, codebook)
            residual = residual - entry
            total = total + entry
            if codebook < n_codebooks:
                kept.append(total.view(batch, n_frames, width).transpose(1, 2))
        # Commitment at every depth, so that the first codebook alone stays close too.
        commitment = torch.stack([(latents - depth).pow(2).mean() for depth in kept]).mean()
        quantised = latents + (kept[-1] - latents).detach()
        first = latents + (kept[0] - latents).detach()
        return quantised, first, commitment

    @torch.no_grad()
    def _start(self, vectors: Tensor) -> None:
        """Sets the codebooks to residuals of the first batch."""
        residual = vectors
        for codebook in range(self.n_codebooks):
            rows = torch.randint(len(residual), (self.codebook_size,), device=residual.device)
            noise = 1e-3 * torch.randn_like(self.codebooks[codebook])
            self.codebooks[codebook] = residual[rows] + noise
            residual = residual - self.codebooks[codebook][self.nearest(residual, codebook)]
        self.sums.copy_(self.codebooks)
        self.counts.fill_(1.0)
        self.is_started.fill_(True)

    @torch.no_grad()
    def _follow(self, vectors: Tensor, index: Tensor, codebook: int) -> None:
        """Moves a codebook towards the vectors that chose its entries."""
        counts = torch.bincount(index, minlength=self.codebook_size).to(vectors.dtype)
        sums = torch.zeros_like(self.sums[codebook]).index_add_(0, index, vectors)
        self.counts[codebook].mul_(self.decay).add_(counts, alpha=1 - self.decay)
        self.sums[codebook].mul_(self.decay).add_(sums, alpha=1 - self.decay)
        idle = self.counts[codebook] < self.restart_below
        if idle.any():
            rows = torch.randint(len(vectors), (int(idle.sum()),), device=vectors.device)
            self.sums[codebook][idle] = vectors[rows]
            self.counts[codebook][idle] = 1.0
        self.codebooks[codebook] = self.sums[codebook] / self.counts[codebook][:, None]
