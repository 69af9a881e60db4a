"""`fedsynth figures`: every table's figures for a paper, as vectors, one or two columns wide."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from tqdm import tqdm

from ..leaderboard.by_train_size import families, subjects, title
from ..leaderboard.cross_site import homes
from ..leaderboard.newcomers import stages
from ..records.finished import finished
from ..records.record import write_atomically
from ..records.store import Store
from ..stats.scores import StatsError
from ..tables.ranking import ranking
from ..tables.table import Table, tables
from .plots.boxplots import boxplots
from .plots.by_train_size import by_subjects
from .plots.critical_difference import critical_difference
from .plots.curves import curves
from .plots.gallery import montage
from .plots.heatmap import heat
from .plots.pareto import front
from .plots.style import FORMATS, WIDTHS, Entry, drawn, read_gallery
from .sections import names


def main(argv: list[str]) -> int:
    """Write the figures; 1 if there is no finished run."""
    parser = argparse.ArgumentParser(prog="fedsynth figures", description=__doc__)
    parser.add_argument(
        "patterns", nargs="*", metavar="PATTERN", help="names of runs, such as '*-variable-*'; default: all"
    )
    parser.add_argument("--results", type=Path, default=Path("results"), help="where the runs are (default: results)")
    parser.add_argument("--out", type=Path, help="folder for the figures (default: RESULTS/figures)")
    parser.add_argument("--format", type=formats, default=["pdf"], help=f"of {','.join(FORMATS)} (default: pdf)")
    parser.add_argument(
        "--columns", type=int, choices=WIDTHS, default=2, help="of a journal: 3.5 or 7.2 inches (default: 2)"
    )
    arguments = parser.parse_args(argv)
    runs = finished(Store(arguments.results), arguments.patterns)
    if not runs:
        return 1
    found = tables(runs)
    out = arguments.out or arguments.results / "figures"
    out.mkdir(parents=True, exist_ok=True)
    made = tqdm(figures(found, arguments.columns), unit="figure", disable=None, leave=False)
    count = 0
    for name, figure in made:
        for format in arguments.format:
            write_atomically(out / f"{name}.{format}", drawn(figure, format))
            count += 1
    print(f"wrote {count} figures to {out}")
    return 0


def formats(typed: str) -> list[str]:
    """The formats of a list with commas."""
    found = typed.split(",")
    if unknown := [format for format in found if format not in FORMATS]:
        raise argparse.ArgumentTypeError(f"no format {unknown[0]!r}; there are {', '.join(FORMATS)}")
    return found


def figures(found: Sequence[Table], columns: int) -> Iterator[tuple[str, Figure]]:
    """Every figure with its file's name. Says on standard error which cannot be drawn."""
    for table, folder in zip(found, slugs([table.title for table in found]), strict=True):
        entries = [
            Entry(name, row.runs, read_gallery(row.runs[0].folder))
            for name, row in zip(names(table), table.rows, strict=True)
        ]
        whole = [entry for entry, row in zip(entries, table.rows, strict=True) if not row.missing]
        yield f"{folder}-curves", curves(entries, columns)
        if whole:
            yield f"{folder}-boxplots", boxplots(whole, columns)
            points = {
                name: (row.cost("bytes_up") + row.cost("bytes_down"), row.psnr.mean)
                for name, row in zip(names(table), table.rows, strict=True)
                if row.psnr
            }
            yield f"{folder}-front", front(whole, points, columns)
            if homes(table):
                yield f"{folder}-across-sites", heat(table, columns)
            if adapted := stages(table):
                yield f"{folder}-newcomers", by_subjects(list(adapted.items()), columns)
        for place in sorted({place for entry in entries for place in entry.gallery}):
            yield f"{folder}-gallery-{slug(place)}", montage(entries, place, columns)
    scarce = families(found)
    for own, folder in zip(scarce, slugs([title(own) for own in scarce]), strict=True):
        yield f"{folder}-by-subjects", by_subjects([(subjects(table), table) for table in own], columns)
    try:
        yield "critical-difference", critical_difference(ranking(found), columns)
    except StatsError as error:
        print(f"fedsynth: no critical-difference diagram: {error}", file=sys.stderr)


def slugs(titles: Sequence[str]) -> list[str]:
    """A file name a title, numbered where that is not enough."""
    plain = [slug(title.removesuffix(": smoke run"))[:80] for title in titles]
    return [
        f"{name}-{plain[:number].count(name) + 1}" if plain.count(name) > 1 else name
        for number, name in enumerate(plain)
    ]


def slug(text: str) -> str:
    """Letters, digits and hyphens."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text.replace("->", "-to-")).strip("-")
