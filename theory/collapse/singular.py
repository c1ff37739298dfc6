r"""A layer's singular structure: which of its parts can change NC1 and NC2.

With W = USVᵀ, UᵀU = I, the pre-activations WX + b1ᵀ and the features SVᵀX have the same distances,
hence the same NC1 and NC2, and so have NFM^{1/2}X = (WᵀW)^{1/2}X. U and the bias b have no effect
before the nonlinearity (they do have one on what it makes of WX). It takes the columns of U to be
orthonormal, and nothing of S and V.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import sympy
from numpy.typing import ArrayLike

from ..arrays import RealArray, finite_array
from ..derivation import Derivation, Step
from ..matrix_words import matrices, reduced

_T = sympy.transpose
LEFT, SINGULAR, RIGHT, FEATURES = matrices("U S V X")

PREACTIVATIONS = LEFT * SINGULAR * _T(RIGHT) * FEATURES
"""WX."""

INVARIANT = SINGULAR * _T(RIGHT) * FEATURES
"""SVᵀX: what the nonlinearity's input owes to S and V alone."""

NFM = RIGHT * SINGULAR**2 * _T(RIGHT)
"""WᵀW."""


def singular_features(weights: ArrayLike, features: ArrayLike) -> RealArray:
    """Return SVᵀX, shape (r, N), r = min(k, d), for W = USVᵀ.

    Args:
        weights: W, shape (k, d).
        features: X, shape (d, N), a column for each sample.

    Raises:
        TypeError: If entries are not real numbers.
        ValueError: If shapes do not fit, or an entry is NaN or infinite.

    Source: paper B.

    Example:
        >>> np.abs(singular_features([[0.0, 2.0], [1.0, 0.0]], [[3.0], [5.0]]))
        array([[10.],
               [ 3.]])
    """
    W, X = finite_array("weights", weights), finite_array("features", features)
    if W.ndim != 2 or X.ndim != 2 or W.shape[1] != X.shape[0]:
        raise ValueError(
            f"weights have shape {W.shape}, features {X.shape}; (k, d) and (d, N) are allowed"
        )
    _, singular, right = np.linalg.svd(W, full_matrices=False)
    return np.asarray(singular[:, np.newaxis] * (right @ X))


# --- derivation -------------------------------------------------------------------------------

_RULES = {
    _T(LEFT) * LEFT: sympy.Integer(1),
    _T(RIGHT) * RIGHT: sympy.Integer(1),
    _T(SINGULAR): SINGULAR,
}


def _gram(word: sympy.Expr) -> sympy.Expr:
    return reduced(_T(word) * word, _RULES)


def _gram_residual(invariant: sympy.Expr) -> sympy.Expr:
    return sympy.expand(_gram(PREACTIVATIONS) - _gram(invariant))


def _nfm_residual(nfm: sympy.Expr) -> sympy.Expr:
    """(WᵀW)^{1/2} is symmetric, so that the Gram matrix of (WᵀW)^{1/2}X is XᵀWᵀWX."""
    W = LEFT * SINGULAR * _T(RIGHT)
    return sympy.expand(reduced(_T(FEATURES) * (_T(W) * W - nfm) * FEATURES, _RULES))


def _root_residual() -> sympy.Expr:
    """VSVᵀ is the root of the NFM for S ⪰ 0."""
    root = RIGHT * SINGULAR * _T(RIGHT)
    return sympy.expand(reduced(root * root - NFM, _RULES))


def derive_invariance(
    invariant: sympy.Expr = INVARIANT,
    nfm: sympy.Expr = NFM,
) -> Derivation:
    """Derive that WX, SVᵀX and NFM^{1/2}X have one Gram matrix, for all sizes.

    Args:
        invariant: In ``SINGULAR``, ``RIGHT`` and ``FEATURES``, to compare with.
        nfm: WᵀW, to compare with.

    Source: paper B.
    """
    steps = (
        Step("VSVᵀ squared is VS²Vᵀ.", _root_residual),
        Step("NFM^{1/2}X has the Gram matrix XᵀWᵀWX.", partial(_nfm_residual, nfm)),
        Step("UᵀU = 1: so has SVᵀX.", partial(_gram_residual, invariant)),
    )
    cites = ("NC1 and NC2 are functions of the Gram matrix (collapse.metrics)",)
    return Derivation("NC1(SVᵀX) = NC1(WX), and NC2 likewise.", steps, cites)
