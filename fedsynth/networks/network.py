"""What an architecture offers to a method: a generator whose stages say where each tensor lies, and a discriminator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from ..federation import Columns
from .blocks import Norm
from .conditioning import Condition, Conditioning, Init, Mapper, conditioning
from .discriminator import PatchGAN

__all__ = ["Condition", "Generator", "Init", "Network", "Norm", "Role", "Stage", "check_stages"]


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
    """Synthesises the target contrast of a slice from its source contrast, or from several."""

    @abstractmethod
    def forward(self, source: Tensor, code: Tensor) -> Tensor:
        """`source` `[B, columns.channels, H, W]` in [-1, 1] (`Batch.source`) and `code` `[B, columns.length]` (site, sources and
        target, which a network may ignore) to the target `[B, 1, H, W]` in [-1, 1]."""

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

    `condition`: what of the code the generator reads; if anything, a mapper of `mapper_layers` layers makes a latent of it and
    blocks of `adain` and `gate` shape the feature maps (conditioning.py). Weights are drawn from torch's default generator
    inside `generator` and `discriminator`; the trainer seeds it.
    """

    mapper_layers: ClassVar[int] = 6
    width: int = 64  # channels at full resolution
    norm: Norm = Norm.instance
    discriminator_width: int = 64
    discriminator_layers: int = 3  # of stride 2
    condition: Condition = Condition.none
    latent: int = 512
    adain: bool = True
    gate: bool = True
    init: Init = Init.designed

    def __post_init__(self) -> None:
        self.at_least_one("width", "discriminator_width", "discriminator_layers", "latent")
        if self.condition is not Condition.none and not (self.adain or self.gate):
            raise ValueError(
                "network.adain and network.gate are both off: then nothing reads the code; set network.condition=none"
            )

    def at_least_one(self, *options: str) -> None:
        """Raise ValueError for an option below 1."""
        for option in options:
            if (value := getattr(self, option)) < 1:
                raise ValueError(f"network.{option} is {value}; it must be at least 1")

    @abstractmethod
    def generator(self, columns: Columns) -> Generator:
        """A new generator, for codes with these columns."""

    def conditioning(self, columns: Columns, channels: Sequence[int]) -> Conditioning | None:
        """A mapper and a block for each stage that gives out so many channels; None if the network does not read the code."""
        if self.condition is Condition.none:
            return None
        mapper = Mapper(self.condition.read(columns), self.latent, self.mapper_layers)
        return conditioning(mapper, channels, self.adain, self.gate, self.init)

    def discriminator(self, sources: int = 1) -> nn.Module:
        """A new discriminator of pairs, `forward(source, image)`, the source of so many channels, with one unbounded score a
        patch."""
        return PatchGAN(self.discriminator_width, self.discriminator_layers, self.norm, sources)
