"""The claims of the package, slice by slice.

Every slice is a module (or a package) here that exposes `CLAIMS: tuple[Claim, ...]`. Slices whose
module is not written yet are left out; everything else that does not fit is an error.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec

from ..claim import Claim

SLICES = ("ridgeless", "alignment", "rfm", "convolution", "collapse", "concepts")
"""The slices, in the order in which the papers build on each other."""


def load() -> Mapping[str, Claim]:
    """All claims by id, in the order of the slices.

    Raises:
        ValueError: An id occurs twice, lies in a foreign slice, or uses an unknown claim.
    """
    written = [name for name in SLICES if find_spec(f"{__name__}.{name}") is not None]
    return collect({name: import_module(f"{__name__}.{name}").CLAIMS for name in written})


def collect(slices: Mapping[str, Iterable[Claim]]) -> Mapping[str, Claim]:
    """Join the claims of several slices and check that they fit together."""
    claims: dict[str, Claim] = {}
    for name, members in slices.items():
        for claim in members:
            if claim.slice != name:
                raise ValueError(f"{claim.id} is listed in the slice {name!r}")
            if claim.id in claims:
                raise ValueError(f"the id {claim.id} occurs twice")
            claims[claim.id] = claim
    for claim in claims.values():
        supports(claim.id, claims)
    return claims


def supports(start: str, claims: Mapping[str, Claim]) -> tuple[str, ...]:
    """Ids of all claims on which one claim rests, directly or not, sorted.

    Raises:
        ValueError: A claim uses an unknown one, or rests on itself.
    """
    found: set[str] = set()
    waiting = [start]
    while waiting:
        current = waiting.pop()
        for used in claims[current].uses:
            if used not in claims:
                raise ValueError(f"{current} uses the unknown claim {used!r}")
            if used == start:
                raise ValueError(f"{start} rests on itself, through {current}")
            if used not in found:
                found.add(used)
                waiting.append(used)
    return tuple(sorted(found))


def select(claims: Mapping[str, Claim], names: Sequence[str]) -> tuple[str, ...]:
    """Ids meant by a list of ids and slices, in the ledger's order; all of them if it is empty.

    Raises:
        KeyError: A name is neither an id nor a slice; the message suggests close matches.
    """
    known = {*claims, *(claim.slice for claim in claims.values())}
    for name in names:
        if name not in known:
            raise KeyError(unknown_name(name, sorted(known)))
    wanted = set(names)
    return tuple(i for i, claim in claims.items() if not names or {i, claim.slice} & wanted)


def unknown_name(name: str, known: Sequence[str]) -> str:
    """A message that refuses a name and suggests the nearest ones."""
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(known)}"
    return f"there is no claim or slice {name!r}; {hint}"
