"""Seconds from 10,000 records to tables and to the report's page: 40 methods, 10 scenarios on 5 data sets, 5 seeds.

Records are made up (tests/finished.py), with 4 sites, 8 site-tasks and 20 test subjects each.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import Any

import finished
import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from tqdm import tqdm

from fedsynth.benchmarks import records
from fedsynth.benchmarks.store import Store

METHODS, SCENARIOS, DATASETS, SEEDS, SUBJECTS, ROUNDS = 40, 10, 5, 5, 20, 30
TASKS = {site: ["T1->T2", "T2->FLAIR"] for site in ("brats", "ixi", "midas", "oasis")}


def identities() -> Iterator[dict[str, Any]]:
    names = ["local", "pooled", *(f"method{number:02d}" for number in range(METHODS - 2))]
    for method in names:
        for scenario in range(SCENARIOS):
            for dataset in range(DATASETS):
                for seed in range(SEEDS):
                    yield finished.identity(
                        method={"name": method},
                        dataset={"name": f"set{dataset}"},
                        scenario={"name": f"scenario{scenario}", "sites": list(TASKS), "tasks": TASKS},
                        seed=seed,
                    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store of that many runs; nothing is flushed to the disk one by one, as real runs are."""
    store, rng = Store(tmp_path_factory.mktemp("store")), np.random.default_rng(0)
    places = [(site, task) for site, own in TASKS.items() for task in own]
    subjects = rng.normal(22, 1.5, (len(places), SUBJECTS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records.os, "fsync", lambda handle: None)
        for what in tqdm(list(identities()), "records", disable=None):
            gain = sum(map(ord, what["method"]["name"])) % 17 / 10 + rng.normal(0, 0.1)
            noise = subjects + gain + rng.normal(0, 0.3, subjects.shape)
            curve = [
                row | {"round": number, "val_psnr": 22 + gain - 5 / number}
                for number in range(1, ROUNDS + 1)
                for row in finished.curve(what)[: len(TASKS)]
            ]
            finished.finish(store, what, dict(zip(places, noise.tolist(), strict=True)), curve)
    return store


@pytest.mark.parametrize("verb", ["leaderboard", "report"])
def test_from_records(store: Store, verb: str, benchmark: BenchmarkFixture) -> None:
    """In a process of its own, as it is typed."""
    command = [sys.executable, "-m", "fedsynth.benchmarks.cli", verb, "--results", str(store.runs.parent)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    root = Path(__file__).parents[2]
    before = getrusage(RUSAGE_CHILDREN)
    benchmark.pedantic(
        lambda: subprocess.run(command, cwd=root, env=environment, check=True, stdout=subprocess.DEVNULL), rounds=1
    )
    after = getrusage(RUSAGE_CHILDREN)
    benchmark.extra_info["records"] = len(store.names())
    benchmark.extra_info["CPU seconds"] = round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1)
    benchmark.extra_info["peak MB"] = round(after.ru_maxrss / 1e3)
