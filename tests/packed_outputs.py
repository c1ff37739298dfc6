"""The forms in which blocks of networks pack their outputs."""

import dataclasses
from collections import OrderedDict, namedtuple

import torch

Named = namedtuple("Named", ["number", "state", "rest"])


@dataclasses.dataclass(frozen=True)
class Frozen:
    number: int
    state: torch.Tensor
    rest: str = "rest"


PACKED = {
    "tensor": lambda h: h,
    "tuple": lambda h: (h, None, "rest"),
    "late": lambda h: (None, h, h + 1),
    "list": lambda h: [h, 1],
    "named": lambda h: Named(1, h, h + 1),
    "dict": lambda h: {"number": 1, "state": h},
    "ordered": lambda h: OrderedDict(state=h, rest=None),
    "dataclass": lambda h: Frozen(1, h),
}
