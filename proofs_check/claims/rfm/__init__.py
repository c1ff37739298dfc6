"""Papers E, L and G's slice: AGOP and recursive feature machines."""

from ...claim import Claim

CLAIMS: tuple[Claim, ...] = ()
