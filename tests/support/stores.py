"""A store as sweeps leave it, of any size, without training anything: curves, images, probes, runs that failed or diverged.

Also scores alone, of a few seeds and subjects, for tests of the statistics.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from support import finished

from fedsynth.benchmarks.records.record import write_record
from fedsynth.benchmarks.records.store import Store
from fedsynth.benchmarks.stats.scores import Key, Scores
from fedsynth.evaluation.columns import metric_columns

TASKS = {
    "brats": ["FLAIR->T2", "T1->T2"],
    "ixi": ["T1->T2", "T2->PD"],
    "midas": ["T1->T2", "T2->T1"],
    "oasis": ["T1->T2", "T2->FLAIR"],
}
BYTES = 12e6  # of a site, round and direction, times a method's share
SUBJECTS = 20

# The smallest run there is: a step at two sites.
TINY = (
    "experiment=smoke",
    "trainer.rounds=1",
    "trainer.local_steps=1",
    "+where_present.network.blocks=1",
    "dataset.slices=1",
    "scenario=common",
    "scenario.sites=[ixi,oasis]",
)


def fill(
    store: Store,
    methods: int = 4,
    scenarios: int = 2,
    seeds: int = 2,
    rounds: int = 20,
    side: int = 32,
    probes: bool = True,
) -> None:
    """Of `methods` methods, named local, method01, ...; scenario 0 has cross-site scores and newcomers where `probes`."""
    images = shapes(side)
    for number in range(scenarios):
        for method in range(methods):
            for seed in range(seeds):
                run(store, number, method, seed, rounds, images, probes and number == 0)


def run(store: Store, number: int, method: int, seed: int, rounds: int, images: np.ndarray, probes: bool) -> str:
    """One finished run; returns its name."""
    stream = np.random.default_rng([number, method, seed])
    scenario: dict[str, Any] = {"name": f"scenario{number}", "sites": sorted(TASKS), "tasks": TASKS}
    if probes:
        tasks = {site: own for site, own in TASKS.items() if site != "oasis"}
        scenario |= {
            "tasks": tasks,
            "across": True,
            "newcomers": {"oasis": TASKS["oasis"]},
            "adapt": [1, 2, 4, 8],
            "adapt_steps": 50,
            "asks": {"ixi": ["T1->PD"]},
        }
    name = f"method{method:02d}" if method else "local"
    what = finished.identity(
        method={"name": name}, scenario=scenario, seed=seed, trainer={"rounds": rounds, "local_steps": 10_000}
    )
    level = 24 + 0.15 * method + 0.3 * number + stream.normal(0, 0.1)
    traffic = BYTES * (method % 5) / 4
    record = finished.record(
        what,
        selected_round=max(1, rounds - 2),
        costs={"bytes_up": rounds * 4 * traffic, "bytes_down": rounds * 4 * traffic, "seconds": 60.0},
        environment={"commit": "c" * 40, "dirty": False, "device": "cpu (any)", "versions": {"numpy": "2.0.0"}},
    )
    folder = store.folder(record.run)
    folder.mkdir(parents=True)
    write_record(
        folder, record, scores(scenario, level, method, stream), curve(scenario, level, rounds, traffic, stream)
    )
    if seed == 0:
        shown = {}
        for site, own in scenario["tasks"].items():
            for task in own:
                noise = stream.normal(0, 40 / (method + 2), images.shape)
                shown |= {f"{site}/{task}/source": 255 - images, f"{site}/{task}/target": images}
                shown[f"{site}/{task}/prediction"] = np.clip(images + noise * (images > 0), 0, 255).astype(np.uint8)
        np.savez_compressed(folder / "gallery.npz", **shown)
    return record.run


def scores(scenario: dict[str, Any], level: float, method: int, stream: np.random.Generator) -> list[dict[str, Any]]:
    """Rows of every selection that the scenario asks for."""
    tasks, places = scenario["tasks"], []
    for selection in ("selected", "last"):
        places += [(selection, site, task, 0.0) for site, own in tasks.items() for task in own]
    if scenario.get("across"):
        places += [(f"from-{a}", b, task, -1.5) for a in tasks for b in tasks if a != b for task in tasks[b]]
        for site, own in scenario["newcomers"].items():
            places += [("welcome", site, task, -3.0) for task in own if method]
            places += [
                (f"adapted-{count}", site, task, -2.0 + 0.2 * count) for count in scenario["adapt"] for task in own
            ]
        places += [("asked", site, task, -4.0) for site, own in scenario["asks"].items() for task in own]
    rows = []
    for selection, site, task, offset in places:
        for subject, spread in enumerate(stream.normal(0, 1, SUBJECTS)):
            psnr = level + offset + spread + 0.5 * (sum(map(ord, site + task)) % 5)
            row = {"selection": selection, "site": site, "task": task, "subject": f"test{subject:03d}"}
            rows.append(row | dict.fromkeys(metric_columns(), 0.1) | {"psnr": psnr, "ssim": psnr / 30})
    return rows


def curve(
    scenario: dict[str, Any], level: float, rounds: int, traffic: float, stream: np.random.Generator
) -> list[dict[str, Any]]:
    numbers = {"loss_generator": 1.0, "loss_discriminator": 0.25, "val_ssim": 0.5, "gradient_evaluations": 200}
    numbers |= {"bytes_up": traffic, "bytes_down": traffic, "seconds": 1.5}
    return [
        numbers | {"round": at, "site": site, "val_psnr": level - 8 * np.exp(-6 * at / rounds) + stream.normal(0, 0.1)}
        for at in range(1, rounds + 1)
        for site in scenario["tasks"]
    ]


def shapes(side: int) -> np.ndarray:
    """Two slices of a bright ellipse with texture on black, uint8 [2, side, side]."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    texture = 120 + 60 * np.sin(9 * x) * np.cos(7 * y) + np.random.default_rng(0).normal(0, 8, (2, side, side))
    return np.asarray(np.where(x**2 / 0.6 + y**2 / 0.8 < 1, texture, 0).clip(0, 255).astype(np.uint8))


def one_site(values: Any) -> Scores:
    matrix = np.asarray(values, dtype=float)
    columns = tuple(("a", "x", f"{subject:02}") for subject in range(matrix.shape[1]))
    return Scores(tuple(range(len(matrix))), columns, matrix)


def random(rng: np.random.Generator, seeds: int = 6) -> Scores:
    """Sites of 4, 3 and 5 subjects. Two sites have two tasks, and one subject lacks one of these."""
    columns: list[Key] = []
    for site, tasks, count in (("a", "xy", 4), ("b", "x", 3), ("c", "xz", 5)):
        columns += [(site, task, f"{number}") for task, number in product(tasks, range(count))]
    columns.remove(("c", "z", "2"))
    shape = (seeds, len(columns))
    return Scores(tuple(range(seeds)), tuple(columns), rng.normal(0.5, 1, shape) + rng.normal(size=(seeds, 1)))
