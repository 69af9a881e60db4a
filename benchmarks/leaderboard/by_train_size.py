"""How few training subjects make federation pay: tables that differ in nothing else, beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from ..records.record import canonical
from ..tables.columns import filled, gain
from ..tables.ranking import Name
from ..tables.row import Row
from ..tables.table import Table, comparable
from ..tables.view import Column, TableView


def scarcity(tables: Sequence[Table]) -> list[TableView]:
    """A panel for every set of tables that differ in their number of training subjects alone."""
    return [joined(own) for own in families(tables)]


def families(tables: Sequence[Table]) -> list[list[Table]]:
    """Every set of tables of the same data, tasks and budget with different numbers of training subjects, fewest first."""
    groups: dict[str, list[Table]] = {}
    for table in tables:
        shared = comparable(table.rows[0].runs[0].record)
        scenario = {name: own for name, own in shared["scenario"].items() if name != "train_subjects"}
        groups.setdefault(canonical(shared | {"scenario": scenario}), []).append(table)
    sets = [sorted(own, key=subjects) for _, own in sorted(groups.items())]
    return [own for own in sets if len({subjects(table) for table in own}) == len(own) > 1]


def subjects(table: Table) -> float:
    """Training subjects of a site, the median over sites that train."""
    record = table.rows[0].runs[0].record
    sizes = record.data["subjects_and_slices"]
    return float(median(sizes[site]["train"][0] for site in record.identity["scenario"]["tasks"]))


def title(own: Sequence[Table]) -> str:
    """What such tables have in common."""
    return own[0].title.partition(",")[0].partition(":")[0]


def joined(own: Sequence[Table]) -> TableView:
    """Rows by name, columns by training subjects, fewest first."""
    metric = own[0].metric
    rows = [{(row.method, row.network): row for row in table.rows} for table in own]
    names = list(dict.fromkeys(name for table in reversed(rows) for name in table))
    shown = [Column("method", tuple(method for method, _ in names))]
    networks = tuple(network for _, network in names)
    shown.append(Column("network", networks, compact=len(set(networks)) > 1))
    for table, found in zip(own, rows, strict=True):
        label, there = f"{subjects(table):g}", [found.get(name) for name in names]
        scores = [row.scores.get(metric.column) if row else None for row in there]
        values = tuple(score.mean if score else None for score in scores)
        shown.append(Column(label, values, metric.digits, heading=("subjects", label), better=metric.sign))
        shown += [replace(column, name=f"{label} {column.name}") for column in gain(there, metric)]
    if any(
        row.statistics and row.statistics.gain and row.statistics.gain.significant is not None
        for t in own
        for row in t.rows
    ):
        shown.append(Column("beats local at", tuple(beaten(name, own, rows) for name in names)))
    caption = (
        f"{metric.heading} by the number of training subjects of a site (median over sites); the test subjects are the same.",
        "Gain: over `local` with the same network and as many subjects; +- is half of a 95 % interval; p is corrected for all "
        "gains with as many subjects (Holm). Beats local at: where its gain is significant and above 0.",
    )
    notes = tuple(dict.fromkeys(note for table in own for note in table.notes if note.startswith(("Smoke", "Few"))))
    return TableView(f"{title(own)}: by training subjects", own[0].selection, tuple(filled(shown)), notes, caption)


def beaten(name: Name, own: Sequence[Table], rows: Sequence[dict[Name, Row]]) -> str:
    """The numbers of subjects with which a row is significantly above `local`."""
    found = []
    for table, named in zip(own, rows, strict=True):
        row = named.get(name)
        decision = row.statistics.gain if row and row.statistics else None
        if decision and decision.significant and decision.comparison.difference > 0:
            found.append(f"{subjects(table):g}")
    return ", ".join(found) or "-"
