"""A row of a table as figures show it: its label, its runs and the images of its first seed."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from zipfile import BadZipFile
from zlib import error as ZlibError

import numpy as np

from ...records.finished import FinishedRun
from ...records.record import sha256
from ...tables.table import Table

Gallery = Mapping[str, Mapping[str, np.ndarray]]  # "site/task" -> source, target and prediction, uint8 [n, H, W]


@dataclass(frozen=True, eq=False)
class PlottedRow:
    """A row of a table, as figures show it."""

    label: str  # differs from those of the other rows
    runs: tuple[FinishedRun, ...]  # by seed
    gallery: Gallery = field(default_factory=dict)  # of the first run; empty if that run diverged, or unless asked for

    @property
    def method(self) -> str:
        """The method's name without its options; it decides the colour."""
        return str(self.runs[0].record.identity["method"]["name"])

    @property
    def title(self) -> str:
        """The label, and how many of its seeds diverged or ended below the floor if any did."""
        counts = {
            "diverged": sum(run.record.status == "diverged" for run in self.runs),
            "below floor": sum(run.record.below_floor for run in self.runs),
        }
        several = len(self.runs) > 1
        told = [f"{count} of {len(self.runs)} {what}" if several else what for what, count in counts.items() if count]
        return f"{self.label} ({', '.join(told)})" if told else self.label


def row_labels(table: Table) -> list[str]:
    """A label for each row: its method and its network, without the network's name where all rows have the same one, unless
    that makes two labels equal."""
    names = {row.identity["network"]["name"] for row in table.rows}
    if len(names) == 1:
        name = names.pop()
        labels = [f"{row.method} {row.network.removeprefix(name).strip()}".strip() for row in table.rows]
        if len(set(labels)) == len(labels):
            return labels
    return [row.full_name for row in table.rows]


def may_be_shown(tables: Sequence[Table], pictures: bool) -> list[bool]:
    """For each table whether its images may be shown: of patients only where `pictures` asks for them. Says if some are not."""
    shown = [pictures or table.simulated for table in tables]
    hidden = [table for table, own in zip(tables, shown, strict=True) if not own]
    if any((row.runs[0].folder / "gallery.npz").is_file() for table in hidden for row in table.rows):
        print("fedsynth: left out: pictures of patients; --pictures shows them", file=sys.stderr)
    return shown


def plotted_rows(table: Table, with_images: bool = False) -> list[PlottedRow]:
    """The rows of a table in its order. Images are read only where they are asked for, because they are large."""
    rows = []
    for label, row in zip(row_labels(table), table.rows, strict=True):
        gallery: Gallery = {}
        if with_images:
            try:
                gallery = read_gallery(row.runs[0])
            except GalleryError as error:
                print(f"fedsynth: images left out: {error}", file=sys.stderr)
        rows.append(PlottedRow(label, row.runs, gallery))
    return rows


class GalleryError(ValueError):
    """Images that the run did not write; the message has their file, and what is wrong with them."""


def read_gallery(run: FinishedRun) -> Gallery:
    """The images of a run; empty if it has none.

    Raises:
        GalleryError: They are not what the run wrote.
    """
    path, gallery = run.folder / "gallery.npz", dict[str, dict[str, np.ndarray]]()
    if not path.is_file():
        return gallery
    try:
        content = path.read_bytes()
        if run.record.gallery not in ("", sha256(content)):
            raise ValueError(f"not what {run.record.run} wrote; its record has another SHA-256")
        with np.load(io.BytesIO(content)) as arrays:
            for name in arrays.files:
                site_task, _, kind = name.rpartition("/")
                gallery.setdefault(site_task, {})[kind] = arrays[name]
        for site_task, own in gallery.items():
            count = len(own["target"])
            if {(kind, own[kind].dtype.name, own[kind].ndim, len(own[kind])) for kind in own} != {
                (kind, "uint8", 3, count) for kind in ("source", "target", "prediction")
            }:
                raise ValueError(f"{site_task!r} has no source, target and prediction of {count} slices")
    except (ValueError, TypeError, KeyError, OSError, EOFError, BadZipFile, ZlibError) as error:
        raise GalleryError(f"{path}: {error}") from error
    return gallery
