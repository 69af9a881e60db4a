"""How many floating-point operations a piece of work has: counted from the shapes of its tensors, not measured."""

from __future__ import annotations

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class FlopCounter(TorchDispatchMode):
    """Inside, `total` sums the operations of all convolutions and matrix products, by torch's own formulas.

    torch's FlopCounterMode gives the same number, but it also attributes it to modules and tries to decompose every other
    operation, which makes a local step three times as long.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        result = func(*args, **given)
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **given, out_val=result)
        return result
