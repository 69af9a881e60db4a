"""Volumes as images of SimpleITK, the library that only registration, bias correction and DICOM need."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from fedsynth.federation import FederationError

from .volume import Grid


def simpleitk() -> ModuleType:
    """The library. Raises FederationError if it is not installed, and says how to install it."""
    try:
        import SimpleITK
    except ImportError as error:
        raise FederationError(
            "registration, bias correction and DICOM need SimpleITK; install it with pip install 'fedsynth[volumes]'"
        ) from error
    return SimpleITK


def image(voxels: np.ndarray, grid: Grid) -> Any:
    """A SimpleITK image whose physical space is the world of `grid`.

    Its axes run right, anterior, superior (in ITK's own files left, posterior, superior), so that transforms between such images
    need no change of sign.
    """
    made = simpleitk().GetImageFromArray(np.ascontiguousarray(voxels.T))
    made.SetSpacing(grid.spacing.tolist())
    made.SetDirection((grid.affine[:3, :3] / grid.spacing).ravel().tolist())
    made.SetOrigin(grid.affine[:3, 3].tolist())
    return made
