"""Memory and seconds of a round for 4 to 1,024 sites, whose states are offloaded on the disk while others train.

Each number of sites has a process of its own: `python -m fedsynth.benchmarks.speed.test_sites 256`. Memory is the peak of two
rounds, the device's or on a CPU the process's, and there also what is resident after them; without the sites' slices, which lie
in memory. Seconds are the second round's.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from pytest_benchmark.fixture import BenchmarkFixture

from fedsynth.benchmarks.speed.peers.job import Job
from fedsynth.benchmarks.speed.turns import seconds
from fedsynth.method import Method
from fedsynth.runtime.device import peak, set_precision
from fedsynth.runtime.options import Offload
from fedsynth.trainer import Trainer

JOB = Job(steps=2, device="cuda" if torch.cuda.is_available() else "cpu")
SITES = (4, 16, 64, 256, 1024)


def rounds(sites: int) -> dict[str, float]:
    """Two rounds: the second's seconds, and the peak of memory."""
    job = replace(JOB, sites=sites)
    options = replace(job.options, offload=Offload.disk)
    set_precision(options)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(Method(), job.architecture, job.federation, options, seed=0, folder=Path(folder))
        trainer.round(1)
        spent = seconds(lambda: trainer.round(2))
    feeds = [feed for site in trainer.sites.values() for feed in site.feeds.values()]
    arrays = [site.images for site in job.federation.sites.values()] + [
        site.masks for site in job.federation.sites.values()
    ]
    slices = sum(t.nbytes for feed in feeds for t in (feed.images, feed.masks)) + sum(array.nbytes for array in arrays)
    found = {"peak": float(peak(trainer.device) - slices), "seconds": spent}
    if trainer.device.type != "cuda":
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
        found["resident"] = float(int(line.split()[1]) * 1024 - slices)
    return found


def measured(sites: int) -> dict[str, float]:
    command = [sys.executable, "-m", "fedsynth.benchmarks.speed.test_sites", str(sites)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def test_sites(benchmark: BenchmarkFixture) -> None:
    few = measured(4)

    def all_sizes() -> None:
        for sites in SITES:
            found = few if sites == 4 else measured(sites)
            for kind in found.keys() - {"seconds"}:
                benchmark.extra_info[f"{sites} sites: {kind} over 4 sites'"] = round(found[kind] / few[kind], 3)
            benchmark.extra_info[f"{sites} sites: ms a site"] = round(1000 * found["seconds"] / sites, 1)

    benchmark.pedantic(all_sizes, rounds=1)
    benchmark.extra_info["peak at 4 sites, MiB"] = round(few["peak"] / 2**20)


if __name__ == "__main__":
    print(json.dumps(rounds(int(sys.argv[1]))))
