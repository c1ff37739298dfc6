"""The claims of the alignment slice."""

from ...claim import Claim

CLAIMS: tuple[Claim, ...] = ()
