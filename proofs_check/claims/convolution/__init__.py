"""Paper D's slice: convolutional networks and recursive feature machines."""

from . import independent, kernels, one_step, symmetries, trained

CLAIMS = (
    *one_step.CLAIMS,
    *independent.CLAIMS,
    *kernels.CLAIMS,
    *symmetries.CLAIMS,
    *trained.CLAIMS,
)
