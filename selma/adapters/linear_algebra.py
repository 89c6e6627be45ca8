"""Products, QR and SVD of matrices; on a CPU by OpenBLAS, one thread a call, on a GPU by torch.

numpy's and scipy's OpenBLAS is as fast as MKL, also where the instruction set is pinned (see
`selma.core.processor`), which slows MKL's LAPACK down twofold, and its float64 products fourfold.
"""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@contextlib.contextmanager
def one_thread_a_call() -> Iterator[None]:
    """Let each call compute with one thread, in this process, for as long as the body runs.

    Work on several layers at once is then as fast as can be, and gives the same bytes as one after
    the other.
    """
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    with threadpool_limits(limits=1):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def product(left: "torch.Tensor", right: "torch.Tensor") -> "torch.Tensor":
    """Multiply two matrices of one type."""
    import torch

    if left.is_cuda:
        return left @ right
    return torch.from_numpy(left.numpy() @ right.numpy())


def svd(matrix: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor, torch.Tensor]":
    """Decompose (m, n) into U (m, k), s (k,) falling and Vᵀ (k, n), with k = min(m, n)."""
    import scipy.linalg
    import torch

    if matrix.is_cuda:
        u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
        return u, s, vt
    values = matrix.numpy()
    try:
        found = scipy.linalg.svd(values, full_matrices=False, check_finite=False)
    except scipy.linalg.LinAlgError:  # divide and conquer may fail to converge, QR does not
        found = scipy.linalg.svd(
            values, full_matrices=False, check_finite=False, lapack_driver="gesvd"
        )
    u, s, vt = (torch.from_numpy(part) for part in found)
    return u, s, vt


class Tall:
    """A matrix (m, r) as Q · core: core is R (r, r) of its QR where m > r, else the matrix itself.

    Q is kept as LAPACK's reflectors and never formed.
    """

    def __init__(self, matrix: "torch.Tensor") -> None:
        """Decompose; O(m r²)."""
        import scipy.linalg
        import torch

        self.rows, inner = matrix.shape
        self.reflectors: Any = None
        self.core = matrix
        if self.rows <= inner:
            return
        if matrix.is_cuda:
            self.reflectors = torch.geqrf(matrix)
            self.core = self.reflectors[0][:inner].triu()
            return
        self.reflectors, upper = scipy.linalg.qr(matrix.numpy(), mode="raw", check_finite=False)
        self.core = torch.from_numpy(upper)

    def times(self, matrix: "torch.Tensor") -> "torch.Tensor":
        """Compute Q · matrix, of as many rows as the core; O(m r k)."""
        import scipy.linalg
        import torch

        if self.reflectors is None:
            return matrix
        padded = matrix.new_zeros(matrix.shape[1], self.rows).T  # (m, k), columns side by side
        padded[: len(matrix)] = matrix
        if matrix.is_cuda:
            factors, tau = self.reflectors
            return torch.ormqr(factors, tau, padded)
        factors, tau = self.reflectors
        (multiply,) = scipy.linalg.get_lapack_funcs(("ormqr",), (factors,))
        size = int(multiply("L", "N", factors, tau, padded.numpy(), -1)[1][0])
        result, _, failed = multiply("L", "N", factors, tau, padded.numpy(), size, overwrite_c=1)
        assert not failed, "LAPACK's ormqr refused its arguments"
        return torch.from_numpy(result)
