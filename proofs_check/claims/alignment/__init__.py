"""Papers C, T and FACT's slice: why and how fast weights align with the gradients' covariance."""

from . import bounds, early, linear, moments, trained, wide

CLAIMS = (
    *early.CLAIMS,
    *moments.CLAIMS,
    *wide.CLAIMS,
    *bounds.CLAIMS,
    *linear.CLAIMS,
    *trained.CLAIMS,
)
