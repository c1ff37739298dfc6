"""The claims of the concepts slice."""

from ...claim import Claim

CLAIMS: tuple[Claim, ...] = ()
