"""Linear networks and FACT: what the conserved quantities of gradient flow make of NFM and AGOP."""

from ...claim import Claim
from .linear_balanced import BALANCED_CLAIM
from .linear_decay import WEIGHT_DECAY_CLAIM
from .linear_fact import FACT_CLAIM
from .linear_modes import MODES_CLAIM

CLAIMS: tuple[Claim, ...] = (BALANCED_CLAIM, WEIGHT_DECAY_CLAIM, MODES_CLAIM, FACT_CLAIM)
