"""Restormer is a U-shaped transformer with attention between channels (Zamir et al., CVPR 2022).

Such attention fits images of any size. A block is attention and a gated feed-forward part, each on normalised maps and added
to its input. By default the code is ignored. The original restores an image of the same contrast and adds its output to the
input; here a tanh takes the place of that sum.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..federation import Columns
from .blocks import Norm, check_size
from .network import Generator, Network, Role, Stage
from .staged import StagedGenerator


def _conv(i: int, o: int, size: int, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(i, o, size, padding=size // 2, groups=groups, bias=False)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each pixel of `[B, C, H, W]`."""

    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image.movedim(1, -1)).movedim(-1, 1)


class Attention(nn.Module):
    """Attention between channels: each head mixes its maps of `[B, C, H, W]` by how similar their local features are."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.look = nn.Sequential(_conv(channels, 3 * channels, 1), _conv(3 * channels, 3 * channels, 3, 3 * channels))
        self.out = _conv(channels, channels, 1)

    def forward(self, image: Tensor) -> Tensor:
        batch, channels, heads = *image.shape[:2], len(self.temperature)
        query, key, value = self.look(image).reshape(batch, 3, heads, channels // heads, -1).unbind(1)
        alike = F.normalize(query, dim=-1) @ F.normalize(key, dim=-1).mT
        mixed: Tensor = (alike * self.temperature).softmax(-1) @ value
        return self.out(mixed.reshape(image.shape))


class FeedForward(nn.Module):
    """Passes half of its hidden maps through GELU and gates the other half by them."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(_conv(channels, 2 * hidden, 1), _conv(2 * hidden, 2 * hidden, 3, 2 * hidden))
        self.out = _conv(hidden, channels, 1)

    def forward(self, image: Tensor) -> Tensor:
        gate, value = self.hidden(image).chunk(2, 1)
        return self.out(F.gelu(gate) * value)


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x))."""

    def __init__(self, channels: int, heads: int, expansion: float, norm: Norm) -> None:
        super().__init__()
        normalisation = nn.BatchNorm2d if norm is Norm.batch else ChannelNorm
        self.attend = nn.Sequential(normalisation(channels), Attention(channels, heads))
        self.feed = nn.Sequential(normalisation(channels), FeedForward(channels, int(channels * expansion)))

    def forward(self, image: Tensor) -> Tensor:
        image = image + self.attend(image)
        return image + self.feed(image)


class Rise(nn.Module):
    """Doubles the resolution of `[B, C, H, W]`, halves its channels, appends the skip, and continues with `then`."""

    def __init__(self, channels: int, then: nn.Module) -> None:
        super().__init__()
        self.rise = nn.Sequential(_conv(channels, 2 * channels, 3), nn.PixelShuffle(2))
        self.then = then

    def forward(self, image: Tensor, skip: Tensor) -> Tensor:
        image = torch.cat([self.rise(image), skip], 1)
        return self.then(image)


class RestormerGenerator(StagedGenerator):
    """A stage for each level, but for each block at the lowest. Sides must be multiples of 2^halvings and at least twice that."""

    def forward(self, source: Tensor, code: Tensor) -> Tensor:
        check_size(source, 2 ** self.roles.count(Role.encoder))
        latent, image, skips = self.latent(code), source, list[Tensor]()
        for k, role in enumerate(self.roles):
            skip = (
                [skips.pop()] if role is Role.decoder and skips else []
            )  # the refinement is a decoder too, without a skip
            image = self.through(k, latent, image, *skip)
            if role is Role.encoder:
                skips.append(image)
        return image


@dataclass
class Restormer(Network):
    """The published sizes. `norm=instance` is the published layer norm, which also sees one image at a time; `batch` is BatchNorm
    in its place. Blocks that read the code follow all stages but the refinement and the head."""

    width: int = 48  # channels at full resolution, doubled at each level
    depths: list[int] = field(default_factory=lambda: [4, 6, 6, 8])  # blocks of each level, from full resolution down
    heads: list[int] = field(default_factory=lambda: [1, 2, 4, 8])  # attention heads of a block, by level
    refinements: int = 4  # blocks at the end
    expansion: float = 2.66  # hidden channels of the feed-forward part, as a multiple of its channels

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least_one("refinements", "expansion")
        if self.width % 2:
            raise ValueError(f"network.width is {self.width}; it must be even")
        if len(self.depths) < 2 or min(self.depths) < 1:
            raise ValueError(f"network.depths is {self.depths}; it must be at least 1 at each of two levels or more")
        widths = self._widths()
        if len(self.heads) != len(widths) or any(n < 1 or c % n for n, c in zip(self.heads, widths, strict=True)):
            raise ValueError(f"network.heads is {self.heads}; it must divide each level's channels, which are {widths}")

    def _widths(self) -> list[int]:
        return [self.width * 2**level for level in range(len(self.depths))]

    def generator(self, columns: Columns) -> Generator:
        widths = self._widths()
        *upper, lowest = range(len(self.depths))
        wide = 2 * self.width  # at the end, where the skip is not merged into fewer channels

        def blocks(level: int, count: int, channels: int) -> list[nn.Module]:
            return [Block(channels, self.heads[level], self.expansion, self.norm) for _ in range(count)]

        def down(level: int) -> nn.Module:
            if level == 0:
                return _conv(columns.channels, self.width, 3)
            return nn.Sequential(_conv(widths[level - 1], widths[level - 1] // 2, 3), nn.PixelUnshuffle(2))

        def up(level: int) -> nn.Module:
            merged = [_conv(2 * widths[level], widths[level], 1)] if level else []
            then = blocks(level, self.depths[level], widths[level] if level else wide)
            return Rise(widths[level + 1], nn.Sequential(*merged, *then))

        first, *others = blocks(lowest, self.depths[lowest], widths[lowest])
        stages = [
            *(Stage(Role.encoder, nn.Sequential(down(k), *blocks(k, self.depths[k], widths[k]))) for k in upper),
            Stage(Role.bottleneck, nn.Sequential(down(lowest), first)),
            *(Stage(Role.bottleneck, block) for block in others),
            *(Stage(Role.decoder, up(level)) for level in reversed(upper)),
            Stage(Role.decoder, nn.Sequential(*blocks(0, self.refinements, wide))),
            Stage(Role.head, nn.Sequential(_conv(wide, 1, 3), nn.Tanh())),
        ]
        channels = [*widths[:-1], *[widths[lowest]] * self.depths[lowest], *widths[-2:0:-1], wide]
        return RestormerGenerator(stages, self.conditioning(columns, channels))
