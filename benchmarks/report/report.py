"""`fedsynth report`: one self-contained HTML page with the tables of the finished runs, their curves and their images.

The page depends only on the runs, the files that they left and the source of their methods: made again, it is the same byte for
byte. It holds its numbers as JSON, one block a tab, and its images as data URIs. The scripts in page/ draw a tab when it is
opened; the page works from a file and needs no network.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import matplotlib
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from tqdm import tqdm

from fedsynth.runtime.atomic import write_atomically

from ..leaderboard.by_train_size import families, family_title, train_subjects
from ..records.finished import FinishedRun, finished_runs
from ..records.record import Record
from ..records.score_table import Means, mean_of_known
from ..records.store import Store
from ..stats.scores import StatsError
from ..tables.ranking import ranking
from ..tables.row import RowName
from ..tables.table import Table, tables
from .failures import failures
from .images import TileBudget, tile_picture
from .methods import methods_block
from .plots.images.tile_grid import ERRORS
from .plots.plotted_row import GalleryError, may_be_shown, plotted_rows, read_gallery
from .plots.style import COLOURS
from .sections import json_number, table_block

PAGE = Path(__file__).with_name("page")
SCRIPTS = ("elements", "settings", "sortable", "chart", "methods", "sections", "curves", "gallery", "overview", "tabs")
RUN = (
    "run",
    "method",
    "network",
    "seed",
    "score",
    "seconds",
    "outcome",
    "selected round",
    "commit",
    "device",
    "finished (UTC)",
)


def main(patterns: Sequence[str], results: Path, out: Path | None, pictures: bool) -> int:
    """Write the page; 1 if there is no finished run."""
    store = Store(results)
    runs = finished_runs(store, patterns)
    if not runs:
        return 1
    file = (out or results / "report") / "index.html"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, report_page(store, runs, patterns, file.parent, pictures).encode())
    print(f"wrote {file}")
    return 0


def report_page(
    store: Store,
    runs: Sequence[FinishedRun],
    patterns: Sequence[str] = (),
    folder: Path | None = None,
    pictures: bool = False,
) -> str:
    """The whole page as HTML; `folder` is where it will lie. Below the results it links to the records, elsewhere not, because
    such links would tell folders of this machine. `pictures`: of patients too."""
    place, root = folder or store.runs.parent / "report", store.runs.parent.resolve()
    inside = place.resolve().is_relative_to(root)
    addresses = [relative_address(run.file.resolve(), place.resolve()) if inside else "" for run in runs]
    run_means = {
        run.record.run: run.score_table.means()
        for run in tqdm(runs, "averaging", unit="run", disable=None, leave=False)
    }
    found = tables(runs)
    script = "".join((PAGE / f"{name}.js").read_text() for name in SCRIPTS)
    script = f'"use strict";\n(() => {{\n{script}}})();\n'
    environment = Environment(
        loader=FileSystemLoader(PAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html").render(
        titles=[table.title for table in found],
        runs=len(runs),
        style=Markup((PAGE / "page.css").read_text()),
        script=Markup(script),
        digest=b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        blocks=[
            *(
                (name, embedded_json(block))
                for name, block in data_blocks(store, runs, patterns, found, run_means, pictures)
            ),
            ("addresses", embedded_json(addresses)),
        ],
    )


def data_blocks(
    store: Store,
    runs: Sequence[FinishedRun],
    patterns: Sequence[str],
    found: Sequence[Table],
    run_means: Mapping[str, Means],
    pictures: bool,
) -> Iterator[tuple[str, Any]]:
    """The page's blocks of data, each with its name."""
    records = [run.record for run in runs]
    methods = sorted({record.identity["method"]["name"] for record in records})
    error_colours = matplotlib.colormaps[ERRORS](range(256), bytes=True)[:, :3]
    yield "common", {"methods": methods, "colours": len(COLOURS), "errors": error_colours.tobytes().hex()}
    yield "overview", overview_block(found)
    yield "methods", methods_block(methods)
    places = {record.run: place for place, record in enumerate(records)}
    shown = zip(found, may_be_shown(found, pictures), strict=True)
    sizes = [gallery_size(table) if own else (0, list[int]()) for table, own in shown]
    budget = TileBudget.of(sizes)
    for number, table in enumerate(tqdm(found, "drawing", unit="table", disable=None, leave=False)):
        rows = plotted_rows(table, with_images=True) if sizes[number][0] else []
        site_tasks = sorted({site_task for row in rows for site_task in row.gallery})
        images = [tile_picture(rows, site_task, budget) for site_task in site_tasks]
        yield f"table-{number}", table_block(table, run_means, places) | {"images": [facts for facts, _ in images]}
        for place, (_, picture) in enumerate(images):
            yield f"images-{number}-{place}", picture
    labels = {run.record.run: row.name for table in found for row in table.rows for run in row.runs}
    lines = [[*run_result(run, labels, run_means[run.record.run]), *run_origin(run)] for run in runs]
    yield "runs", {"heads": [*RUN, "record"], "rows": lines, "versions": library_versions(records)}
    yield "failures", [[one.name, one.outcome, one.attempts, one.reason] for one in failures(store, patterns, found)]


def gallery_size(table: Table) -> tuple[int, list[int]]:
    """How many rows have images, and how many subjects the first that can be read has at each site-task."""
    runs = [row.runs[0] for row in table.rows if (row.runs[0].folder / "gallery.npz").is_file()]
    for run in runs:
        with suppress(GalleryError):
            return len(runs), [len(own["target"]) for own in read_gallery(run).values()]
    return len(runs), []


def overview_block(found: Sequence[Table]) -> dict[str, Any]:
    """What the first tab says of all tables together."""
    try:
        over = ranking(found)
        ranks: dict[str, Any] = {
            "names": over.names,
            "blocks": over.blocks,
            "mean": [json_number(float(value)) for value in over.ranks.mean],
            "low": [json_number(float(value)) for value in over.ranks.low],
            "high": [json_number(float(value)) for value in over.ranks.high],
            "p": json_number(over.ranks.p),
            "critical": json_number(over.ranks.critical),
            "cliques": over.cliques(),
        }
    except StatsError as error:
        ranks = {"reason": str(error)}
    summaries = [
        {
            "title": table.title,
            "rows": len(table.rows),
            "runs": sum(len(row.runs) for row in table.rows),
            "seeds": len(table.seeds),
            "holes": sum(len(row.missing) for row in table.rows),
            "diverged": sum(row.diverged for row in table.rows),
            "below floor": sum(row.below_floor for row in table.rows),
            "who leads": table.headline,
            "ranks": "smoke run" if table.smoke else "not ranked" if table.not_ranked else "ranked",
        }
        for table in found
    ]
    scores = [
        {
            row.full_name: [json_number(row.psnr.mean), row.statistics and json_number(row.statistics.lead)]
            for row in table.rows
            if row.psnr
        }
        for table in found
    ]
    scarce = [{"title": family_title(family), "rows": psnr_by_train_size(family)} for family in families(found)]
    return {"tables": summaries, "ranks": ranks, "scores": scores, "scarce": scarce}


def psnr_by_train_size(family: Sequence[Table]) -> dict[str, list[list[float | None]]]:
    """Row -> training subjects, PSNR and half of its interval, for every table that has the row."""
    rows: dict[str, list[list[float | None]]] = {}
    for table in family:
        for row, margin in zip(table.rows, table.margins("psnr"), strict=True):
            if row.psnr:
                rows.setdefault(row.full_name, []).append([train_subjects(table), row.psnr.mean, json_number(margin)])
    return {name: rows[name] for name in sorted(rows)}


def run_result(run: FinishedRun, labels: Mapping[str, RowName], means: Means) -> list[Any]:
    """The run's name, its row, its seed, its score and its seconds: the beginning of a line of the tab of runs."""
    record = run.record
    parts = (record.identity[part]["name"] for part in ("method", "network"))
    psnr = mean_of_known(
        [own.get("psnr", math.nan) for (selection, *_), own in means.items() if selection == "selected"]
    )
    seconds = record.costs["seconds"]
    return [
        record.run,
        *labels.get(record.run, parts),
        record.identity["seed"],
        json_number(psnr),
        json_number(seconds),
    ]


def run_origin(run: FinishedRun) -> list[Any]:
    """Where the numbers of a run come from: the rest of the line."""
    record = run.record
    environment = record.environment
    return [
        f"{record.status}: {record.reason}" if record.reason else record.status,
        record.selected_round or None,
        (environment["commit"][:10] or "-") + (" with changes" if environment["dirty"] else ""),
        environment["device"],
        record.finished[:16].replace("T", " "),
        hashlib.sha256((run.folder / "record.json").read_bytes()).hexdigest()[:12],
    ]


def relative_address(file: Path, folder: Path) -> str:
    """The address of a file on a page in a folder."""
    return f"./{quote(Path(os.path.relpath(file, folder)).as_posix())}"


def library_versions(records: Sequence[Record]) -> dict[str, list[str]]:
    """Each library that the runs were made with, and every version of it that occurs."""
    found: dict[str, set[str]] = {}
    for record in records:
        for name, version in record.environment["versions"].items():
            found.setdefault(name, set()).add(version)
    return {name: sorted(found[name]) for name in sorted(found)}


def embedded_json(block: Any) -> Markup:
    """JSON that no browser takes for markup."""
    text = json.dumps(block, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
