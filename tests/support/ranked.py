"""Tables that meet every condition of the rule for ranks, without training anything."""

from __future__ import annotations

from fedsynth.benchmarks.records.store import Store

from . import finished

LEVELS = {  # of each method, a block each
    "fedavg": [21.0, 22, 20, 19, 24, 21],
    "fedbn": [20.5, 21, 19.9, 18, 25, 20],
    "local": [20.0, 20, 19.8, 17, 22, 19],
}
LOW = {
    "heterogeneity": [
        {"site": site, "task": task} | finished.TABLES | {"own_table": 12.0}
        for site, own in finished.TASKS.items()
        for task in own
    ]
}


def fill_ranked(store: Store, count: int, seeds: int = 5, **trainer: float) -> None:
    """Tables that are ranked, and each method with twice the rounds in tables that are not."""
    for method, levels in LEVELS.items():
        for block, level in enumerate(levels[:count]):
            for seed, twice in ((0, 2), *((seed, 1) for seed in range(seeds))):
                budget = trainer | {"rounds": twice * trainer.get("rounds", 80)}
                what = finished.identity({"name": method}, dataset={"name": f"set{block}"}, trainer=budget, seed=seed)
                data = finished.record(what).data | LOW
                finished.finish(store, what, level, finished.settled(what), data=data)
