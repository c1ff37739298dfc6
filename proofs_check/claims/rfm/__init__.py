"""Papers E, L and G's slice: AGOP and recursive feature machines."""

from . import fixed_points, grokking, kernels, population, trained

CLAIMS = (
    *kernels.CLAIMS,
    *population.CLAIMS,
    *fixed_points.CLAIMS,
    *grokking.CLAIMS,
    *trained.CLAIMS,
)
