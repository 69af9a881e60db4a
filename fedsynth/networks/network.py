"""What an architecture offers to a method: a generator whose stages say where each tensor lies, and a discriminator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from torch import Tensor, nn

from .blocks import Norm
from .discriminator import PatchGAN

__all__ = ["Generator", "Network", "Norm", "Role", "Stage", "check_stages"]


class Role(Enum):
    """What a stage of a generator is for. Methods choose what travels by role and depth, never by a tensor's name."""

    encoder = "encoder"
    bottleneck = "bottleneck"
    decoder = "decoder"
    head = "head"
    conditioning = "conditioning"


class Stage(NamedTuple):
    """A part of a generator that is run as one."""

    role: Role
    module: nn.Module


class Generator(nn.Module, ABC):
    """Synthesises the target contrast of a slice from its source contrast."""

    @abstractmethod
    def forward(self, source: Tensor, code: Tensor) -> Tensor:
        """`source` `[B, 1, H, W]` in [-1, 1] and `code` `[B, code_length]` (site, source and target one-hots, which a
        network may ignore) to the target `[B, 1, H, W]` in [-1, 1]."""

    @abstractmethod
    def stages(self) -> list[Stage]:
        """The stages in forward order. Every parameter and buffer lies in exactly one. Modules that read the code are
        stages of their own, with the role `conditioning`, listed after the stage that they follow."""


def check_stages(generator: Generator) -> None:
    """Raise ValueError unless every parameter and buffer lies in exactly one stage and the stages hold nothing else."""
    where: dict[int, list[int]] = {}
    for index, stage in enumerate(generator.stages()):
        for key in {id(tensor) for tensor in (*stage.module.parameters(), *stage.module.buffers())}:
            where.setdefault(key, []).append(index)
    for name, tensor in (*generator.named_parameters(), *generator.named_buffers()):
        indices = where.pop(id(tensor), [])
        if len(indices) != 1:
            raise ValueError(
                f"{type(generator).__name__}: {name} lies in {len(indices)} stages {indices}; every parameter and buffer "
                "must lie in exactly one of stages()"
            )
    if where:
        foreign = sorted({index for indices in where.values() for index in indices})
        raise ValueError(
            f"{type(generator).__name__}: stages {foreign} hold tensors that are not the generator's; register their "
            "modules in it"
        )


@dataclass
class Network(ABC):
    """An architecture. A subclass is a dataclass; its fields are its options (int, float, bool, str, Enum, Optional, list).

    Weights are drawn from torch's default generator inside `generator` and `discriminator`; the trainer seeds it.
    """

    width: int = 64  # channels at full resolution
    norm: Norm = Norm.instance
    discriminator_width: int = 64
    discriminator_layers: int = 3  # of stride 2

    def __post_init__(self) -> None:
        self.at_least_one("width", "discriminator_width", "discriminator_layers")

    def at_least_one(self, *options: str) -> None:
        """Raise ValueError for an option below 1."""
        for option in options:
            if (value := getattr(self, option)) < 1:
                raise ValueError(f"network.{option} is {value}; it must be at least 1")

    @abstractmethod
    def generator(self, code_length: int) -> Generator:
        """A new generator, for codes of this length."""

    def discriminator(self) -> nn.Module:
        """A new discriminator of pairs, `forward(source, image)`, with one unbounded score a patch."""
        return PatchGAN(self.discriminator_width, self.discriminator_layers, self.norm)
