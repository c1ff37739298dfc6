"""Cholesky factorisation beside a triangle that must stay, against the definition."""

from __future__ import annotations

import pytest
import torch

from numerics.rfm import cholesky
from numerics.rfm.cholesky import factorise_, substitute


def definite(n: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(n)
    A = torch.randn(n, 2 * n, generator=rng, dtype=torch.float64)
    return A @ A.T / n


@pytest.mark.parametrize("n", [1, 2, 9, 10, 31])
@pytest.mark.parametrize("side", [1, 10, 64])
def test_factor_and_solution(n, side, monkeypatch):
    monkeypatch.setattr(cholesky, "SIDE", side)
    A, marks = definite(n), torch.full((n, n), torch.nan, dtype=torch.float64).triu(1)
    store = A.tril() + marks
    assert factorise_(store)
    L = store.tril()
    assert torch.isnan(store.triu(1)[marks.isnan()]).all()
    assert (L @ L.T - A).abs().max() < 1e-13 * A.abs().max()
    assert (L.diagonal() > 0).all()
    y = torch.arange(2.0 * n, dtype=torch.float64).reshape(n, 2)
    assert torch.allclose(A @ substitute(store, y), y, atol=1e-9)


@pytest.mark.parametrize("row", [0, 4, 9])
def test_what_is_not_positive_definite_is_told(row, monkeypatch):
    monkeypatch.setattr(cholesky, "SIDE", 4)
    A = definite(10)
    A[row, row] = -1
    assert not factorise_(A)
