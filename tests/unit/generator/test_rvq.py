"""The residual quantiser: nearest entries, residuals, gradients, moving averages, restarts."""

import pytest
import torch

from generator.codec.rvq import ResidualQuantiser
from generator.errors import RequestError


def latents(batch: int, width: int, n_frames: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch, width, n_frames, generator=torch.Generator().manual_seed(seed))


def test_each_code_is_the_entry_nearest_to_what_is_left() -> None:
    torch.manual_seed(0)
    quantiser = ResidualQuantiser(3, 8, 4).eval()
    given = latents(2, 4, 5)
    codes = quantiser.encode(given)
    for b in range(2):
        for t in range(5):
            left = given[b, :, t]
            for k in range(3):
                distances = [float((left - entry).norm()) for entry in quantiser.codebooks[k]]
                assert int(codes[b, k, t]) == distances.index(min(distances))
                left = left - quantiser.codebooks[k][codes[b, k, t]]


def test_decoding_adds_the_entries_up() -> None:
    quantiser = ResidualQuantiser(2, 3, 2).eval()
    quantiser.codebooks.copy_(
        torch.tensor([[[1.0, 0], [2, 0], [3, 0]], [[0, 10.0], [0, 20], [0, 30]]])
    )
    codes = torch.tensor([[[0, 2], [1, 0]]])  # [1, 2, 2]
    assert torch.equal(quantiser.decode(codes), torch.tensor([[[1.0, 3.0], [20.0, 10.0]]]))
    assert torch.equal(quantiser.decode(codes[:, :1]), torch.tensor([[[1.0, 3.0], [0.0, 0.0]]]))


def test_fewer_codebooks_are_a_prefix_of_all() -> None:
    quantiser = ResidualQuantiser(4, 8, 4).eval()
    given = latents(1, 4, 20)
    assert torch.equal(quantiser.encode(given, 2), quantiser.encode(given)[:, :2])


def test_gradients_pass_through_as_if_nothing_was_quantised() -> None:
    quantiser = ResidualQuantiser(2, 8, 4).eval()
    given = latents(1, 4, 6).requires_grad_()
    quantised, first, _ = quantiser(given, 2)
    (3 * quantised).sum().backward()
    assert given.grad is not None
    assert torch.equal(given.grad, torch.full_like(given, 3.0))
    assert not torch.equal(quantised, first)


def test_commitment_is_the_mean_squared_distance_over_depths() -> None:
    """Latent 1; entries 0.5 then 0.25 leave 0.5 and 0.25: mean of 0.25 and 0.0625."""
    quantiser = ResidualQuantiser(2, 1, 1).eval()
    quantiser.codebooks.copy_(torch.tensor([[[0.5]], [[0.25]]]))
    _, _, commitment = quantiser(torch.ones(1, 1, 1), 2)
    assert float(commitment) == pytest.approx(0.15625)


def test_an_entry_moves_to_the_mean_of_what_chooses_it() -> None:
    quantiser = ResidualQuantiser(1, 2, 1, decay=0.5, restart_below=0.0).train()
    quantiser.codebooks.copy_(torch.tensor([[[0.0], [10.0]]]))
    quantiser.sums.copy_(quantiser.codebooks)
    quantiser.is_started.fill_(True)
    quantiser(torch.tensor([[[2.0, 4.0, 10.0]]]), 1)
    # Entry 0: count .5 * 1 + .5 * 2 = 1.5, sum .5 * 0 + .5 * 6 = 3, so 2. Entry 1 stays at 10.
    assert quantiser.codebooks[0, :, 0].tolist() == pytest.approx([2.0, 10.0])


def test_an_entry_that_nothing_chooses_restarts_at_a_vector_of_the_batch() -> None:
    quantiser = ResidualQuantiser(1, 2, 1, decay=0.5, restart_below=0.3).train()
    quantiser.codebooks.copy_(torch.tensor([[[0.0], [100.0]]]))
    quantiser.sums.copy_(quantiser.codebooks)
    quantiser.is_started.fill_(True)
    for _ in range(3):
        quantiser(torch.tensor([[[-1.0, 1.0]]]), 1)
    assert float(quantiser.codebooks.abs().max()) <= 1.0


def test_evaluation_leaves_the_codebooks_alone() -> None:
    quantiser = ResidualQuantiser(2, 4, 3).eval()
    before = quantiser.codebooks.clone()
    quantiser(latents(1, 3, 50), 2)
    assert torch.equal(before, quantiser.codebooks)


def test_codes_beyond_the_codebook_are_refused() -> None:
    quantiser = ResidualQuantiser(2, 4, 3)
    with pytest.raises(RequestError, match="expected codes 0 to 3, got 0 to 4"):
        quantiser.decode(torch.tensor([[[0, 4]]]))
