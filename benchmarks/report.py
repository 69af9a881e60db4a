"""`fedsynth report`: one self-contained HTML page with the tables of the finished runs, their curves and their images.

The page is a pure function of the runs and of what they left: made again, it is the same byte for byte.
"""

from __future__ import annotations

import argparse
from base64 import b64encode
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from .card import lines
from .figures import Entry, curves, read_gallery, to_png
from .histograms import histograms
from .leaderboard import Column, columns, finished
from .montage import montage
from .records import Record, write_atomically
from .store import Store
from .table import Finished, Table, tables

TEMPLATE = Path(__file__).with_name("report.html")
NAMES = ("method", "network")


def main(argv: list[str]) -> int:
    """Write the page; 1 if there is no finished run."""
    parser = argparse.ArgumentParser(prog="fedsynth report", description=__doc__)
    parser.add_argument(
        "patterns", nargs="*", metavar="PATTERN", help="names of runs, such as 'fedavg-*'; default: all"
    )
    parser.add_argument("--results", type=Path, default=Path("results"), help="where the runs are (default: results)")
    parser.add_argument("--out", type=Path, help="the page (default: RESULTS/report/index.html)")
    arguments = parser.parse_args(argv)
    runs = finished(Store(arguments.results), arguments.patterns)
    if not runs:
        return 1
    out = arguments.out or arguments.results / "report" / "index.html"
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, page(runs).encode())
    print(f"wrote {out}")
    return 0


def page(runs: Sequence[Finished]) -> str:
    """The whole page as HTML."""
    loader = FileSystemLoader(TEMPLATE.parent)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["arrow"] = lambda text: text.replace("->", "→")
    records = [run.record for run in runs]
    return environment.get_template(TEMPLATE.name).render(
        sections=[section(table) for table in tables(runs)], records=records, versions=versions(records)
    )


def section(table: Table) -> dict[str, Any]:
    """What the page shows of one table."""
    entries = [
        Entry(label, row.runs, read_gallery(row.runs[0].folder))
        for label, row in zip(labels(table), table.rows, strict=True)
    ]
    shown = columns(table)
    own = {place for row in table.rows if row.psnr for place in row.psnr.places}
    single = [column for column in shown if column.heading in own]
    card = table.rows[0].runs[0].record.data.get("card")
    return {
        "table": table,
        "card": card and {"lines": lines(card), "histograms": embedded(histograms(card))},
        "scores": [column for column in shown if column.heading not in own],
        "names": [column for column in shown if column.name in NAMES],
        "places": [(metric, list(found)) for metric, found in groupby(single, metric_of)],
        "heterogeneity": table.rows[0].runs[0].record.data["heterogeneity"],
        "curves": embedded(curves(entries)),
        "montages": [(place, embedded(montage(entries, place))) for place in places(entries)],
    }


def labels(table: Table) -> list[str]:
    """A name for each row, with the network where rows differ in it."""
    several = len({row.network for row in table.rows}) > 1
    return [f"{row.method}, {row.network}" if several else row.method for row in table.rows]


def metric_of(column: Column) -> str:
    """The metric of a column that shows a single site-task."""
    return column.name.rpartition(" ")[2]


def places(entries: Sequence[Entry]) -> list[str]:
    """Every "site/task" of which some row has images."""
    return sorted({place for entry in entries for place in entry.gallery})


def embedded(figure: Figure) -> str:
    """The figure as a data URI."""
    return f"data:image/png;base64,{b64encode(to_png(figure)).decode()}"


def versions(records: Sequence[Record]) -> dict[str, list[str]]:
    """What the runs were made with: every version of each library that occurs."""
    found: dict[str, set[str]] = {}
    for record in records:
        for name, version in record.environment["versions"].items():
            found.setdefault(name, set()).add(version)
    return {name: sorted(found[name]) for name in sorted(found)}
