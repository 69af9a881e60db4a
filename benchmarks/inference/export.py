"""`fedsynth export`: what a finished run synthesises for its test subjects, as NIfTI volumes that lie on their sources."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from fedsynth.federation import FederationError
from fedsynth.registry import DATASETS, RegistryError

from ..records.finished import finished_runs
from ..records.record import Record, RecordError
from ..records.store import Store
from .synthesis import rebuild_federation, rebuild_run, synthesise_test_subjects


def main(argv: list[str]) -> int:
    """Write the volumes; 1 if no run of that name is finished, 2 if its data are not to be had."""
    parser = argparse.ArgumentParser(prog="fedsynth export", description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="names of finished runs, such as 'fedbn-*'")
    parser.add_argument("--results", type=Path, default=Path("results"), help="where the runs are (default: results)")
    parser.add_argument("--out", type=Path, help="where the volumes go (default: RESULTS/volumes)")
    parser.add_argument(
        "--root", type=Path, help="where the source volumes are now, if they were moved since they were prepared"
    )
    arguments = parser.parse_args(argv)
    store = Store(arguments.results)
    runs = finished_runs(store, arguments.runs)
    if not runs:
        return 1
    try:
        for record in (run.record for run in runs):
            out = (arguments.out or arguments.results / "volumes") / record.run
            count = export(record, store.folder(record.run), Path(arguments.results), out, arguments.root)
            print(f"wrote {count} volumes to {out}")
    except (ValueError, OSError, RegistryError) as error:
        print(f"fedsynth: {error}", file=sys.stderr)
        return 2
    return 0


def export(record: Record, folder: Path, results: Path, out: Path, root: Path | None = None) -> int:
    """Write `SITE/SUBJECT/SOURCE-TARGET.nii.gz` for every test subject and task of a run; returns how many volumes.

    A volume has the grid of the source's volume and the intensities of the target's: the white of the slices becomes the
    intensity that was shown as white there. Raises FederationError for a run on data that have no volumes, or if the data are
    not those that it was trained on; RecordError for a run that diverged.
    """
    if record.status != "done":
        raise RecordError(f"{record.run} {record.status}, so that it serves nothing")
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
        like = find_source(Path(source["file"]), root)
        path = out / site / subject.name / f"{task.source}-{task.target}.nii.gz"
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
