"""`fedsynth leaderboard`: tables of the finished runs on the terminal, and in full as Markdown and CSV."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import Any

from .caption import SELECTION
from .records import SELECTIONS, write_atomically
from .store import Store
from .table import DECIMALS, Finished, Table, tables

WIDTH = 120  # characters of a line on the terminal
HOW = "make some with `fedsynth run -m method=local,fedavg,fedbn`, or in a few minutes all of the demo with `make demo`"


@dataclass(frozen=True)
class Column:
    """A column of a table: a value a row, None where there is none."""

    name: str
    values: tuple[str | int | float | None, ...]
    decimals: int = 0
    compact: bool = True  # shown on the terminal too
    heading: tuple[str, str] = ("", "")  # there, in two lines, if not the name

    @property
    def is_number(self) -> bool:
        return not any(isinstance(value, str) for value in self.values)

    def cells(self) -> list[str]:
        """The values as they are printed."""
        printed = []
        for value in self.values:
            printed.append(
                f"{value:,.{self.decimals}f}" if isinstance(value, float) else "-" if value is None else str(value)
            )
        return printed

    def lines(self) -> list[str]:
        """Two lines of heading and the cells, all of one width: words begin on the left, numbers end on the right."""
        above, head = self.heading
        found = [above, head or self.name, *self.cells()]
        width = max(map(len, found))
        return [cell.rjust(width) if self.is_number else cell.ljust(width) for cell in found]


def main(argv: list[str]) -> int:
    """Print and write the tables; 1 if there is no finished run."""
    parser = argparse.ArgumentParser(prog="fedsynth leaderboard", description=__doc__)
    parser.add_argument(
        "patterns", nargs="*", metavar="PATTERN", help="names of runs, such as 'fedavg-*'; default: all"
    )
    parser.add_argument("--results", type=Path, default=Path("results"), help="where the runs are (default: results)")
    parser.add_argument("--out", type=Path, help="folder for leaderboard.md and .csv (default: RESULTS/leaderboard)")
    parser.add_argument("--last", action="store_true", help="score the last round, not the one selected by validation")
    arguments = parser.parse_args(argv)
    runs = finished(Store(arguments.results), arguments.patterns)
    if not runs:
        return 1
    selection = SELECTIONS[arguments.last]
    found = tables(runs, selection)
    out = arguments.out or arguments.results / "leaderboard"
    out.mkdir(parents=True, exist_ok=True)
    for name, content in (("leaderboard.md", markdown(found)), ("leaderboard.csv", to_csv(found))):
        write_atomically(out / name, content.encode())
    print("\n\n".join(map(terminal, found)))
    print("\n".join(["", *wrap(f"PSNR in dB, SSIM x 100, each site-task's PSNR; of {SELECTION[selection]}.", WIDTH)]))
    print(f"In full: {out / 'leaderboard.md'} and {out / 'leaderboard.csv'}")
    return 0


def finished(store: Store, patterns: Sequence[str]) -> list[Finished]:
    """The runs that tables are made of. Says on standard error what is left out, and where there is none how to make some."""
    records, damaged = store.records(patterns)
    for reason in damaged:
        print(f"fedsynth: left out: {reason}", file=sys.stderr)
    if unfinished := len(store.names(patterns)) - len(records) - len(damaged):
        print(f"fedsynth: left out: {unfinished} not finished; `fedsynth status` tells more", file=sys.stderr)
    if not records:
        named = f" named {' or '.join(patterns)}" if patterns else ""
        print(f"fedsynth: no finished run{named} in {store.runs}; {HOW}", file=sys.stderr)
    return [Finished.read(store, record) for record in records]


def columns(table: Table) -> list[Column]:
    """All that is told of the rows: names, seeds, scores and costs."""
    rows = table.rows
    found = [] if table.smoke else [Column("rank", tuple(row.rank for row in rows))]
    found.append(Column("method", tuple(row.method for row in rows)))
    found.append(Column("network", tuple(row.network for row in rows), compact=len({row.network for row in rows}) > 1))
    if len({row.policy for row in rows}) > 1:
        found.append(Column("buffers", tuple(row.policy for row in rows), compact=False))
    seeds = tuple(f"{len(row.seeds)}/{len(table.seeds)}" for row in rows)
    found.append(Column("seeds", seeds, compact=any(row.missing for row in rows)))
    diverged = tuple(row.diverged for row in rows)
    found.append(Column("diverged", diverged, compact=any(diverged)))
    metrics = {"PSNR": [row.psnr for row in rows], "SSIM": [row.ssim for row in rows]}
    for name, scores in metrics.items():
        found.append(Column(name, tuple(score.mean if score else None for score in scores), DECIMALS))
        if len(table.seeds) > 1:
            values = tuple(score.sd if score else None for score in scores)
            found.append(Column(f"{name} sd", values, DECIMALS, name == "PSNR", (name, "sd")))
    places = next((score.places for score in metrics["PSNR"] if score), {})
    for name, scores in metrics.items():
        for place in places:
            values = tuple(score.places[place] if score else None for score in scores)
            found.append(Column(f"{' '.join(place)} {name}", values, DECIMALS, name == "PSNR", place))
    costs = {
        "MB up": (3, [row.bytes_up / 1e6 for row in rows]),
        "MB down": (3, [row.bytes_down / 1e6 for row in rows]),
        "parameters (M)": (3, [row.cost("parameters") / 1e6 for row in rows]),
        "travelling (M)": (3, [row.cost("parameters_travelling") / 1e6 for row in rows]),
        "gradient evaluations (k)": (1, [row.cost("gradient_evaluations") / 1e3 for row in rows]),
        "seconds": (1, [row.cost("seconds") for row in rows]),
    }
    return found + [Column(name, tuple(values), digits, compact=False) for name, (digits, values) in costs.items()]


def terminal(table: Table) -> str:
    """The scores in lines of at most WIDTH characters where names allow it, and the notes."""
    lines = [table.title]
    for block in blocks([column for column in columns(table) if column.compact]):
        cells = zip(*(column.lines() for column in block), strict=True)
        lines += ["", *("  ".join(parts).rstrip() for parts in cells)]
    notes = [line for note in table.notes for line in wrap(note, WIDTH)]
    return "\n".join([*lines, "", *notes] if notes else lines)


def blocks(found: Sequence[Column]) -> Iterator[list[Column]]:
    """The columns side by side as far as they fit; each further block begins with the names again."""
    names = [column for column in found if column.name in ("method", "network")]
    block: list[Column] = []
    for column in found:
        if block and sum(len(other.lines()[0]) + 2 for other in (*block, column)) - 2 > WIDTH:
            yield block
            block = [*names]
        block.append(column)
    yield block


def markdown(found: Sequence[Table]) -> str:
    """Every table in full, with its notes and its caption."""
    lines = ["# Leaderboard", ""]
    for table in found:
        align = {True: "--:", False: ":--"}
        cells = [[column.name, align[column.is_number], *column.cells()] for column in columns(table)]
        lines += [f"## {table.title}", "", *(f"**{note}**  " for note in table.notes), ""]
        lines += [
            "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in zip(*cells, strict=True)
        ]
        lines += ["", *(f"- {line}" for line in table.caption), ""]
    return "\n".join(lines)


def to_csv(found: Sequence[Table]) -> str:
    """All tables below each other, numbers with all their digits; columns that a table lacks are empty."""
    rows: list[dict[str, Any]] = []
    for table in found:
        shown = columns(table)
        for index, row in enumerate(table.rows):
            facts = {"table": table.title, "scores": table.selection, "rank": row.rank}
            codes = {f"{part} code": row.code[part] for part in ("method", "network")}
            values = {column.name: column.values[index] for column in shown}
            rows.append(facts | values | {"seeds": len(row.seeds), "missing seeds": len(row.missing)} | codes)
    heads = dict.fromkeys(head for row in rows for head in row)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(heads), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
