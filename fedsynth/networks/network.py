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
    """What a stage of a generator is for. Methods choose what travels by role and depth, never by a tensor's name.

    Example:
        >>> from fedsynth.networks.unet import UNet
        >>> generator = UNet(width=2, pools=1).generator(Columns(sites=2, contrasts=3))
        >>> [stage.role.name for stage in generator.stages()]
        ['encoder', 'bottleneck', 'decoder', 'head']
    """

    encoder = "encoder"
    bottleneck = "bottleneck"
    decoder = "decoder"
    head = "head"
    conditioning = "conditioning"


class Stage(NamedTuple):
    """A part of a generator that runs as one.

    Args:
        role: What the stage is for.
        module: The module that holds its parameters and buffers.

    Example:
        >>> stage = Stage(Role.head, nn.Conv2d(4, 1, kernel_size=1))
        >>> stage.role.name, sum(parameter.numel() for parameter in stage.module.parameters())
        ('head', 5)
    """

    role: Role
    module: nn.Module


class Generator(nn.Module, ABC):
    """Synthesises the target contrast of a slice from its source contrast, or from several.

    Example:
        >>> import torch
        >>> from fedsynth.networks.resnet import ResNet
        >>> columns = Columns(sites=2, contrasts=3)
        >>> generator = ResNet(width=2, blocks=1).generator(columns)
        >>> tuple(generator(torch.zeros(4, 1, 32, 32), torch.zeros(4, columns.length)).shape)
        (4, 1, 32, 32)
    """

    @abstractmethod
    def forward(self, source: Tensor, code: Tensor) -> Tensor:
        """The target contrast of a batch of slices.

        Args:
            source: The source contrasts, `[B, columns.channels, H, W]` in [-1, 1] (`Batch.source`).
            code: One-hots of site, sources and target, `[B, columns.length]`, which a network may ignore.

        Returns:
            The synthetic target, `[B, 1, H, W]` in [-1, 1].

        Raises:
            ValueError: The network cannot process images of this size.
        """

    @abstractmethod
    def stages(self) -> list[Stage]:
        """The generator's parts.

        Returns:
            The stages in the order in which they run. Every parameter and buffer lies in exactly one. Modules that read the
            code are stages of their own, with the role `conditioning`, listed after the stage that they follow.
        """


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
    """An architecture: it makes generators and discriminators.

    A subclass is a dataclass that defines `generator`; its fields are its options (int, float, bool, str, Enum, Optional, list).
    Weights are drawn from torch's default generator inside `generator` and `discriminator`; the trainer seeds it. If a
    generator reads the code, a mapper makes a latent of it, and blocks shape the feature maps by the latent (conditioning.py).

    Raises:
        ValueError: A size is below 1, or the network reads the code and neither `adain` nor `gate` uses it.

    Example:
        >>> from fedsynth.networks.unet import UNet
        >>> network = UNet(width=4, condition=Condition.task)
        >>> roles = [stage.role for stage in network.generator(Columns(sites=2, contrasts=3)).stages()]
        >>> roles.count(Role.conditioning)  # the mapper, and a block for each of 9 stages
        10
    """

    mapper_layers: ClassVar[int] = 6  # of the mapper, as in pFLSynth's released code
    width: int = 64  # channels at full resolution
    norm: Norm = Norm.instance  # how feature maps are normalised
    discriminator_width: int = 64  # channels of the discriminator's first layer
    discriminator_layers: int = 3  # layers of stride 2 in the discriminator
    condition: Condition = Condition.none  # what of the code the generator reads
    latent: int = 512  # numbers that the mapper makes of the code
    adain: bool = True  # whether the latent sets the mean and standard deviation of feature maps
    gate: bool = True  # whether the latent scales feature maps
    init: Init = Init.designed  # how the linear layers that carry the latent start

    def __post_init__(self) -> None:
        self.at_least_one("width", "discriminator_width", "discriminator_layers", "latent")
        if self.condition is not Condition.none and not (self.adain or self.gate):
            raise ValueError(
                "network.adain and network.gate are both off: then nothing reads the code; set network.condition=none"
            )

    def at_least_one(self, *options: str) -> None:
        """Check options of these names.

        Raises:
            ValueError: One of them is below 1.
        """
        for option in options:
            if (value := getattr(self, option)) < 1:
                raise ValueError(f"network.{option} is {value}; it must be at least 1")

    @abstractmethod
    def generator(self, columns: Columns) -> Generator:
        """A new generator.

        Args:
            columns: The columns of the code, which also say how many channels the source has.

        Returns:
            The generator, whose weights were drawn from torch's default generator.
        """

    def conditioning(self, columns: Columns, channels: Sequence[int]) -> Conditioning | None:
        """What lets a generator read the code.

        Args:
            columns: The columns of the code.
            channels: The numbers of channels that the first stages give out, in order.

        Returns:
            A mapper and a personalisation block for each of these stages; None if the network does not read the code.
        """
        if self.condition is Condition.none:
            return None
        mapper = Mapper(self.condition.read(columns), self.latent, self.mapper_layers)
        return conditioning(mapper, channels, self.adain, self.gate, self.init)

    def discriminator(self, sources: int = 1) -> nn.Module:
        """A new discriminator of pairs.

        Args:
            sources: The number of channels of the source.

        Returns:
            A module with `forward(source, image)`, which gives one unbounded score for each patch.
        """
        return PatchGAN(self.discriminator_width, self.discriminator_layers, self.norm, sources)
