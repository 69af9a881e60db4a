"""Reading."""

from __future__ import annotations

from pathlib import Path

from .volume import Grid, Volume


def examine(path: Path, chosen: int | None = None) -> Grid:
    """The grid of a volume, once its header and the length of its file are found right. No voxel is looked at."""
    raise NotImplementedError


def read(path: Path, chosen: int | None = None) -> Volume:
    """The volume in `path`, a NIfTI file or a folder with one DICOM series, in its nearest right-anterior-superior axes."""
    raise NotImplementedError
