"""Gradients and AGOP of kernel machines, and where they are of rank one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from theory.rfm import kernel_profiles as profiles
from theory.rfm.machine_gradients import kernel_agop, kernel_gradients

from ...claim import Claim, Hypothesis, Mutant
from ...legs import derivation_leg, digits_leg
from .kernel_legs import (
    FACTORS,
    READ_PROFILES,
    central,
    derivation,
    doubles,
    machines,
    values,
)
from .rank_one import LINEAR_RANK_ONE, ONE_STEP

Function = Callable[..., Any]


def _without_metric(function: Function) -> Function:
    def wrong(*args: Any, bandwidth: float, metric: Any) -> Any:
        return function(*args, bandwidth=bandwidth, metric=None)

    return wrong


def _rooted_bandwidth(function: Function) -> Function:
    def wrong(*args: Any, bandwidth: float, metric: Any) -> Any:
        return function(*args, bandwidth=bandwidth**0.5, metric=metric)

    return wrong


def _reflected(*args: Any, **kwargs: Any) -> Any:
    return -kernel_gradients(*args, **kwargs)


def _inputs_summed(*args: Any, **kwargs: Any) -> Any:
    return kernel_agop(*args, **kwargs) * len(args[3])


def _outputs_averaged(kernel: Any, X: Any, alpha: Any, Z: Any, **kwargs: Any) -> Any:
    return kernel_agop(kernel, X, alpha, Z, **kwargs) / alpha.shape[1]


def _outputs_added_first(*args: Any, **kwargs: Any) -> Any:
    G = kernel_gradients(*args, **kwargs).sum(axis=1)
    return G.T @ G / len(G)


def _of_the_mean(*args: Any, **kwargs: Any) -> Any:
    G = kernel_gradients(*args, **kwargs).mean(axis=0)
    return np.asarray(G.T @ G)


GRADIENT = Claim(
    id="rfm.gradient",
    title="gradients of kernel machines",
    statement=(
        r"f_c(x) = \sum_i \alpha_{ic} k_M(x, x_i):\ "
        r"\nabla f_c = \frac{1}{L^2} \sum_i \alpha_{ic}\, \omega(\rho_i)\, M(x - x_i)"
        r" \text{ for } k = \varphi(\rho),\ \rho = \|x - z\|_M/L,\ \omega = \varphi'(\rho)/\rho;\ "
        r"\nabla f_c = \frac{1}{L^2} \sum_i \alpha_{ic}\, g'(\tau_i)\, M x_i"
        r" \text{ for } k = g(\tau),\ \tau = x^\top M z/L^2;\ "
        r"\mathrm{AGOP} = M \Big(\frac1q \sum_{x,c} u_c u_c^\top\Big) M \text{ for "
        r"} \nabla f_c = M u_c;\ K_{cM, L} = K_{M, L/\sqrt c}"
    ),
    source="E, here",
    hypotheses=(
        Hypothesis("M symmetric positive semidefinite, L > 0, c > 0"),
        Hypothesis(
            "Laplace: where the α of the centres at distance ρ = 0 (for singular M not only those "
            "in the same place) do not cancel, no gradient exists; the formula, with their terms "
            "0, is the central difference in every direction"
        ),
    ),
    formulas={
        "prefactor": profiles.PREFACTOR,
        "kink": profiles.KINK,
        "scaled_bandwidth": profiles.SCALED_BANDWIDTH,
        **{f"{name}.weight": k.weight for name, k in profiles.RADIAL.items()},
        **{f"{name}.slope": k.slope for name, k in profiles.INNER_PRODUCTS.items()},
        "polynomial.slope": profiles.POLYNOMIAL_SLOPE,
        **{f"{name}.profile": k.profile for name, k in profiles.RADIAL.items()},
        **{f"{name}.profile": k.profile for name, k in profiles.INNER_PRODUCTS.items()},
        "polynomial.profile": profiles.POLYNOMIAL,
        "gradients": kernel_gradients,
        "agop": kernel_agop,
    },
    legs=(
        derivation_leg(
            "chain rule",
            derivation,
            ("prefactor", "kink", "scaled_bandwidth", *FACTORS, *READ_PROFILES),
            whole=True,
        ),
        digits_leg("central differences", central, ("prefactor", *FACTORS), 50),
        digits_leg("definitions", values, ("kink", "scaled_bandwidth", *READ_PROFILES), 50),
        digits_leg("library functions", doubles, ("gradients", "agop"), 11),
        digits_leg("automatic differentiation", machines, ("gradients", "agop"), 11),
    ),
    mutants=(
        Mutant("M left out", {"gradients": _without_metric(kernel_gradients)}),
        Mutant("M left out of the AGOP", {"agop": _without_metric(kernel_agop)}),
        Mutant("√L for L", {"gradients": _rooted_bandwidth(kernel_gradients)}),
        Mutant("towards the centres", {"gradients": _reflected}),
        Mutant("AGOP summed over the inputs", {"agop": _inputs_summed}),
        Mutant("AGOP averaged over the outputs", {"agop": _outputs_averaged}),
        Mutant("outputs added before squaring", {"agop": _outputs_added_first}),
        Mutant("outer product of the mean gradient", {"agop": _of_the_mean}),
    ),
    notes=(
        "At a training point the Laplace machine has the one-sided slopes ∓α_i ‖v‖_M/L along v "
        "from its own term: 'the self term is 0' is the mean of the two, the centre of the term's "
        "super- or subdifferential, no gradient. Gaussian and Matérn kernels are differentiable "
        "there, with gradient 0. The scaling identity holds for every kernel of ρ or τ, and for "
        "the gradients, too."
    ),
)

CLAIMS = (GRADIENT, ONE_STEP, LINEAR_RANK_ONE)
