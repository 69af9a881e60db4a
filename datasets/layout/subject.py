"""One subject of a layout: it is processed, and kept apart until all subjects are finished."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from fedsynth.federation import FederationError
from fedsynth.federation.arrays import open_arrays, save_arrays
from fedsynth.runtime.atomic import atomic_folder, write_atomically

from ..store.slice_store import Row, SliceStore, cell_text, numbers
from ..volumes import Chain, Processed, checkerboard, process
from .checksum import Content
from .survey import CompleteSubject


class FinishedSubject(NamedTuple):
    """A subject's arrays, as in `Processed`, and how they were made."""

    images: np.ndarray
    masks: np.ndarray
    processing: Mapping[str, Row]  # by contrast: what the index says about how its volume was processed


def process_subject(who: CompleteSubject, chain: Chain, volume: int | None, folder: Path) -> str:
    """Process a subject and keep it in `folder`; the reason if it cannot be used, else "". Raises OSError for a full disk."""
    try:
        processed = process(who.subject, who.volumes, chain, who.mask, volume)
    except FederationError as error:
        return str(error)
    if not len(processed.images):
        return "none of its slices shows foreground"
    with atomic_folder(folder) as new:
        digests = save_arrays(new, {"images": processed.images, "masks": processed.masks})
        processing = _processing(processed, chain.reference or next(iter(who.volumes)))
        (new / "index.json").write_text(json.dumps({"sha256": digests, "processing": processing}), "utf-8")
        shutil.rmtree(folder, ignore_errors=True)  # it may be there without its index
    return ""


def _processing(processed: Processed, reference: str) -> dict[str, Row]:
    """Contrast -> what the index says about how its volume was processed, as text.

    The affine of each contrast leads to the world of its own file; that of `processed` leads to the reference contrast's.
    """
    found = {}
    for contrast, white in processed.white.items():
        quality = processed.quality.get(contrast)
        row = {
            "slices": list(map(int, processed.rows)),
            "affine": processed.affine,
            "voxel_mm": [float(edge) for edge in processed.spacing[contrast]],
            "source_affine": processed.source_affines[contrast],
            "white": float(white),
            "dark": processed.dark,
            "content": processed.contents[contrast],
        }
        if quality:
            row |= {key: value for key, value in quality._asdict().items() if value is not None}
            if quality.motion is not None and contrast != reference:
                row["affine"] = quality.motion @ processed.affine
        found[contrast] = {key: cell_text(value) for key, value in row.items()}
    return found


def index_lines(
    who: CompleteSubject, one: FinishedSubject, first: int, root: Path, contents: Mapping[Path, Content]
) -> list[Row]:
    """The subject's lines in the index; `first` is the row of the site's arrays at which its slices begin."""
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


def read_finished(folder: Path) -> FinishedSubject | None:
    """What `process_subject` kept; None where there is nothing whole."""
    try:
        index = json.loads((folder / "index.json").read_text("utf-8"))
        return FinishedSubject(**open_arrays(folder, index["sha256"]), processing=index["processing"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def finished_before(store: SliceStore) -> dict[str, FinishedSubject]:
    """Key -> subject, for all subjects of a store. A key is a digest of all that a subject's arrays follow from."""
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


def registered_poorly(who: CompleteSubject, one: FinishedSubject, reference: str, pictures: Path) -> str:
    """The reason if one of a subject's registrations is poor, else "". A checkerboard of it is left in `pictures`."""
    for contrast, row in one.processing.items():
        if row.get("poor") == "True" and row.get("motion"):
            look = "look at both in a viewer"
            if contrast != reference:  # which is registered to a template
                picture = pictures / f"{who.site}-{who.subject}-{contrast}.png"
                _draw(picture, one, *(list(who.volumes).index(name) for name in (reference, contrast)))
                look = f"look at {picture}, where edges go on from tile to tile if it is good"
            return (
                f"the registration of its {contrast} is poor ({row['fault']}); {look}, then leave the subject out by"
                " dataset.exclude or use it by dataset.accept"
            )
    return ""


def _draw(picture: Path, one: FinishedSubject, first: int, second: int) -> None:
    """Write a checkerboard of two contrasts, given by their channels."""
    row = next(iter(one.processing.values()))
    down, up = np.linalg.norm(np.reshape(numbers(row["affine"]), (4, 4))[:3, [0, 2]], axis=0)
    gaps = np.diff(numbers(row["slices"]))  # in planes of the grid
    tiles = checkerboard(one.images[:, first], one.images[:, second], up * gaps.mean() / down if len(gaps) else 1)
    content = io.BytesIO()
    Image.fromarray(tiles).save(content, "png")
    picture.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # it has names
    write_atomically(picture, content.getvalue())
