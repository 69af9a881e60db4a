"""`fedsynth outputs features`: LPIPS-like and FID-like scores of finished runs, by a feature network that you name as a file.

They are not part of a run's record: they are computed later, from what the selected round of the run synthesises for the test
subjects. This needs the trained model, which stays where the run was trained.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from fedsynth.evaluation.metrics.perceptual import frechet_distance, perceptual_distance
from fedsynth.federation import Federation
from fedsynth.registry import RegistryError
from fedsynth.runtime.atomic import write_atomically
from fedsynth.runtime.device import resolve_device

from ..config.schema import Run
from ..records.finished import finished_runs
from ..records.record import RecordError
from ..records.store import Store
from ..records.text_table import text_table
from .feature_network import FeatureNetwork
from .synthesis import BATCH, rebuild_federation, rebuild_run, synthesise_test_subjects


class FeatureScore(NamedTuple):
    """A line of `features.csv`."""

    run: str
    network: str  # the file's name and the first digits of its SHA-256
    site: str
    task: str
    subject: str  # empty for a score of all test subjects together
    slices: int
    score: str  # perceptual or frechet
    value: float
    note: str = ""


def main(runs: Sequence[str], network: Path, results: Path, out: Path | None) -> int:
    """Write the scores and print a line for each site-task; 1 if no run of that name is finished, 2 if one cannot be scored."""
    store, out = Store(results), out or results / "features.csv"
    chosen = finished_runs(store, runs)
    if not chosen:
        return 1
    status = 0
    try:
        features = FeatureNetwork(network, resolve_device("auto"))
        for record in (run.record for run in chosen):
            try:
                run = rebuild_run(record, results)
            except RecordError as error:
                print(f"fedsynth: {error}", file=sys.stderr)
                status = 2
                continue
            federation = rebuild_federation(run, record, results)
            found = list(score_run(run, federation, store.folder(record.run), record.run, features))
            save_scores(found, out)
            print("\n".join([record.run, *summary_lines(found), ""]))
    except (ValueError, OSError, RegistryError) as error:
        print(f"fedsynth: {error}", file=sys.stderr)
        return 2
    if out.exists():
        print(f"Lower is better. All scores: {out}")
    return status


def score_run(
    run: Run, federation: Federation, folder: Path, name: str, network: FeatureNetwork
) -> Iterator[FeatureScore]:
    """The scores of a run, whose name is `name`.

    They are the perceptual distance of every test subject (mean over its slices) and of every site-task (mean over subjects), and
    the Fréchet distance of all slices of a site-task.
    """
    cells: dict[tuple[str, str], list[tuple[float, np.ndarray, np.ndarray]]] = {}
    for site, task, subject, made in synthesise_test_subjects(run, federation, folder):
        if site in federation.poisoned:
            continue
        data = federation.sites[site]
        real = np.array(data.images[subject.slices, data.contrasts.index(task.target)], np.float32)
        distances, ours, theirs = compare_slices(made, real, network)
        mean = float(distances.mean())
        yield FeatureScore(name, network.name, site, str(task), subject.name, len(real), "perceptual", mean)
        cells.setdefault((site, str(task)), []).append((mean, ours, theirs))
    for (site, task_name), found in cells.items():
        means, *features = zip(*found, strict=True)
        ours, theirs = map(np.concatenate, features)
        where = (name, network.name, site, task_name, "", len(ours))
        yield FeatureScore(*where, "perceptual", float(np.mean(means)))
        distance = frechet_distance(ours, theirs) if len(ours) > 1 else np.nan
        yield FeatureScore(*where, "frechet", distance, reliability_note(ours))


def compare_slices(
    made: np.ndarray, real: np.ndarray, network: FeatureNetwork
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For slices `[N, H, W]` in [-1, 1]: the perceptual distance of each `[N]`, and the features of both sets `[N, D]`."""
    found = []
    for start in range(0, len(real), BATCH):
        (x, fake), (y, true) = (network(torch.from_numpy(stack[start : start + BATCH, None])) for stack in (made, real))
        found.append((perceptual_distance(x, y), fake, true))
    distances, ours, theirs = (torch.cat(part).cpu().numpy() for part in zip(*found, strict=True))
    return distances, ours, theirs


def reliability_note(features: np.ndarray) -> str:
    """Says so where there are too few slices for a covariance of their features."""
    count, length = features.shape
    return f"unreliable: {count} slices for {length} features" if count < 2 * length else ""


def save_scores(found: list[FeatureScore], out: Path) -> None:
    """Put the scores into the file, in place of those of the same run and network."""
    rows = []
    if out.exists():
        with out.open(newline="") as file:
            rows = list(csv.reader(file))[1:]
    replaced = {(score.run, score.network) for score in found}
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([FeatureScore._fields, *(row for row in rows if tuple(row[:2]) not in replaced), *found])
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, text.getvalue().encode())


def summary_lines(found: list[FeatureScore]) -> list[str]:
    """Lines for the terminal: one for every site-task."""
    whole = [score for score in found if not score.subject]
    rows = [["", "perceptual", "Fréchet", ""]]
    for perceptual, frechet in zip(whole[::2], whole[1::2], strict=True):
        values = [f"{perceptual.value:.4f}", f"{frechet.value:.4g}"]
        rows.append([f"{perceptual.site} {perceptual.task}", *values, frechet.note])
    return text_table(rows, right=(1, 2))
