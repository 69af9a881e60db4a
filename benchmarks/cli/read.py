"""The verbs that read what runs left."""

from __future__ import annotations

import math

import click

from .arguments import OVERRIDES, PATTERNS, RESULTS, Words, flag, out, words
from .completion import choice_names, metric_names, run_names
from .verb import Verb

FORMATS = ("pdf", "svg", "png")
COLUMNS = (1, 2)


class AboveZero(click.ParamType):
    """A finite number above 0."""

    name = "number"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = float(value)
        except ValueError:
            self.fail(f"{value!r} is not a number", param, ctx)
        if not 0 < number < math.inf:
            self.fail(f"{value} is not above 0", param, ctx)
        return number


class Formats(click.ParamType):
    """Formats of a figure, with commas between them."""

    name = "formats"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        found = value.split(",")
        if unknown := [format for format in found if format not in FORMATS]:
            self.fail(f"no format {unknown[0]!r}; there are {', '.join(FORMATS)}", param, ctx)
        return found


class MetricName(Words):
    """A column of an installed metric."""

    name = "metric"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from fedsynth.evaluation.columns import metric_column
        from fedsynth.registry import RegistryError

        try:
            metric_column(value)
        except RegistryError as error:
            self.fail(str(error), param, ctx)
        return value


METRIC = click.Option(
    ["--metric"],
    type=MetricName(metric_names),
    default="psnr",
    metavar="METRIC",
    help="What is compared, as `fedsynth list metrics` names it (default: psnr).",
)

STATUS = Verb(
    "status",
    "running.status",
    "show which runs are finished, failed or running, and why",
    [
        words(
            "words",
            "[PATTERN]... [OPTION=VALUE]...",
            "Names of runs, such as 'fedavg-*' (default: all); experiment=NAME [OPTION=VALUE]...: its cells, begun or not.",
            run_names,
            OVERRIDES,
        ),
        RESULTS,
        flag(["--watch"], "Look again every few seconds, until all are finished or you interrupt it."),
    ],
    examples=["fedsynth status 'fedavg-*'", "fedsynth status experiment=equal_footing seed=0,1 --watch"],
)
LEADERBOARD = Verb(
    "leaderboard",
    "leaderboard.leaderboard",
    "make tables: terminal, Markdown, CSV, LaTeX, HTML",
    [
        PATTERNS,
        RESULTS,
        out("Folder for leaderboard.md, .csv, ... (default: RESULTS/leaderboard)."),
        click.Option(
            ["--scenario"], type=Words(choice_names("scenario")), metavar="NAME", help="Only runs of this scenario."
        ),
        METRIC,
        click.Option(
            ["--selection"],
            default="selected",
            metavar="NAME",
            help="Whose scores: selected (by validation), last (round), or of a scenario that has them welcome, adapted-N,"
            " from-SITE, asked (default: selected).",
        ),
        click.Option(["--sort"], metavar="COLUMN", help="Sort the rows by a column, named as in the Markdown."),
        click.Option(["--only"], metavar="ROWS", help="Only these rows, with commas: fedavg,'fedprox mu=0.1'."),
        click.Option(
            ["--columns"], metavar="NAMES", help="The columns to read, named as in the CSV: method,PSNR,'worst 5 %'."
        ),
        click.Option(
            ["--caption"], default="", metavar="TEXT", help="The caption in LaTeX (default: title and meaning)."
        ),
        click.Option(
            ["--label"], default="fedsynth", metavar="NAME", help="The label in LaTeX, tab:NAME (default: fedsynth)."
        ),
    ],
    examples=[
        "fedsynth leaderboard '*-variable-*' --metric ssim",
        "fedsynth leaderboard --only fedavg,fedbn --sort SSIM",
    ],
)
COMPARE = Verb(
    "compare",
    "leaderboard.compare",
    "explain a pair of methods: difference, interval, costs",
    [
        click.Argument(
            ["a"], type=Words(choice_names("method")), metavar="A", help="A method, named as on the leaderboard."
        ),
        click.Argument(
            ["b"], type=Words(choice_names("method")), metavar="B", help="The method that it is compared with."
        ),
        PATTERNS,
        METRIC,
        click.Option(
            ["--selection"],
            default="selected",
            metavar="NAME",
            help="Whose scores, as of `fedsynth leaderboard` (default: selected).",
        ),
        click.Option(
            ["--bound"],
            type=AboveZero(),
            metavar="NUMBER",
            help="The largest difference that does not matter, in the unit shown (default: 0.2 dB of PSNR).",
        ),
        RESULTS,
    ],
    about="""A and B name rows as the leaderboard does: fedprox, or 'fedprox mu=0.1' where there are several, or fedprox/unet and
'fedprox mu=0.1/unet width=32' where it ran on several networks. Options that are not named may have any value, as long as one row
of a table fits.""",
    examples=["fedsynth compare fedbn fedavg", "fedsynth compare 'fedprox mu=0.1' fedavg '*-variable-*' --bound 0.1"],
)
PICTURES = flag(["--pictures"], "With pictures of patients too; without it, only simulated subjects are shown.")
REPORT = Verb(
    "report",
    "report.report",
    "make one HTML page with tables, curves and images",
    [PATTERNS, RESULTS, out("Folder for the page, index.html (default: RESULTS/report)."), PICTURES],
    examples=["fedsynth report '*-variable-*'"],
)
FIGURES = Verb(
    "figures",
    "report.figures",
    "draw every table's figures for a paper",
    [
        PATTERNS,
        RESULTS,
        out("Folder for the figures (default: RESULTS/figures)."),
        click.Option(
            ["--format"],
            type=Formats(),
            default="pdf",
            metavar="FORMATS",
            help=f"Of {','.join(FORMATS)} (default: pdf).",
        ),
        click.Option(
            ["--columns"], type=click.Choice(COLUMNS), default=2, help="Of a journal: 3.5 or 7.2 inches (default: 2)."
        ),
        PICTURES,
    ],
    examples=["fedsynth figures --format pdf,png --columns 1"],
)
