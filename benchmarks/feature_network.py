"""A feature network that the user names as a file."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import torch
from torch import Tensor

from fedsynth.federation import FederationError

CONTRACT = (
    "it must map float32 images [B, 3, H, W] in [0, 1] to a pair: a list of feature maps [B, C, H, W], and features [B, D] of "
    "whole images"
)


class FeatureNetwork:
    """A network from a TorchScript file, or from one of torch.export if its name ends in .pt2 (exported with a dynamic batch).

    It maps float32 images `[B, 3, H, W]` in [0, 1] to a list of feature maps `[B, C, H, W]` and features `[B, D]` of whole
    images; how images were normalised when it was trained belongs inside it. Raises FederationError for a file that is none.
    """

    def __init__(self, file: Path, device: torch.device) -> None:
        self.file, self.device = file, device
        try:
            content = file.read_bytes()
            if file.suffix == ".pt2":
                self._net = torch.export.load(file).module().to(device)
            else:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript, which many such files are in
                    self._net = torch.jit.load(file, map_location=device).eval()
        except Exception as error:  # torch raises many kinds
            raise FederationError(
                f"{file} is no network: {str(error).strip().splitlines()[0]}; give a file of torch.jit.save, or of "
                "torch.export.save named .pt2"
            ) from error
        self.name = f"{file.name}:{hashlib.sha256(content).hexdigest()[:12]}"

    @torch.no_grad()
    def __call__(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """Feature maps and features of grey images `[B, 1, H, W]` in [-1, 1]."""
        seen = ((images.to(self.device).float() + 1) / 2).clamp(0, 1).expand(-1, 3, -1, -1).contiguous()
        try:
            found = self._net(seen)
        except Exception as error:
            told = str(error).strip().splitlines()
            raise FederationError(f"{self.file} failed on images {list(seen.shape)}: {told[-1]}; {CONTRACT}") from error
        if not fits(found, len(seen)):
            raise FederationError(f"{self.file} gives {shape(found)} of images {list(seen.shape)}; {CONTRACT}")
        maps, features = found
        return [part.float() for part in maps], features.float()


def fits(found: object, count: int) -> bool:
    """Whether a network's output is what it must be of so many images."""
    if not (isinstance(found, list | tuple) and len(found) == 2 and isinstance(found[0], list | tuple) and found[0]):
        return False
    parts = [*found[0], found[1]]
    ranks = [4] * len(found[0]) + [2]
    return all(
        isinstance(part, Tensor) and part.ndim == rank and len(part) == count
        for part, rank in zip(parts, ranks, strict=True)
    )


def shape(found: object) -> str:
    """Of a network's output, in words."""
    if isinstance(found, Tensor):
        return str(list(found.shape))
    if isinstance(found, list | tuple):
        return f"({', '.join(map(shape, found))})"
    return type(found).__name__
