"""`fedsynth outputs export`: what a finished run synthesises for its test subjects, as NIfTI volumes like their sources."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fedsynth.federation import Dataset, FederationError
from fedsynth.registry import DATASETS, RegistryError

from ..records.finished import finished_runs
from ..records.record import Record
from ..records.store import Store
from .synthesis import Synthesised, rebuild_federation, rebuild_run, synthesise_test_subjects


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
    """Write what a run makes of every test subject and task; returns how many volumes.

    Raises FederationError as `write_volumes` does, and for a run on data that are not those that it was trained on; RecordError
    for a run that diverged; ValueError where its trained model is not here.
    """
    run = rebuild_run(record, results)
    check_volumes(run.dataset)
    federation = rebuild_federation(run, record, results)
    made = synthesise_test_subjects(run, federation, folder)
    return write_volumes(run.dataset, federation.names, made, out, root)


def check_volumes(dataset: Dataset) -> None:
    """Raises FederationError for data that have no volumes."""
    if not hasattr(dataset, "volumes"):
        raise FederationError(f"it was trained on dataset={DATASETS.name_of(type(dataset))}, which has no volumes")


def write_volumes(
    dataset: Any, sites: Iterable[str], made: Iterable[Synthesised], out: Path, root: Path | None = None
) -> int:
    """Write `SITE/SUBJECT/SOURCE-TARGET.nii.gz` for each of what was synthesised for the sites; returns how many volumes.

    A volume has the grid of the source's volume and the intensities of the target's: the white of the slices becomes the
    intensity that was shown as white there. A subject has its name, which the names.json of the prepared folder knows.

    Raises FederationError for data that have no volumes, or not their names.json.
    """
    check_volumes(dataset)
    save: Any = DATASETS["prepared"]
    index = {(site, row["subject"], row["contrast"]): row for site in sites for row in dataset.volumes(site)}
    count = 0
    for site, task, subject, images in made:
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
            f"none of {', '.join(sites)} was made from volumes, so there is nothing to lay the output on"
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
