"""From the volumes of one subject, as a scanner or a public data set gives them, to slices that networks train on, and back."""

from .chain import Chain
from .export import export_volume
from .process import Processed, process
from .quality import Quality
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
    "examine",
    "export_volume",
    "process",
    "read_volume",
]
