"""Adding concept vectors to what the blocks of a transformer put out, for as long as wanted."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from torch import Tensor, nn

from ..validation import integer
from .block_outputs import hidden_state, with_hidden_state
from .blocks import chosen_blocks
from .concept_vectors import Vectors, concepts, placed_vector, scaled_vector
from .eager_runs import eagerly


class Steering:
    """Context in which ε·v_ℓ is added to the output of each chosen block ℓ, at every token.

    In half precision the sum is that of the block's dtype: ε·v is rounded to it first. Gradients
    flow through, also into vectors that require them. If a block returns a tuple, list, dict or
    dataclass, the first tensor in it is steered and the rest kept. Hooks of the user's own, and
    those with which a framework records hidden states, are called afterwards and see the steered
    output. Key-value caches hold what steered blocks made of the tokens, so a cache filled inside
    should not be used outside.

    However the context ends, no hook is left. Where ε·v is zero no hook is set at all, so that
    with coefficient 0 outputs are those of the bare model, bit by bit. Contexts may be nested:
    their shifts add up; one `Steering` can be used again, but not while it is active. Hooks belong
    to the model, so all threads that use it are steered. A block that is called several times in
    a forward pass is steered each time; under gradient checkpointing the backward pass calls it
    again and must run inside too. Compiled models run eagerly while the context lasts, and nothing
    may be compiled in it. A copy of the model made inside is steered until the context ends.

    Args:
        model: Any module whose blocks return (…, d).
        vectors: Vectors by layer, the layers being names as in `model.named_modules()` or numbers
            of blocks (see `block_stack`): shape (d,), or (k, d) of which one is taken. Arrays take
            the dtype and device of the block; tensors must have them already. Several concepts at
            once: a sequence of such mappings, added up. They are read when the context is entered.
        coefficient: ε, of either sign; for several concepts one for each of them, or one for all.
        component: Which of k vectors, the first by default.

    Raises:
        TypeError: If the model is no module, or vectors, their dtype or coefficients do not fit.
        ValueError: If there is no such layer, a vector's shape or device does not fit, or its
            entries are NaN, infinite or too large for the block's dtype.
    """

    def __init__(
        self,
        model: nn.Module,
        vectors: Vectors | Sequence[Vectors],
        coefficient: float | Sequence[float] = 0.4,
        *,
        component: int = 0,
    ) -> None:
        self.model = model
        self.vectors = vectors
        self.coefficient = coefficient
        self.component = integer("component", component, 0)
        self._active: ExitStack | None = None
        self._shifts()

    def __enter__(self) -> Self:
        """Hook the blocks.

        Raises:
            RuntimeError: If the context is active already.
        """
        if self._active is not None:
            raise RuntimeError("this Steering is active already: make another one to nest them")
        shifts = self._shifts()
        self._active = ExitStack()
        try:
            self._active.enter_context(eagerly())
            for shift in shifts:
                # before the hook is there, so that no interruption finds it without a remover
                self._active.callback(shift.remove)
                shift.module.register_forward_hook(shift, prepend=True)
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take the hooks off."""
        self._leave()

    def _leave(self) -> None:
        active, self._active = self._active, None
        if active is not None:
            active.close()

    def _shifts(self) -> list[_Shift]:
        """Those that are not zero, a block's own being the sum over the concepts."""
        found: dict[nn.Module, _Shift] = {}
        for vectors, coefficient in concepts(self.vectors, self.coefficient):
            modules = chosen_blocks(self.model, list(vectors))
            for values, (name, module) in zip(vectors.values(), modules.items(), strict=True):
                v = placed_vector(name, values, self.component, module, self.model)
                shift = scaled_vector(name, coefficient, v)
                if module in found:
                    found[module].add(shift)
                else:
                    found[module] = _Shift(name, module, shift)
        return [shift for shift in found.values() if bool((shift.value != 0).any())]


class _Shift:
    """Forward hook that adds a vector to one block's hidden state."""

    def __init__(self, name: str, module: nn.Module, value: Tensor) -> None:
        self.name = name
        self.module = module
        self.value = value
        self._removed = False

    def add(self, other: Tensor) -> None:
        if other.shape != self.value.shape:
            raise ValueError(
                f"vectors of layer {self.name!r} have {len(self.value)} and {len(other)} entries"
            )
        self.value = self.value + other

    def __call__(self, _: nn.Module, __: Any, output: Any) -> Any:
        if self._removed:
            return None
        state = hidden_state(output, self.name)
        if state.ndim == 0 or state.shape[-1] != len(self.value):
            raise ValueError(
                f"layer {self.name!r} puts out shape {tuple(state.shape)}, its vector has "
                f"{len(self.value)} entries"
            )
        # Under autocast a block's output has another dtype than its parameters.
        shift = self.value.to(device=state.device, dtype=state.dtype)
        return with_hidden_state(output, state + shift)

    def remove(self) -> None:
        self._removed = True
        hooks = self.module._forward_hooks
        for key in [key for key, hook in hooks.items() if hook is self]:
            del hooks[key]

    def __deepcopy__(self, _: dict[int, Any]) -> _Shift:
        return self

    def __reduce__(self) -> Any:
        raise TypeError(f"layer {self.name!r} is being steered: leave the context, then save")
