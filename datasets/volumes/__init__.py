"""The volumes of one subject, as scanners and public data sets give them, become slices; slices become volumes."""

from .chain import Chain
from .export import export_volume
from .process import Processed, process
from .quality import Quality, checkerboard
from .read import examine, read_volume
from .register import Registration
from .volume import Grid, Volume

__all__ = [
    "Chain",
    "Grid",
    "Processed",
    "Quality",
    "Registration",
    "Volume",
    "checkerboard",
    "examine",
    "export_volume",
    "process",
    "read_volume",
]
