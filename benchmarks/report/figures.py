"""`fedsynth figures`: every table's figures for a paper, as vectors, one or two columns wide."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from tqdm import tqdm

from fedsynth.runtime.atomic import write_atomically

from ..leaderboard.by_train_size import families, family_title, train_subjects
from ..leaderboard.cross_site import homes
from ..leaderboard.newcomers import adaptation_stages
from ..records.finished import finished_runs
from ..records.store import Store
from ..stats.scores import StatsError
from ..tables.ranking import ranking
from ..tables.table import Table, tables
from .plots.differences.critical_difference import draw_critical_difference
from .plots.differences.forest import draw_forest
from .plots.differences.improvement import draw_improvement
from .plots.images.gallery import draw_gallery
from .plots.plotted_row import may_be_shown, plotted_rows
from .plots.reference_lines import line_scores
from .plots.scores.boxplots import draw_boxplots
from .plots.scores.by_train_size import draw_by_train_size
from .plots.scores.curves import draw_curves
from .plots.scores.heatmap import draw_heatmap
from .plots.scores.pareto import draw_pareto
from .plots.scores.profiles import draw_profiles
from .plots.style import figure_bytes


def main(
    patterns: Sequence[str], results: Path, out: Path | None, format: Sequence[str], columns: int, pictures: bool
) -> int:
    """Write the figures; 1 if there is no finished run."""
    runs = finished_runs(Store(results), patterns)
    if not runs:
        return 1
    found = tables(runs)
    out = out or results / "figures"
    out.mkdir(parents=True, exist_ok=True)
    made = tqdm(figures(found, columns, pictures), unit="figure", disable=None, leave=False)
    count = 0
    for name, figure in made:
        for ending in format:
            write_atomically(out / f"{name}.{ending}", figure_bytes(figure, ending))
            count += 1
    print(f"wrote {count} figures to {out}")
    return 0


def figures(found: Sequence[Table], columns: int, pictures: bool = False) -> Iterator[tuple[str, Figure]]:
    """Every figure with the name of its file; `pictures`: also of patients. Says on standard error which figure cannot be drawn,
    and why."""
    names, shown = file_names([table.title for table in found]), may_be_shown(found, pictures)
    for table, name, with_images in zip(found, names, shown, strict=True):
        for kind, figure in table_figures(table, columns, with_images):
            yield f"{name}-{kind}", figure
    scarce = families(found)
    for own, name in zip(scarce, file_names([family_title(own) for own in scarce]), strict=True):
        yield f"{name}-by-train-size", draw_by_train_size([(train_subjects(table), table) for table in own], columns)
    try:
        yield "critical-difference", draw_critical_difference(ranking(found), columns)
    except StatsError as error:
        print(f"fedsynth: no critical-difference diagram: {error}", file=sys.stderr)


def table_figures(table: Table, columns: int, with_images: bool = True) -> Iterator[tuple[str, Figure]]:
    """The figures of one table, each with its kind."""
    rows = plotted_rows(table, with_images)
    yield "curves", draw_curves(rows, line_scores(table, "psnr"), columns)
    if any(row.matrix for row in table.rows):
        yield "boxplots", draw_boxplots(table, columns)
        yield "pareto", draw_pareto(table, columns)
        if homes(table):
            yield "across-sites", draw_heatmap(table, columns)
        if adapted := adaptation_stages(table):
            yield "newcomers", draw_by_train_size(list(adapted.items()), columns)
        if len(table.seeds) > 1:
            yield "profiles", draw_profiles(table, columns)
            for kind, draw in (("forest", draw_forest), ("improvement", draw_improvement)):
                if figure := draw(table, columns):
                    yield kind, figure
    for site_task in sorted({site_task for row in rows for site_task in row.gallery}):
        yield f"gallery-{hyphenated(site_task)}", draw_gallery(rows, site_task, columns)


def file_names(titles: Sequence[str]) -> list[str]:
    """A file name for each title, without an ending; names that would be the same are numbered."""
    names = [hyphenated(title.removesuffix(": smoke run"))[:80] for title in titles]
    return [
        f"{name}-{names[:number].count(name) + 1}" if names.count(name) > 1 else name
        for number, name in enumerate(names)
    ]


def hyphenated(text: str) -> str:
    """The text in letters, digits and hyphens."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text.replace("->", "-to-")).strip("-")
