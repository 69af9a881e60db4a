"""How long a round takes in other engines, for one that takes a second in ours: every engine does the same job in turn.

    python -m fedsynth.benchmarks.speed.peers.compare                  # every engine whose environment is there
    python -m fedsynth.benchmarks.speed.peers.compare fluke --repeats 60

Each engine is a warm process of its own. In every repeat each runs one round, in an order that rotates; a peer's ratio is
the median over the repeats of its time over ours in the same repeat, with a 95 % bootstrap interval. The losses of the
round are compared too: an engine that trains something else is an error.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cpuinfo import get_cpu_info
from scipy.stats import bootstrap
from tqdm import tqdm

from fedsynth.benchmarks.speed.peers.job import Job

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
PEERS = ("pfllib_like", "pfl_research", "fluke", "flower", "reference")
WARM = 3  # rounds before the first that counts
TOLERANCE = 1e-5  # relative, of the first round's loss: later ones differ by rounding that training amplifies
CLOCKS = ("seconds", "cpu_seconds")


class PeerError(RuntimeError):
    """A peer cannot run, failed, or does another job; the message says what to do."""


def requirements(name: str) -> Path:
    """The list of packages of a peer that needs an environment of its own; it exists for no other."""
    return HERE / f"requirements-{name}.txt"


def interpreter(name: str, root: Path = ROOT) -> Path:
    """The Python that runs an engine. PeerError with the command that makes it, if its environment is missing."""
    if not requirements(name).exists():
        return Path(sys.executable)
    folder = root / ".peers" / name
    if not (folder / "bin/python").exists():
        raise PeerError(
            f"{name} has no environment {folder}; make it with\n  python3 -m venv .peers/{name} && "
            f".peers/{name}/bin/python -m pip install -r {requirements(name).relative_to(ROOT)}"
        )
    return folder / "bin/python"


@dataclass
class Worker:
    """One engine's process. `rounds`: its answers to the rounds that count, `losses`: those of all rounds."""

    name: str
    job: Job
    rounds: list[dict[str, float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        module = self.name if self.name == "reference" else f"peers.{self.name}"
        command = [interpreter(self.name), "-m", f"fedsynth.benchmarks.speed.{module}", *self.job.arguments()]
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115  # open as long as the process runs
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": str(self.job.threads)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        self.about = self._answer()

    def round(self) -> dict[str, float]:
        assert self.process.stdin
        print(file=self.process.stdin, flush=True)
        answer = self._answer()
        self.losses.append(answer["loss"])
        return answer

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout
        if line := self.process.stdout.readline():
            return dict(json.loads(line))
        self.process.wait()
        self.log.seek(0)
        raise PeerError(f"{self.name} ended with status {self.process.returncode}:\n{self.log.read()[-3000:]}")

    def close(self) -> None:
        self.process.communicate()
        self.log.close()


def check_losses(peer: Worker, ours: Worker) -> float:
    """The largest relative difference of any round's loss; PeerError if the first round's is above the tolerance.

    `reference` has random crops of its own, so its losses are only near ours.
    """
    gaps = np.abs(np.divide(peer.losses, ours.losses) - 1)
    if peer.name != "reference" and gaps[0] > TOLERANCE:
        raise PeerError(
            f"{peer.name} does another job than ours: its loss is {peer.losses[0]:.6f} in the first round and ours is "
            f"{ours.losses[0]:.6f}; their times cannot be compared"
        )
    return float(gaps.max())


def ratio(peer: Worker, ours: Worker, clock: str) -> tuple[float, float, float]:
    """The median of the paired ratios peer / ours, and the ends of its 95 % interval (percentile bootstrap)."""
    paired = np.array([a[clock] / b[clock] for a, b in zip(peer.rounds, ours.rounds, strict=True)])
    interval = bootstrap((paired,), np.median, method="percentile", rng=0).confidence_interval
    return float(np.median(paired)), float(interval.low), float(interval.high)


def measure(names: list[str], job: Job, repeats: int) -> dict[str, Any]:
    """Run ours and the named engines in turns. What is reported: see the keys."""
    workers = [Worker(name, job) for name in ("ours", *names)]
    try:
        for _ in range(WARM):
            for worker in workers:
                worker.round()
        for repeat in tqdm(range(repeats), "repeats", disable=None):
            first = repeat % len(workers)
            for worker in workers[first:] + workers[:first]:
                worker.rounds.append(worker.round())
    finally:
        for worker in workers:
            worker.close()
    ours, *peers = workers
    gpu = torch.cuda.get_device_name() if job.device != "cpu" else None
    return {
        "device": gpu or get_cpu_info().get("brand_raw", "unknown"),
        "cores": os.cpu_count(),
        "job": job.arguments(),
        "repeats": repeats,
        "engines": {worker.name: worker.about | {"rounds": worker.rounds} for worker in workers},
        "ratios": {
            peer.name: {clock: ratio(peer, ours, clock) for clock in CLOCKS} | {"loss": check_losses(peer, ours)}
            for peer in peers
        },
    }


def table(found: dict[str, Any]) -> str:
    """The found ratios as lines of text."""
    lines = [f"{'engine':14}{'a round':>10}{'wall / ours':>24}{'cpu / ours':>24}{'loss differs by':>18}"]
    for name, engine in found["engines"].items():
        seconds = np.median([round["seconds"] for round in engine["rounds"]])
        line = f"{name:14}{seconds:8.3f} s"
        if name in found["ratios"]:
            row = found["ratios"][name]
            line += "".join("{:8.3f} [{:.3f}, {:.3f}]".format(*row[clock]).rjust(24) for clock in CLOCKS)
            line += f"{row['loss']:18.1e}"
        lines.append(line)
    return "\n".join(lines)


def main() -> None:
    parser = Job.parser(__doc__)
    parser.add_argument("engines", nargs="*", metavar="ENGINE", help=f"of {', '.join(PEERS)}; all if none is named")
    parser.add_argument("--repeats", type=int, default=30, help="rounds that count, at least 2; default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path(".benchmarks/peers.json"), help="default: %(default)s")
    arguments = parser.parse_args()
    if arguments.repeats < 2:
        parser.error(f"--repeats is {arguments.repeats}; an interval needs at least 2")
    if unknown := set(arguments.engines) - set(PEERS):
        parser.error(f"no engine {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    names = []
    for name in arguments.engines or PEERS:
        try:
            interpreter(name)
            names.append(name)
        except PeerError as error:
            if arguments.engines:
                raise
            print(f"left out: {error}", file=sys.stderr)
    found = measure(names, Job.chosen(arguments), arguments.repeats)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(found, indent=1))
    print(table(found))
    print(f"in full: {arguments.out}")


if __name__ == "__main__":
    try:
        main()
    except PeerError as error:
        sys.exit(str(error))
