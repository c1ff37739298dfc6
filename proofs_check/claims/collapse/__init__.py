"""Paper B's slice: the AGOP and deep neural collapse."""

from . import collapse_rate, equilibria, geometry, gram_recursion, kernels, trained

CLAIMS = (
    *gram_recursion.CLAIMS,
    *equilibria.CLAIMS,
    *collapse_rate.CLAIMS,
    *kernels.CLAIMS,
    *geometry.CLAIMS,
    *trained.CLAIMS,
)
