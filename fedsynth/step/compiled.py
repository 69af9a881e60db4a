"""Nets that run compiled in a local step. One code serves all sites of a run, and later runs find it on the disk.

What cannot be compiled runs as it is, and the record says why: a net with hooks, or with tensors in its parameters' places
(torch.func.functional_call). A net gives no gradient by its own parameters in a call whose input has a gradient, such as a
discriminator's of a generated image, unless some loss of such a step moves it: eager PyTorch leaves that part of the backward
pass out by itself, and a compiled backward pass would not.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..exchange import leaves
from ..networks.blocks import Noisy
from . import layers

CODES = 64  # that are kept: a net has one for each form of its inputs, whether it trains, and by what it has a gradient
FOLDER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fedsynth" / "compiled"
# Here, as torch names a folder in /tmp as soon as it counts operations:
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(FOLDER))


def run_net(net: nn.Module, *given: Tensor) -> Any:
    return net.forward(*given)


@functools.cache
def net_runner() -> Callable[..., Any]:
    """One for all nets, so that nets alike have one code. `dynamic=False`: shapes are fixed, and a loop over them is unrolled."""
    options: dict[str, Any] = {"cpp.enable_floating_point_contract_flag": "fast"}  # a product and a sum at a time
    if torch.backends.cpu.get_cpu_capability() == "AVX512":
        options["cpp.simdlen"] = 256  # eight lanes, as maps have eight channels: sixteen would be half empty
    found: Callable[..., Any] = torch.compile(  # type: ignore[call-overload]  # which lacks the limit, that torch documents
        run_net, dynamic=False, recompile_limit=CODES, options=options
    )
    return found


class CompiledNet:
    """What is called in a net's place: the compiled code while it is `at_work`, else the net.

    `learns`: whether its parameters get a gradient also where its input has one; `passed`: whether there was such a call;
    `eager`: why it ran as it is, or "".
    """

    def __init__(self, name: str, net: nn.Module, noise: torch.Generator) -> None:
        self.name, self.net, self.noise = name, net, noise
        self.at_work, self.learns, self.passed, self.eager = False, True, False, ""
        self.parameters = [parameter for parameter in net.parameters() if parameter.requires_grad]
        self.mixes = any(isinstance(module, nn.BatchNorm2d | Noisy) for module in net.modules())  # what a batch holds
        owned = [module.__dict__["_parameters"] for module in net.modules()]
        self._places = [(held, key, held[key]) for held in owned for key in held]
        kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
        self._hooks = [getattr(module, kind) for module in net.modules() for kind in kinds]
        layers.prepare(net)
        net._compiled_call_impl = self  # as nn.Module.compile sets it: torch leaves it out of copies

    def __call__(self, *given: Any, **named: Any) -> Any:
        passes = any(isinstance(value, Tensor) and value.requires_grad for value in given)
        self.passed |= passes
        if not self.at_work or not torch.is_grad_enabled() or not self._usual(given, named):
            return self.net._call_impl(*given, **named)
        layers.Noise.stream = self.noise
        frozen = self.parameters if passes and not self.learns else ()
        for parameter in frozen:
            parameter.requires_grad_(False)
        try:
            return net_runner()(self.net, *map(_plain, given))
        finally:
            for parameter in frozen:
                parameter.requires_grad_(True)

    def together(self, calls: Sequence[tuple[Tensor, ...]]) -> list[Tensor] | None:
        """What several calls give, from one batch; None where that is not the same, or where the calls do not run compiled."""
        inputs = [value for call in calls for value in call]
        if not self.at_work or self.mixes or any(self._hooks) or any(value.requires_grad for value in inputs):
            return None
        return list(self.net(*map(torch.cat, zip(*calls, strict=True))).split([len(call[0]) for call in calls]))

    def _usual(self, given: tuple[Any, ...], named: dict[str, Any]) -> bool:
        if any(self._hooks):
            self.eager = f"{self.name} has hooks"
        elif any(held.get(key) is not parameter for held, key, parameter in self._places):
            self.eager = f"{self.name} is called with other parameters"
        elif named or not all(isinstance(value, Tensor) for value in given):
            self.eager = f"{self.name} is called with more than tensors"
        else:
            return True
        return False


def together(net: Callable[..., Tensor], *calls: tuple[Tensor, ...]) -> list[Tensor]:
    """What a net gives for several calls whose inputs have no gradient; a compiled net takes them in one batch where it can."""
    compiled = getattr(net, "_compiled_call_impl", None)
    made = compiled.together(calls) if isinstance(compiled, CompiledNet) else None
    return made or [net(*call) for call in calls]


def _plain(value: Tensor) -> Tensor:
    """In single precision and laid out one way, so that all calls have one code."""
    return value.float().contiguous().view(-1).view(value.shape) if value.is_floating_point() else value


class CompiledNets:
    """The nets of a slot, which run as they are outside `at_work`."""

    def __init__(self, nets: nn.ModuleDict, noise: torch.Generator) -> None:
        self.nets = [CompiledNet(name, net, noise) for name, net in leaves(nets)]

    @contextmanager
    def at_work(self, learning: Collection[str]) -> Iterator[None]:
        """Inside, the nets run compiled; those named in `learning` give a gradient by their parameters in every call."""
        for net in self.nets:
            net.at_work, net.learns = True, net.name in learning
        try:
            yield
        finally:
            for net in self.nets:
                net.at_work = False

    def watch(self) -> None:
        """Forget which nets were called with an input that has a gradient."""
        for net in self.nets:
            net.passed = False

    def asked(self, parameters: Collection[Tensor]) -> set[str]:
        """Those of the nets that were called with an input that has a gradient and that hold some of these parameters."""
        ids = set(map(id, parameters))
        return {net.name for net in self.nets if net.passed and not ids.isdisjoint(map(id, net.parameters))}

    def eager(self) -> list[str]:
        """Why nets ran as they are, where they were to run compiled."""
        return [net.eager for net in self.nets if net.eager]
