"""Linear maps laid out for the few rows of a sampling step: joined, and in narrower numbers.

A step multiplies every matrix by a handful of rows, so that its time is the time to read the
matrices: layouts that the generic product does not use, and narrower numbers, decide the speed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TypeVar, assert_never

import torch
import torch.nn.functional as F
from torch import Tensor, nn

AnyModule = TypeVar("AnyModule", bound=nn.Module)

MOST_ROWS = 64
"""Beyond this many rows the generic product is the better one for float32."""


class WeightFormat(StrEnum):
    """The numbers a core's matrices are held in while codes are sampled.

    On a CPU only the matrices change; everything between them stays float32.
    """

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    INT8 = "int8"


DTYPES = {
    WeightFormat.FLOAT32: torch.float32,
    WeightFormat.FLOAT16: torch.float16,
    WeightFormat.BFLOAT16: torch.bfloat16,
}


def usual_format(module: nn.Module) -> WeightFormat:
    """Returns the fastest format that costs a module nothing worth having.

    On a CPU that is float16 if every matrix holds such numbers exactly, as those of checkpoints
    stored in float16 do; on a GPU that computes with it, bfloat16.
    """
    matrices = [child.weight for child in module.modules() if type(child) is nn.Linear]
    if matrices[0].device.type == "cuda" and torch.cuda.is_bf16_supported():
        return WeightFormat.BFLOAT16
    if matrices[0].device.type == "cpu" and all(torch.equal(m, m.half().float()) for m in matrices):
        return WeightFormat.FLOAT16
    return WeightFormat.FLOAT32


def cast_parameters(module: AnyModule, weight_format: WeightFormat) -> AnyModule:
    """Returns the module, all its parameters in the format where it is not on a CPU.

    Tables that are no parameters stay float32.
    """
    dtype = DTYPES.get(weight_format)
    for parameter in module.parameters():
        if parameter.device.type != "cpu" and dtype is not None:
            parameter.data = parameter.data.to(dtype)
    return module


Product = Callable[[Tensor], Tensor]
"""Takes x [B, S, D] to [B, S, O]."""


def transposed_product(weight: Tensor, bias: Tensor | None) -> Product:
    """Returns the product with a transposed copy of a weight [O, D]; O >= D makes it fast."""
    turned = weight.t().contiguous()
    if bias is None:
        return lambda x: torch.matmul(x, turned)
    return lambda x: torch.matmul(x, turned) + bias


def blocked_product(weight: Tensor, bias: Tensor | None, n_rows: int) -> Product:
    """Returns oneDNN's product with a copy of a weight [O, D] in blocks fit for n_rows."""
    blocks = torch.ops.mkldnn._reorder_linear_weight(weight, n_rows)
    multiply = torch.ops.mkldnn._linear_pointwise.default
    return lambda x: multiply(x, blocks, bias, "none", [], "")


def bfloat16_product(weight: Tensor, bias: Tensor | None, n_rows: int) -> Product:
    """Returns the product of x in bfloat16 with a bfloat16 copy, added up in float32."""
    narrow_bias = None if bias is None else bias.bfloat16()
    multiply = blocked_product(weight.bfloat16(), narrow_bias, n_rows)
    return lambda x: multiply(x.bfloat16()).float()


def float16_product(weight: Tensor, bias: Tensor | None) -> Product:
    """Returns the product of a float32 x with a float16 copy, in float32."""
    packed = torch.ops.quantized.linear_prepack_fp16(weight.float(), bias)
    multiply = torch.ops.quantized.linear_dynamic_fp16.default
    return lambda x: multiply(x, packed)


def int8_product(weight: Tensor, bias: Tensor | None) -> Product:
    """Returns the product of int8 rows with an int8 copy that has one scale an output.

    Rows are scaled one by one to -1 to 1, and a row with both ends goes along, so that the range
    the product finds is always this one: what a row gives does not depend on its neighbours.
    """
    scale = weight.abs().amax(dim=1).clamp(min=1e-12) / 127  # [O]
    steps = torch.round(weight / scale[:, None]).to(torch.int8)
    with warnings.catch_warnings():
        # Torch deprecates quantised tensors, but has no other int8 product as fast for few rows.
        warnings.simplefilter("ignore", UserWarning)
        per_output = torch._make_per_channel_quantized_tensor(
            steps, scale.double(), torch.zeros(len(weight), dtype=torch.long), 0
        )
        packed = torch.ops.quantized.linear_prepack(per_output, None)
    multiply = torch.ops.quantized.linear_dynamic.default
    ends = torch.zeros(1, weight.shape[1])
    ends[0, :2] = torch.tensor([-1.0, 1.0])

    def product(x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        largest = torch.linalg.vector_norm(rows, torch.inf, dim=1, keepdim=True)
        largest = largest.clamp(min=1e-12)
        multiplied = multiply(torch.cat([rows / largest, ends]), packed)[:-1] * largest
        shaped = multiplied.view(*x.shape[:-1], -1)
        return shaped if bias is None else shaped + bias

    return product


def packed_product(
    weight: Tensor, bias: Tensor | None, weight_format: WeightFormat, n_rows: int
) -> Product:
    """Returns the fastest product known of n_rows rows with a weight [O, D] on a CPU."""
    narrows = weight.shape[0] < weight.shape[1]
    match weight_format:
        case WeightFormat.FLOAT32 if n_rows > MOST_ROWS or (n_rows == 1 and narrows):
            return lambda x: F.linear(x, weight, bias)
        case WeightFormat.FLOAT32 if n_rows == 1:
            return transposed_product(weight, bias)
        case WeightFormat.FLOAT32:
            return blocked_product(weight, bias, n_rows)
        case WeightFormat.FLOAT16:
            return float16_product(weight, bias)
        case WeightFormat.BFLOAT16:
            return bfloat16_product(weight, bias, n_rows)
        case WeightFormat.INT8:
            return int8_product(weight, bias)
        case _:
            assert_never(weight_format)


class JoinedLinear(nn.Module):
    """Linear maps of the same inputs as one, with a copy of their weights made at the first use.

    On a CPU the copy is laid out for the number of rows that comes, once for each kind of number.
    """

    def __init__(self, parts: Sequence[nn.Linear], weight_format: WeightFormat) -> None:
        super().__init__()
        self._parts = tuple(parts)  # a tuple, so that they are not its submodules
        self._format = weight_format
        self._products: dict[int, Product] = {}

    def __call__(self, x: Tensor) -> Tensor:
        """Returns [B, S, O] of x [B, S, D]; O counts the outputs of all parts.

        Not by way of nn.Module, whose look for hooks takes as long as a small product.
        """
        n_rows = x.shape[0] * x.shape[1]
        kind = self._kind(n_rows)
        product = self._products.get(kind)
        if product is None:
            product = self._products[kind] = self._product(n_rows)
        return product(x)

    def _kind(self, n_rows: int) -> int:
        """Returns a number that calls which can share one layout have in common."""
        if self._format in (WeightFormat.FLOAT32, WeightFormat.BFLOAT16):
            return min(n_rows, 2) if n_rows <= MOST_ROWS else 3
        return 0

    def _product(self, n_rows: int) -> Product:
        weights = [part.weight.detach() for part in self._parts]
        weight = torch.cat(weights) if len(weights) > 1 else weights[0]
        biases = [part.bias.detach() for part in self._parts if part.bias is not None]
        bias = torch.cat(biases) if biases else None
        if weight.device.type == "cpu":
            return packed_product(weight, bias, self._format, n_rows)
        return lambda x: F.linear(x, weight, bias)


def are_joinable(modules: Sequence[nn.Module]) -> bool:
    """Returns whether modules are plain linear maps, all with a bias or all without."""
    linears = [module for module in modules if type(module) is nn.Linear]
    return len(linears) == len(modules) and len({linear.bias is None for linear in linears}) == 1
