"""Corners of the recursive feature machine: repeated rows, extreme scales, odd parameters."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from numerics import agop
from numerics.rfm import RFMRegressor
from numerics.rfm.kernels import kernel_by_name


def sample(n=120, d=5, seed=0):
    X = np.random.default_rng(seed).standard_normal((n, d))
    return X, X[:, 0] * X[:, 1]


def apart(one, other):
    return np.linalg.norm(one - other) / np.linalg.norm(other)


# Rows that repeat: what a matrix product makes of equal rows depends on where they stand.


def laplace_agop(machine, rows):
    """From the definition: terms of equal points are left out."""
    X, Z, M = machine.centres[rows], machine.centres, machine.metric.M
    u = X[:, None] - Z[None]
    r = torch.einsum("abi,ij,abj->ab", u, M, u).sqrt()
    L = machine.kernel.bandwidth
    weights = torch.where(r > 0, -torch.exp(-r / L) / (L * r), 0.0)
    gradients = torch.einsum("ab,abi,b->ai", weights, u @ M, machine.alpha[:, 0])
    return (gradients.T @ gradients / len(gradients)).numpy()


def test_repeated_rows_have_no_gradient_at_each_other_in_any_round():
    X, y = sample(301, 30)
    again = np.concatenate([np.arange(301), np.arange(150), np.arange(7)])
    model = RFMRegressor(rounds=1).fit(X[again], y[again])
    assert apart(model.agop_, laplace_agop(model.machine_, slice(None))) < 1e-9


@pytest.mark.parametrize("rows", [[3], [0, 5, 9], list(range(7)), list(range(300, -1, -1))])
def test_the_agop_at_some_of_the_training_points(rows):
    X, y = sample(301, 30)
    model = RFMRegressor(rounds=2).fit(X, y)
    assert apart(agop(model, X[rows]), laplace_agop(model.machine_, rows)) < 1e-9


def test_kernels_of_p_norms_know_equal_points_under_a_full_metric():
    kernel = kernel_by_name("generalised", 3.0, norm=1.0, power=0.7)
    factor, Z = (torch.from_numpy(sample(n, 101, seed)[0]) for n, seed in ((101, 1), (40, 2)))
    alpha, M = torch.from_numpy(sample(40, 2, 3)[1][:, None]), factor.T @ factor / 101
    M = (M + M.T) / 2
    found = kernel.gradients(alpha, Z[:3], Z, M)
    wanted = kernel.gradients(alpha, Z[:3], Z, M, torch.arange(3))
    assert apart(found, wanted) < 1e-9
