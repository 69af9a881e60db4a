"""One subject of a layout: processed, kept apart until all are finished, and taken over from an earlier store."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fedsynth.federation import FederationError
from fedsynth.runtime.atomic import atomic_folder

from ..store.slice_store import Row, SliceStore, cell_text
from ..volumes import Chain, Processed, process
from .checksum import Content
from .survey import CompleteSubject


class FinishedSubject(NamedTuple):
    """A subject's arrays (see `Processed`), and contrast -> how its volume was processed."""

    images: np.ndarray
    masks: np.ndarray
    processing: Mapping[str, Row]


def process_subject(who: CompleteSubject, chain: Chain, volume: int | None, folder: Path) -> str:
    """Process one subject and keep it in `folder`; returns why it cannot be, or nothing. Raises OSError for a full disk."""
    try:
        processed = process(who.subject, who.volumes, chain, who.mask, volume)
    except FederationError as error:
        return str(error)
    if not len(processed.images):
        return "no slice of it has a foreground"
    with atomic_folder(folder) as new:
        np.save(new / "images.npy", processed.images)
        np.save(new / "masks.npy", processed.masks)
        (new / "index.json").write_text(
            json.dumps(_processing(processed, chain.reference or next(iter(who.volumes)))), "utf-8"
        )
        shutil.rmtree(folder, ignore_errors=True)  # it may be there without its index
    return ""


def _processing(processed: Processed, reference: str) -> dict[str, Row]:
    """Contrast -> what the index says of how its volume was processed, as text. Each has an affine to the world of its own file;
    the one that was processed is to that of the reference contrast."""
    found = {}
    for contrast, white in processed.white.items():
        quality = processed.quality.get(contrast)
        row = {
            "slices": list(map(int, processed.rows)),
            "affine": quality.motion @ processed.affine if quality and contrast != reference else processed.affine,
            "voxel_mm": [float(edge) for edge in processed.spacing[contrast]],
            "source_affine": processed.source_affines[contrast],
            "white": float(white),
        }
        if quality:
            row |= quality._asdict()
        found[contrast] = {key: cell_text(value) for key, value in row.items()}
    return found


def index_lines(
    who: CompleteSubject, one: FinishedSubject, first: int, root: Path, contents: Mapping[Path, Content]
) -> list[Row]:
    """The subject's lines of the index; its slices begin at row `first`."""
    return [
        {
            **one.processing[contrast],
            "site": who.site,
            "subject": who.subject,
            "session": who.session,
            "contrast": contrast,
            "first": first,
            "file": path.relative_to(root).as_posix(),
            **contents[path]._asdict(),
        }
        for contrast, path in who.volumes.items()
    ]


def read_finished(folder: Path) -> FinishedSubject:
    """What `process_subject` kept."""
    images, masks = (np.load(folder / name, mmap_mode="r") for name in ("images.npy", "masks.npy"))
    return FinishedSubject(images, masks, json.loads((folder / "index.json").read_text("utf-8")))


def finished_before(store: SliceStore) -> dict[str, FinishedSubject]:
    """The subjects of a store by key, whose volumes or company may have changed since."""
    index: dict[tuple[str, str], dict[str, Row]] = {}
    for row in store.index():
        index.setdefault((row["site"], row["subject"]), {})[row["contrast"]] = row
    found = {}
    for name, keys in store.info["keys"].items():
        site = store.site(name)
        for subject in site.subjects:
            rows = subject.slices
            found[keys[subject.name]] = FinishedSubject(site.images[rows], site.masks[rows], index[name, subject.name])
    return found


def poorly(one: FinishedSubject) -> str:
    """Why a subject's registration is poor; empty if it is good."""
    for contrast, row in one.processing.items():
        if row.get("poor") == "True":
            before, after = (float(row[f"dice_{when}"]) for when in ("before", "after"))
            return (
                f"the registration of its {contrast} is poor (overlap of the heads {before:.2f} before, {after:.2f}"
                " after); look at it, then leave the subject out by dataset.exclude or take it by dataset.accept"
            )
    return ""
