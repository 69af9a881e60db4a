"""`fedsynth outputs export`: what a finished run synthesises for its test subjects, as NIfTI volumes like their sources."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedsynth.federation import FederationError
from fedsynth.registry import DATASETS, RegistryError

from ..records.finished import finished_runs
from ..records.record import Record
from ..records.store import Store
from .synthesis import rebuild_federation, rebuild_run, synthesise_test_subjects


def main(runs: Sequence[str], results: Path, out: Path | None, root: Path | None) -> int:
    """Write the volumes; 1 if no run of that name is finished, 2 if the volumes of a run cannot be made."""
    store = Store(results)
    found = finished_runs(store, runs)
    if not found:
        return 1
    try:
        for record in (run.record for run in found):
            folder = (out or results / "volumes") / record.run
            count = export_volumes(record, store.folder(record.run), results, folder, root)
            print(f"wrote {count} volumes to {folder}")
    except (ValueError, OSError, RegistryError) as error:
        print(f"fedsynth: {error}", file=sys.stderr)
        return 2
    return 0


def export_volumes(record: Record, folder: Path, results: Path, out: Path, root: Path | None = None) -> int:
    """Write `SITE/SUBJECT/SOURCE-TARGET.nii.gz` for every test subject and task of a run; returns how many volumes.

    A volume has the grid of the source's volume and the intensities of the target's: the white of the slices becomes the
    intensity that was shown as white there. A subject has its name, which the names.json of the prepared folder knows.

    Raises FederationError for a run on data that have no volumes or not their names.json, or that are not those that it was
    trained on; RecordError for a run that diverged; ValueError where its trained model is not here.
    """
    run = rebuild_run(record, results)
    volumes = getattr(run.dataset, "volumes", None)
    if volumes is None:
        raise FederationError(
            f"{record.run} was trained on dataset={DATASETS.name_of(type(run.dataset))}, which has no volumes"
        )
    federation = rebuild_federation(run, record, results)
    save: Any = DATASETS["prepared"]
    index = {(site, row["subject"], row["contrast"]): row for site in federation.names for row in volumes(site)}
    count = 0
    for site, task, subject, images in synthesise_test_subjects(run, federation, folder):
        source, target = (index.get((site, subject.name, contrast)) for contrast in (task.sources[0], task.target))
        if source is None or target is None:
            continue  # a site of the phantom beside prepared ones has no volumes
        if not source["file"]:
            raise FederationError(
                "which files the volumes were is in the names.json of the prepared folder, and it is not there: ask for it"
            )
        like = find_source(Path(source["file"]), root)
        path = out / site / source["name"] / f"{task.source}-{task.target}.nii.gz"
        save.export(images, source, float(target["white"]), like, path)
        count += 1
    if not count:
        raise FederationError(
            f"none of the sites of {record.run} was made from volumes, so there is nothing to lay its output on"
        )
    return count


def find_source(path: Path, root: Path | None) -> Path:
    """The source volume: at its path, or below `root` at the longest end of its path that leads to a file.

    Raises FederationError where there is none.
    """
    places = [path] if root is None else [root.joinpath(*path.parts[start:]) for start in range(1, len(path.parts))]
    for place in places:
        if place.exists():
            return place
    raise FederationError(
        f"there is no {path.name} at {path if root is None else root}; say where the volumes are by --root"
    )
