"""The claims on wide networks."""

from ...claim import Claim
from .wide_dimension import HIGH_DIMENSION
from .wide_infinite import INFINITE_WIDTH

CLAIMS: tuple[Claim, ...] = (INFINITE_WIDTH, HIGH_DIMENSION)
