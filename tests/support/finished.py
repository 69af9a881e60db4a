"""Finished runs of any content, written to a store without training anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fedsynth.benchmarks.records.record import COSTS, SELECTIONS, Record, run_name, write_record
from fedsynth.benchmarks.records.store import Store
from fedsynth.evaluation.columns import metric_columns

TASKS = {"ixi": ["T1->T2"], "oasis": ["T1->T2", "T2->FLAIR"]}
BUDGET = {"rounds": 100, "local_steps": 100, "local_epochs": 1.0, "batch": 1, "participation": 1.0, "lr": 2e-4}
BUDGET |= {"server_rule": "mean", "corrupt": 0.0, "common_start": True}
TABLES = {"copy_source": 11.0, "mean_image": 15.5, "own_table": 18.25, "pooled_table": 16.75, "gap": 1.5, "others": {}}
SIZES = {"train": [10, 80], "val": [5, 40], "test": [20, 160]}  # subjects and slices


def identity(
    method: Mapping[str, Any] | None = None,
    network: Mapping[str, Any] | None = None,
    dataset: Mapping[str, Any] | None = None,
    scenario: Mapping[str, Any] | None = None,
    trainer: Mapping[str, Any] | None = None,
    seed: int = 0,
    code: Mapping[str, str] | None = None,
    data: str = "",
) -> dict[str, Any]:
    """A run's identity; the given options replace the defaults or are added. A data set of another name has other data."""
    tasks = {"name": "variable", "sites": sorted(TASKS), "tasks": TASKS} | dict(scenario or {})
    return {
        "method": {"name": "fedavg"} | dict(method or {}),
        "network": {"name": "resnet", "width": 64} | dict(network or {}),
        "dataset": {"name": "phantom", "size": 64} | dict(dataset or {}),
        "scenario": tasks,
        "trainer": BUDGET | {"device": "cpu", "threads": 1} | dict(trainer or {}),
        "optimizer": {"name": "adam", "betas": [0.5, 0.999]},
        "schedule": {"name": "linear"},
        "seed": seed,
        "data": dict.fromkeys(tasks["sites"], data or {"name": "d0", **(dataset or {})}["name"]),
        "code": {"method": "aaaa00000000", "network": "bbbb00000000", "dataset": "cccc00000000"} | dict(code or {}),
        "numerics": 1,
    }


def record(what: dict[str, Any], **facts: Any) -> Record:
    """The record of a run with the identity `what`; `facts` replace fields, and costs are added to the defaults."""
    costs = dict.fromkeys(COSTS, 1.0) | facts.pop("costs", {})
    base = {
        "run": run_name(what),
        "identity": what,
        "changed": {"method": {}, "network": {}},
        "status": "done",
        "reason": "",
        "selected_round": 90,
        "validation_psnr": 20.5,
        "policy": "no buffers",
        "costs": costs,
        "digest": {"server": "0"},
        "data": data_of(what),
        "environment": {"commit": "", "dirty": False, "device": "cpu (any)", "versions": {}},
        "started": "2026-01-01T00:00:00+00:00",
        "finished": "2026-01-01T01:00:00+00:00",
    }
    return Record(**base | facts)


def data_of(what: dict[str, Any], psnr: object = None) -> dict[str, Any]:
    """What a record says of the data; each site has as many test subjects as have a score in `psnr`, or 20."""
    tasks, sizes = what["scenario"]["tasks"], dict.fromkeys(what["scenario"]["sites"], SIZES)
    if isinstance(psnr, Mapping):
        counts = {site: len(psnr[site, own[0]]) for site, own in tasks.items()}
        sizes |= {site: SIZES | {"test": [count, 8 * count]} for site, count in counts.items()}
    lines = [{"site": site, "task": task} | TABLES for site, own in tasks.items() for task in own]
    return {"size": [64, 64], "subjects_and_slices": sizes, "heterogeneity": lines}


def scores(what: dict[str, Any], psnr: float | Mapping[tuple[str, str], list[float]] = 20.0) -> list[dict[str, Any]]:
    """Score rows: the given ones of every test subject of a site-task, or the same for 20 subjects of each. SSIM is PSNR / 100,
    and the last round has 1 dB less."""
    rows = []
    for selection in SELECTIONS:
        for site, tasks in what["scenario"]["tasks"].items():
            for task in tasks:
                values = psnr[site, task] if isinstance(psnr, Mapping) else [psnr] * SIZES["test"][0]
                for number, value in enumerate(values):
                    value -= selection == "last"
                    row = {"selection": selection, "site": site, "task": task, "subject": f"test{number:03d}"}
                    rows.append(row | dict.fromkeys(metric_columns(), 0.0) | {"psnr": value, "ssim": value / 100})
    return rows


def curve(what: dict[str, Any], up: float = 2e6, down: float = 3e6) -> list[dict[str, Any]]:
    """Two rounds of every site, each with these bytes."""
    numbers = {"loss_generator": 1.0, "loss_discriminator": 0.25, "val_psnr": 20.0, "val_ssim": 0.5}
    numbers |= {"bytes_up": up, "bytes_down": down, "seconds": 0.5, "gradient_evaluations": 200}
    return [{"round": round, "site": site} | numbers for round in (1, 2) for site in what["scenario"]["sites"]]


def settled(
    what: dict[str, Any], psnr: Sequence[float] = (19.0, 20.0, 20.0, 20.0, 20.0, 20.0, 20.0, 20.0)
) -> list[dict[str, Any]]:
    """A curve with this validation PSNR after each eighth of the rounds; without one, a run that has long settled."""
    first, rounds = curve(what)[: len(what["scenario"]["sites"])], what["trainer"]["rounds"]
    return [
        row | {"round": rounds * (number + 1) // len(psnr), "val_psnr": value}
        for number, value in enumerate(psnr)
        for row in first
    ]


def finish(store: Store, what: dict[str, Any], psnr: Any = 20.0, rows: Any = None, **facts: Any) -> str:
    """Put a finished run into the store, with `rows` as its curve if they are given, and return its name."""
    found = record(what, **{"data": data_of(what, psnr)} | facts)
    store.folder(found.run).mkdir(parents=True, exist_ok=True)
    write_record(store.folder(found.run), found, scores(what, psnr), rows or curve(what))
    return found.run


def finish_whole(store: Store, what: dict[str, Any], psnr: float = 20.0) -> str:
    """A run as a record says it: with 20 test subjects of each site-task, and a selected round that is in its curve."""
    values = {(site, task): [psnr] * 20 for site, tasks in what["scenario"]["tasks"].items() for task in tasks}
    return finish(store, what, values, selected_round=2, validation_psnr=20.0)


LEVELS = {  # of each method, a block each
    "fedavg": [21.0, 22, 20, 19, 24, 21],
    "fedbn": [20.5, 21, 19.9, 18, 25, 20],
    "local": [20.0, 20, 19.8, 17, 22, 19],
}
LOW = {  # data whose look-up table is below all of them
    "heterogeneity": [
        {"site": site, "task": task} | TABLES | {"own_table": 12.0} for site, own in TASKS.items() for task in own
    ]
}


def fill_ranked(store: Store, count: int, seeds: int = 5, **trainer: float) -> None:
    """Tables that are ranked, and each method with twice the rounds in tables that are not."""
    for method, levels in LEVELS.items():
        for block, level in enumerate(levels[:count]):
            for seed, twice in ((0, 2), *((seed, 1) for seed in range(seeds))):
                budget = trainer | {"rounds": twice * trainer.get("rounds", 80)}
                what = identity({"name": method}, dataset={"name": f"set{block}"}, trainer=budget, seed=seed)
                data = record(what).data | LOW
                finish(store, what, level, settled(what), data=data)
