"""Do runs that were asked for speed score as the eager ones in single precision? For `make precision`.

    python -m fedsynth.benchmarks.speed.same_scores .benchmarks/precision

Pairs the finished runs of a folder that differ in `trainer.execution` and `trainer.precision` alone, and prints the differences
of their mean test PSNR: by method and of all, with the 90 % interval of Student's t over pairs. 0 if that of all lies within
+-0.1 dB.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from copy import deepcopy
from pathlib import Path

import numpy as np
from scipy import stats

from fedsynth.benchmarks.records.finished import FinishedRun, finished_runs
from fedsynth.benchmarks.records.record import canonical
from fedsynth.benchmarks.records.store import Store

BOUND = 0.1  # dB
EAGER = ("eager", "fp32")


def paired(runs: list[FinishedRun]) -> dict[tuple[str, str], list[float]]:
    """(how it was asked for, method) -> a difference for each pair of runs, dB."""
    asked: defaultdict[str, dict[tuple[str, str], FinishedRun]] = defaultdict(dict)
    for run in runs:
        shared = deepcopy(run.record.identity)
        way = tuple(shared["trainer"].pop(option, None) for option in ("execution", "precision"))
        asked[canonical(shared)][way] = run
    found = defaultdict(list)
    for ways in asked.values():
        if eager := ways.pop(EAGER, None):
            for way, run in ways.items():
                found[" ".join(way), run.record.identity["method"]["name"]].append(run_psnr(run) - run_psnr(eager))
    return dict(found)


def run_psnr(run: FinishedRun) -> float:
    """The mean over site-tasks of the mean over test subjects."""
    by_task = defaultdict(list)
    for (site, task, _), value in run.values("selected", ["psnr"])["psnr"].items():
        by_task[site, task].append(value)
    return float(np.mean([np.mean(values) for values in by_task.values()]))


def told(name: str, differences: list[float]) -> tuple[str, bool]:
    """A line of the answer, and whether the interval lies within the bound."""
    count, middle = len(differences), float(np.mean(differences))
    if count < 2:
        return f"{name:34}{count:5}{middle:+9.3f} dB", False
    margin = float(stats.sem(differences) * stats.t.ppf(0.95, count - 1))
    within = abs(middle) + margin <= BOUND
    return f"{name:34}{count:5}{middle:+9.3f} dB [{middle - margin:+.3f}, {middle + margin:+.3f}]", within


def main(folder: Path) -> int:
    found = paired(finished_runs(Store(folder)))
    all_within = bool(found)
    if not found:
        print(
            f"{folder} has no two finished runs that differ in execution or precision alone, one of them eager in fp32"
        )
    for way in sorted({way for way, _ in found}):
        own = {method: values for (other, method), values in found.items() if other == way}
        for method, values in own.items():
            print(told(f"{way}: {method}", values)[0])
        text, within = told(f"{way}: all", [value for values in own.values() for value in values])
        print(f"{text}, {'within' if within else 'NOT within'} +-{BOUND} dB")
        all_within &= within
    return 0 if all_within else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
