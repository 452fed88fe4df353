"""What ONNX has no operators for, in those that it has: Cholesky factors, triangular systems, stable sorting.

Linear algebra is a loop over columns or rows, of any number and in any batch: the substitutions that PyTorch makes too.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, Union

import torch
from onnxscript import DOUBLE, FLOAT, opset18, script

op: Any = opset18  # its own annotations know of no numbers and no operators between tensors
T = TypeVar("T", bound=Union[FLOAT, DOUBLE])  # noqa: UP007 (onnxscript reads no other form)


@script()
def factored(a: T) -> T:
    """The lower Cholesky factor, column by column; what each explains is subtracted from the rest."""
    n = op.Squeeze(op.Shape(a, start=-1))
    places = op.Range(0, n, 1)
    zero = op.CastLike(0.0, a)
    rest = a
    lower = a * zero
    for i in range(n):
        column = op.Gather(rest, i, axis=-1)  # [..., n]
        pivot = op.Gather(column, op.Unsqueeze(i, 0), axis=-1)
        column = op.Where(places >= i, column / op.Sqrt(pivot), zero)
        lower = op.Where(places == i, op.Unsqueeze(column, -1), lower)
        rest = rest - op.Unsqueeze(column, -1) * op.Unsqueeze(column, -2)
    return lower


@script()
def substituted(a: T, b: T, upper: int = 0, unit: int = 0) -> T:
    """The solution of a triangular system, row by row: from the first on, or of an upper one from the last."""
    n = op.Squeeze(op.Shape(a, start=-1))
    places = op.Unsqueeze(op.Range(0, n, 1), -1)
    x = op.MatMul(a, b) * op.CastLike(0.0, b)  # zeros of the shape that both have when broadcast
    for k in range(n):
        i = op.Unsqueeze(op.Where(upper == 1, n - 1 - k, k), 0)
        row = op.Gather(a, i, axis=-2)  # [..., 1, n]
        pivot = op.Where(unit == 1, op.CastLike(1.0, a), op.Gather(row, i, axis=-1))
        x = op.Where(places == i, (op.Gather(b, i, axis=-2) - op.MatMul(row, x)) / pivot, x)
    return x


def cholesky(self: Any, upper: bool = False) -> Any:
    lower = factored(self)
    return transposed(lower, self) if upper else lower


def solve_triangular(A: Any, B: Any, upper: bool, left: bool = True, unitriangular: bool = False) -> Any:  # noqa: N803
    if left:
        return substituted(A, B, upper=int(upper), unit=int(unitriangular))
    x = substituted(transposed(A, A), transposed(B, A), upper=int(not upper), unit=int(unitriangular))
    return transposed(x, A)


def cholesky_solve(self: Any, input2: Any, upper: bool = False) -> Any:
    other = transposed(input2, input2)
    upright, lower = (input2, other) if upper else (other, input2)
    return substituted(upright, substituted(lower, self), upper=1)


def sort(self: Any, stable: bool | None = None, dim: int = -1, descending: bool = False) -> tuple[Any, Any]:
    """Of equal values TopK takes the one with the lower index first."""
    count = op.Shape(self, start=dim, end=dim + 1 if dim != -1 else None)
    return op.TopK(self, count, axis=dim, largest=int(descending), sorted=1)


def transposed(x: Any, like: Any) -> Any:
    """A matrix's mirror image, in a batch that has as many axes as another's."""
    axes = list(range(len(like.shape)))
    return op.Transpose(x, perm=[*axes[:-2], axes[-1], axes[-2]])


TRANSLATIONS: Mapping[Callable, Callable] = {
    torch.ops.aten.linalg_cholesky.default: cholesky,
    torch.ops.aten.linalg_solve_triangular.default: solve_triangular,
    torch.ops.aten.cholesky_solve.default: cholesky_solve,
    torch.ops.aten.sort.stable: sort,
}
"""PyTorch's operators, and how they are written in ONNX's."""
