"""Pairs of methods whose scores are easy to work out by hand, and what `fedsynth compare` says about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from support import finished

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.records.store import Store

OWN = np.array([20.0, 20.5, 21.0, 21.5])  # dB, of subjects with method b
GAIN = np.array([-0.3, 0.1, 0.3, -0.1])  # how far the difference of each subject is from the mean difference
WIGGLE = np.array([0.1, -0.1, 0.1, -0.1, 0.1])  # of seeds


def put(store: Store, method: str, seed: int, shift: Mapping[str, float] | float | None, **more: Any) -> None:
    """Four subjects a site. Given a shift for each site, they differ from OWN by GAIN and that shift; else they are OWN."""
    facts = {name: more.pop(name) for name in ("costs", "status", "reason", "changed", "below_floor") if name in more}
    what = finished.identity(method={"name": method} | more.pop("options", {}), seed=seed, **more)
    own = {}
    for site, tasks in what["scenario"]["tasks"].items():
        gain = 0 if shift is None else GAIN + (shift[site] if isinstance(shift, Mapping) else shift)
        own |= {(site, task): (OWN + gain).tolist() for task in tasks}
    finished.finish(store, what, own, **facts)


def pair(store: Store, seeds: int = 5, better: Mapping[str, float] | float = 1.0, **more: Any) -> None:
    """Method `a` is better than `b` by this much, and in each seed by WIGGLE more."""
    for seed in range(seeds):
        shift = {site: own + WIGGLE[seed] for site, own in better.items()} if isinstance(better, Mapping) else better
        put(store, "a", seed, shift + WIGGLE[seed] if isinstance(shift, float) else shift, **more)
        put(store, "b", seed, None, **more)


def said(store: Store, capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> tuple[str, str]:
    """What is printed on both streams, with single blanks and without line breaks inside a paragraph."""
    capsys.readouterr()
    assert main(["compare", *arguments, "--results", str(store.runs.parent)]) == status
    shown = capsys.readouterr()
    found: list[str] = []
    for line in shown.out.splitlines():
        assert len(line) <= 120
        if line.startswith("  ") and "  " not in line.strip():
            found[-1] += " " + line.strip()
        else:
            found.append(" ".join(line.split()))
    return "\n".join(found), shown.err
