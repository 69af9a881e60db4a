"""`fedsynth features`: LPIPS-like and FID-like scores of finished runs, seen by a feature network that you name as a file.

They are no part of a run: they are taken, later, of what its selected round synthesises for the test subjects. The trained model
is where the run was trained; it does not travel with the record.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import sys
import warnings
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fedsynth.evaluation.metrics.perceptual import frechet_distance, perceptual_distance
from fedsynth.federation import Federation, FederationError
from fedsynth.registry import RegistryError
from fedsynth.runtime.device import resolve_device

from ..config.schema import Run
from ..records.finished import finished
from ..records.record import write_atomically
from ..records.store import Store
from .export import BATCH, rebuilt, synthesised, trained_on


class Score(NamedTuple):
    """A line of `features.csv`."""

    run: str
    network: str  # the file's name and the first digits of its SHA-256
    site: str
    task: str
    subject: str  # empty where it is of all test subjects together
    slices: int
    score: str  # perceptual or frechet
    value: float
    note: str = ""


def main(argv: list[str]) -> int:
    """Write the scores and print a line a site-task; 1 if no run of that name is finished, 2 if one cannot be scored."""
    parser = argparse.ArgumentParser(prog="fedsynth features", description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="names of finished runs, such as 'fedbn-*'")
    parser.add_argument(
        "--network",
        type=Path,
        required=True,
        metavar="FILE",
        help="TorchScript, or .pt2 of torch.export: images [B,3,H,W] in [0,1] to a list of feature maps and features [B,D]",
    )
    parser.add_argument("--results", type=Path, default=Path("results"), help="where the runs are (default: results)")
    parser.add_argument("--out", type=Path, help="where the scores go (default: RESULTS/features.csv)")
    arguments = parser.parse_args(argv)
    store, out = Store(arguments.results), arguments.out or arguments.results / "features.csv"
    runs = finished(store, arguments.runs)
    if not runs:
        return 1
    status = 0
    try:
        network = FeatureNetwork(arguments.network, resolve_device("auto"))
        for record in (run.record for run in runs):
            if record.status != "done":
                print(f"fedsynth: {record.run} {record.status}, so that it serves nothing", file=sys.stderr)
                status = 2
                continue
            run = rebuilt(record, arguments.results)
            federation = trained_on(run, record, arguments.results)
            found = list(scores(run, federation, store.folder(record.run), record.run, network))
            keep(found, out)
            print("\n".join([record.run, *table(found), ""]))
    except (ValueError, OSError, RegistryError) as error:
        print(f"fedsynth: {error}", file=sys.stderr)
        return 2
    if out.exists():
        print(f"Less is better. In full: {out}")
    return status


def scores(run: Run, federation: Federation, folder: Path, name: str, network: FeatureNetwork) -> Iterator[Score]:
    """The perceptual distance of every test subject, a mean over its slices, and of every site-task, a mean over subjects; and
    the Fréchet distance of the site-task's slices."""
    cells: dict[tuple[str, str], list[tuple[float, np.ndarray, np.ndarray]]] = {}
    for site, task, subject, made in synthesised(run, federation, folder):
        if site in federation.poisoned:
            continue
        data = federation.sites[site]
        real = np.array(data.images[subject.slices, data.contrasts.index(task.target)], np.float32)
        distances, ours, theirs = compared(made, real, network)
        yield Score(name, network.name, site, str(task), subject.name, len(real), "perceptual", float(distances.mean()))
        cells.setdefault((site, str(task)), []).append((float(distances.mean()), ours, theirs))
    for (site, told), found in cells.items():
        means, *features = zip(*found, strict=True)
        ours, theirs = map(np.concatenate, features)
        where = (name, network.name, site, told, "", len(ours))
        yield Score(*where, "perceptual", float(np.mean(means)))
        yield Score(*where, "frechet", frechet_distance(ours, theirs) if len(ours) > 1 else np.nan, warning(ours))


def compared(made: np.ndarray, real: np.ndarray, network: FeatureNetwork) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of slices `[N, H, W]` in [-1, 1]: the distance of each `[N]`, and the features of both `[N, D]`."""
    found = []
    for start in range(0, len(real), BATCH):
        (x, fake), (y, true) = (network(torch.from_numpy(stack[start : start + BATCH, None])) for stack in (made, real))
        found.append((perceptual_distance(x, y), fake, true))
    distances, ours, theirs = (torch.cat(part).cpu().numpy() for part in zip(*found, strict=True))
    return distances, ours, theirs


def warning(features: np.ndarray) -> str:
    """Where a covariance is of too few slices."""
    count, length = features.shape
    return f"unreliable: {count} slices for {length} features" if count < 2 * length else ""


def keep(found: list[Score], out: Path) -> None:
    """Put the scores into the file, in place of those of the same run and network."""
    rows = []
    if out.exists():
        with out.open(newline="") as file:
            rows = list(csv.reader(file))[1:]
    mine = {(score.run, score.network) for score in found}
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([Score._fields, *(row for row in rows if tuple(row[:2]) not in mine), *found])
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, text.getvalue().encode())


def table(found: list[Score]) -> Iterator[str]:
    """A line a site-task."""
    whole = [score for score in found if not score.subject]
    width = max(len(f"{score.site} {score.task}") for score in whole)
    yield f"{'':{width}}  perceptual    Fréchet"
    for perceptual, frechet in zip(whole[::2], whole[1::2], strict=True):
        cell = f"{perceptual.site} {perceptual.task}"
        yield f"{cell:{width}}  {perceptual.value:10.4f}  {frechet.value:9.4g}  {frechet.note}".rstrip()


CONTRACT = (
    "it must map float32 images [B, 3, H, W] in [0, 1] to a pair: a list of feature maps [B, C, H, W], and features [B, D] of "
    "whole images"
)


class FeatureNetwork:
    """A network from a TorchScript file, or from one of torch.export if its name ends in .pt2 (exported with a dynamic batch).

    It maps float32 images `[B, 3, H, W]` in [0, 1] to a list of feature maps `[B, C, H, W]` and features `[B, D]` of whole
    images; how images were normalised when it was trained belongs inside it. Raises FederationError for a file that is none.
    """

    def __init__(self, file: Path, device: torch.device) -> None:
        self.file, self.device = file, device
        try:
            content = file.read_bytes()
            if file.suffix == ".pt2":
                self._net = torch.export.load(file).module().to(device)
            else:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript, which many such files are in
                    self._net = torch.jit.load(file, map_location=device).eval()
        except Exception as error:  # torch raises many kinds
            raise FederationError(
                f"{file} is no network: {str(error).strip().splitlines()[0]}; give a file of torch.jit.save, or of "
                "torch.export.save named .pt2"
            ) from error
        self.name = f"{file.name}:{hashlib.sha256(content).hexdigest()[:12]}"

    @torch.no_grad()
    def __call__(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """Feature maps and features of grey images `[B, 1, H, W]` in [-1, 1]."""
        seen = ((images.to(self.device).float() + 1) / 2).clamp(0, 1).expand(-1, 3, -1, -1).contiguous()
        try:
            found = self._net(seen)
        except Exception as error:
            told = str(error).strip().splitlines()
            raise FederationError(f"{self.file} failed on images {list(seen.shape)}: {told[-1]}; {CONTRACT}") from error
        if not fits(found, len(seen)):
            raise FederationError(f"{self.file} gives {shape(found)} of images {list(seen.shape)}; {CONTRACT}")
        maps, features = found
        return [part.float() for part in maps], features.float()


def fits(found: object, count: int) -> bool:
    """Whether a network's output is what it must be of so many images."""
    if not (isinstance(found, list | tuple) and len(found) == 2 and isinstance(found[0], list | tuple) and found[0]):
        return False
    parts = [*found[0], found[1]]
    ranks = [4] * len(found[0]) + [2]
    return all(
        isinstance(part, Tensor) and part.ndim == rank and len(part) == count
        for part, rank in zip(parts, ranks, strict=True)
    )


def shape(found: object) -> str:
    """Of a network's output, in words."""
    if isinstance(found, Tensor):
        return str(list(found.shape))
    if isinstance(found, list | tuple):
        return f"({', '.join(map(shape, found))})"
    return type(found).__name__
