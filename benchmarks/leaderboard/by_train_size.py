"""How few training subjects make federation pay: tables that differ in nothing else, beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from ..records.record import canonical
from ..tables.row import Row
from ..tables.table import Table, comparable
from ..tables.views.columns import gain_columns, mean_column, with_rivals
from ..tables.views.reference_rows import with_means
from ..tables.views.view import Column, TableView, name_columns, without_empty


def by_train_size(tables: Sequence[Table]) -> list[TableView]:
    """A view for each set of tables that differ in their number of training subjects alone."""
    return [_side_by_side(family) for family in families(tables)]


def families(tables: Sequence[Table]) -> list[list[Table]]:
    """Each set of tables of the same data, tasks and budget with different numbers of training subjects, fewest first."""
    groups: dict[str, list[Table]] = {}
    for table in tables:
        shared = comparable(table.record)
        scenario = {name: own for name, own in shared["scenario"].items() if name != "train_subjects"}
        groups.setdefault(canonical(shared | {"scenario": scenario}), []).append(table)
    sets = [sorted(own, key=train_subjects) for _, own in sorted(groups.items())]
    return [own for own in sets if len({train_subjects(table) for table in own}) == len(own) > 1]


def train_subjects(table: Table) -> float:
    """The number of training subjects of a site, the median over the sites that train."""
    sizes = table.record.data["subjects_and_slices"]
    return float(median(sizes[site]["train"][0] for site in table.scenario["tasks"]))


def family_title(family: Sequence[Table]) -> str:
    """What the titles of the tables have in common."""
    return family[0].title.partition(",")[0].partition(":")[0]


def _side_by_side(family: Sequence[Table]) -> TableView:
    """Rows by name, columns by the number of training subjects, fewest first."""
    metric = family[0].metric
    by_name = [{row.name: row for row in table.rows} for table in family]
    names = list(dict.fromkeys(name for rows in reversed(by_name) for name in rows))
    ordered = [[rows.get(name) for name in names] for rows in by_name]
    shown = [*name_columns(names)]
    for table, rows in zip(family, ordered, strict=True):
        label = f"{train_subjects(table):g}"
        own = [mean_column(rows, metric, label, heading=("subjects", label))]
        for column in gain_columns(rows, metric):
            own.append(replace(column, name=f"{label} {column.name}", heading=("gain", label)))
        shown += with_rivals(rows, own)
    statistics = [row.statistics for rows in ordered for row in rows if row and row.statistics]
    if any(own.gain and own.gain.significant is not None for own in statistics):
        beats = (_sizes_that_beat_local(family, own) for own in zip(*ordered, strict=True))
        shown.append(Column("beats local at", tuple(beats)))
    caption = (
        f"{metric.heading} by the number of training subjects of a site (median over sites); the test subjects are the same.",
        "Gain is the difference to `local` with the same network and as many subjects; +- is half of a 95 % interval, * where "
        "it is not 0 (5 % for all gains with as many subjects together); without *: not shown to differ, or below the look-up "
        "table, or that was not recorded. Beats local at: the numbers of subjects where a gain with * is above 0.",
    )
    unranked = [f"{train_subjects(table):g}" for table in family if table.not_ranked]
    notes = (f"Not ranked with {', '.join(unranked)} subjects; the table of each says why.",) if unranked else ()
    title = f"{family_title(family)}: by training subjects"
    view = TableView(title, family[0].selection, without_empty(shown), notes, caption)
    return with_means(view, {f"{train_subjects(table):g}": table for table in family})


def _sizes_that_beat_local(family: Sequence[Table], rows: Sequence[Row | None]) -> str:
    """The numbers of subjects with which a row, given for each table, is significantly above `local`."""
    found = []
    for table, row in zip(family, rows, strict=True):
        decision = row.statistics.gain if row and row.statistics else None
        if row and row.claims and decision and decision.significant and decision.comparison.difference > 0:
            found.append(f"{train_subjects(table):g}")
    return ", ".join(found) or "-"
