"""Packed linear maps give what plain ones give, each to the precision of its numbers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from generator.lm.projections import JoinedLinear, WeightFormat, are_joinable

MOST_ERROR = {
    WeightFormat.FLOAT32: 1e-6,
    WeightFormat.FLOAT16: 1e-3,
    WeightFormat.BFLOAT16: 1e-2,
    WeightFormat.INT8: 3e-2,
}


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("weight_format", list(WeightFormat))
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (2, 50)])
@torch.inference_mode()
def test_joined_maps_equal_their_parts(
    weight_format: WeightFormat, bias: bool, shape: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    parts = [nn.Linear(32, outputs, bias=bias) for outputs in (48, 16)]
    joined = JoinedLinear(parts, weight_format)
    x = torch.randn(*shape, 32)
    expected = torch.cat([part(x) for part in parts], dim=-1)
    error = relative_error(joined(x), expected)
    assert joined(x).shape == expected.shape
    assert error < MOST_ERROR[weight_format]
    assert weight_format is WeightFormat.FLOAT32 or error > 1e-6


@torch.inference_mode()
def test_int8_rows_do_not_depend_on_their_neighbours() -> None:
    torch.manual_seed(0)
    packed = JoinedLinear([nn.Linear(32, 16, bias=False)], WeightFormat.INT8)
    quiet, loud = torch.randn(1, 1, 32), 1000 * torch.randn(1, 1, 32)
    together = packed(torch.cat([quiet, loud, torch.zeros(1, 1, 32)]))
    assert torch.equal(together[:1], packed(quiet))
    assert torch.equal(together[1:2], packed(loud))
    assert not together[2].any()


def test_only_plain_maps_that_agree_about_biases_are_joined() -> None:
    class Wrapped(nn.Linear):
        pass

    plain, biased = nn.Linear(4, 4, bias=False), nn.Linear(4, 4)
    assert are_joinable([plain, plain])
    assert not are_joinable([plain, biased])
    assert not are_joinable([plain, Wrapped(4, 4, bias=False)])
    assert not are_joinable([plain, nn.Identity()])
