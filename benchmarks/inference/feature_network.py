"""A feature network that is named as a file, such as one that was trained on natural images."""

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
    images. The normalisation with which it was trained belongs inside it. Raises FederationError for a file that holds no
    network.
    """

    def __init__(self, file: Path, device: torch.device) -> None:
        self.file, self.device = file, device
        try:
            content = file.read_bytes()
            if file.suffix == ".pt2":
                self._net = torch.export.load(file).module().to(device)
            else:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript is deprecated, but common
                    self._net = torch.jit.load(file, map_location=device).eval()
        except Exception as error:  # torch raises many kinds
            raise FederationError(
                f"{file} holds no network: {str(error).strip().splitlines()[0]}; give a file of torch.jit.save, or one of "
                "torch.export.save named .pt2"
            ) from error
        self.name = f"{file.name}:{hashlib.sha256(content).hexdigest()[:12]}"

    @torch.no_grad()
    def __call__(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """Feature maps and features of grey images `[B, 1, H, W]` in [-1, 1].

        Raises FederationError where the network fails, or gives anything else than feature maps and features.
        """
        seen = ((images.to(self.device).float() + 1) / 2).clamp(0, 1).expand(-1, 3, -1, -1).contiguous()
        try:
            output = self._net(seen)
        except Exception as error:
            reason = str(error).strip().splitlines()[-1]
            raise FederationError(f"{self.file} failed on images {list(seen.shape)}: {reason}; {CONTRACT}") from error
        if not _keeps_contract(output, len(seen)):
            raise FederationError(f"{self.file} gives {_shapes(output)} for images {list(seen.shape)}; {CONTRACT}")
        maps, features = output
        return [part.float() for part in maps], features.float()


def _keeps_contract(output: object, count: int) -> bool:
    """Whether a network's output for so many images is a list of feature maps and features."""
    if not (
        isinstance(output, list | tuple) and len(output) == 2 and isinstance(output[0], list | tuple) and output[0]
    ):
        return False
    parts = [*output[0], output[1]]
    ranks = [4] * len(output[0]) + [2]
    return all(
        isinstance(part, Tensor) and part.ndim == rank and len(part) == count
        for part, rank in zip(parts, ranks, strict=True)
    )


def _shapes(output: object) -> str:
    """The shapes of a network's output, in words."""
    if isinstance(output, Tensor):
        return str(list(output.shape))
    if isinstance(output, list | tuple):
        return f"({', '.join(map(_shapes, output))})"
    return type(output).__name__
