"""Tables that differ only in how many subjects the sites train on: where federation begins to beat training alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from .blocks import score
from .means import Means
from .pair import full
from .records import Record, canonical
from .table import Table, comparable


@dataclass(frozen=True)
class Family:
    """A name and, for each row that has any, training subjects of a site (the median) -> PSNR in dB."""

    title: str
    rows: dict[str, dict[float, float]]


def families(tables: Sequence[Table], of: Mapping[str, Means]) -> list[Family]:
    """Every set of tables with two or more sizes; `of` has the means of each run, by its name."""
    groups: dict[str, list[Table]] = {}
    for table in tables:
        groups.setdefault(canonical(alike(table.rows[0].runs[0].record)), []).append(table)
    found = []
    for _, own in sorted(groups.items()):
        if len({size(table.rows[0].runs[0].record) for table in own}) < 2:
            continue
        rows: dict[str, dict[float, float]] = {}
        for table in own:
            subjects = size(table.rows[0].runs[0].record)
            for row in table.rows:
                if not row.missing:
                    rows.setdefault(full(row), {})[subjects] = score(row, table.selection, of)
        title = own[0].title.partition(",")[0].partition(":")[0]
        found.append(Family(title, {name: dict(sorted(rows[name].items())) for name in sorted(rows)}))
    return found


def alike(record: Record) -> dict[str, Any]:
    """What tables have in common that differ in the number of training subjects only: the same data, tasks and budget."""
    shared = comparable(record)
    return shared | {"scenario": {name: own for name, own in shared["scenario"].items() if name != "train_subjects"}}


def size(record: Record) -> float:
    """Training subjects of a site, the median over those that train."""
    sizes = record.data["subjects_and_slices"]
    return float(median(sizes[site]["train"][0] for site in record.identity["scenario"]["tasks"]))
