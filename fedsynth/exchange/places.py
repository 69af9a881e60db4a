"""Where each parameter and buffer of the nets sits: all that a method may ask when it decides what travels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from ..networks.network import Generator, Role


@dataclass(frozen=True, eq=False)
class Place:
    """Where a parameter or buffer sits: all that a method may ask when it decides what travels.

    Args:
        path: Its dotted name in the nets.
        net: The top-level name: "generator", "discriminators", or that of a net of the method's own.
        task: The task of a discriminator, as text; None elsewhere.
        role: Of its stage of the generator; None outside a generator.
        index: Which stage of that role it is, from 1 to `count`.
        count: How many stages of that role there are.
        depth: The position of its stage among all that are not conditioning, from 0 to 1; a conditioning stage has the depth of
            the stage that it follows.
        owner: The module that has it.
        ancestors: The modules around the owner, the outermost first.
        is_buffer: Whether it is a buffer.

    Example:
        >>> nets = nn.ModuleDict({"generator": nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))})
        >>> [place.path for place, _ in places(nets) if place.within(nn.BatchNorm2d) and not place.is_buffer]
        ['generator.1.weight', 'generator.1.bias']
    """

    path: str
    net: str
    task: str | None
    role: Role | None
    index: int
    count: int
    depth: float
    owner: nn.Module
    ancestors: tuple[nn.Module, ...]
    is_buffer: bool

    def within(self, *types: type[nn.Module]) -> bool:
        """Whether the owner or a module around it is of one of these types."""
        return isinstance(self.owner, types) or any(isinstance(module, types) for module in self.ancestors)


def leaves(nets: nn.ModuleDict, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The nets of a (nested) ModuleDict with their dotted names."""
    for name, net in nets.items():
        if isinstance(net, nn.ModuleDict):
            yield from leaves(net, f"{prefix}{name}.")
        else:
            yield prefix + name, net


_Position = tuple[Role | None, int, int, float]  # role, index, count, depth of a Place
_NOWHERE: _Position = (None, 0, 0, 0.0)


def _positions(generator: Generator) -> dict[int, _Position]:
    """id of each module in a stage -> its position."""
    stages = generator.stages()
    backbone = sum(role is not Role.conditioning for role, _ in stages)
    positions: dict[int, _Position] = {}
    seen, passed = dict.fromkeys(Role, 0), 0
    for role, module in stages:
        seen[role] += 1
        passed += role is not Role.conditioning
        count = sum(other is role for other, _ in stages)
        position = (role, seen[role], count, max(passed - 1, 0) / max(backbone - 1, 1))
        positions |= dict.fromkeys(map(id, module.modules()), position)
    return positions


def places(nets: nn.ModuleDict) -> list[tuple[Place, Tensor]]:
    """Every parameter and buffer of a floating type with its place, in the order of the modules."""
    found: list[tuple[Place, Tensor]] = []
    for leaf, net in leaves(nets):
        top, *_, last = leaf.split(".") * 2
        task = last if "->" in last else None
        positions = _positions(net) if isinstance(net, Generator) else {}
        modules = dict(net.named_modules())
        for path, owner in modules.items():
            steps = path.split(".") if path else []
            around = tuple(modules[".".join(steps[:depth])] for depth in range(len(steps)))
            tensors = [(name, tensor, False) for name, tensor in owner.named_parameters(recurse=False)]
            tensors += [(name, tensor, True) for name, tensor in owner.named_buffers(recurse=False)]
            for name, tensor, is_buffer in tensors:
                if tensor.is_floating_point():
                    full = ".".join([leaf, *steps, name])
                    position = positions.get(id(owner), _NOWHERE)
                    found.append((Place(full, top, task, *position, owner, around, is_buffer), tensor))
    return found
