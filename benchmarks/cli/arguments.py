"""The arguments that several verbs share, each spelt in one way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from .completion import Offer, overrides, run_names

PATH = click.Path(path_type=Path)


class Words(click.ParamType):
    """Words such as names of runs and OPTION=VALUE. The folder of the results is not such a word, so that it has one spelling."""

    name = "words"

    def __init__(self, *offers: Offer) -> None:
        self.offers = offers

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        key, equals, folder = value.partition("=")
        if equals and key.lstrip("+") == "results":
            raise click.UsageError(f"{value}: the folder of the results is given as --results {folder or 'DIR'}", ctx)
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        items = [item for offer in self.offers for item in offer(ctx, incomplete)]
        return [item for item in items if item.value.startswith(incomplete)]


def words(name: str, metavar: str, help: str, *offers: Offer, required: bool = False) -> click.Argument:
    """Any number of words, and what is offered for one that is begun."""
    return click.Argument([name], nargs=-1, required=required, type=Words(*offers), metavar=metavar, help=help)


def out(help: str) -> click.Option:
    """Where what the verb makes goes."""
    return click.Option(["--out"], type=PATH, metavar="DIR", help=help)


def jobs(help: str, default: int | None = None) -> click.Option:
    """How many processes share the work."""
    return click.Option(["--jobs"], type=click.IntRange(1), default=default, metavar="N", help=help)


def counted(name: str, default: int, help: str) -> click.Option:
    """A number of at least 1."""
    return click.Option(
        [name], type=click.IntRange(1), default=default, metavar="N", help=f"{help} (default: {default})."
    )


def flag(names: Sequence[str], help: str) -> click.Option:
    return click.Option(names, is_flag=True, help=help)


OVERRIDES = overrides("method", "network", "dataset", "scenario", "experiment", "optimizer", "schedule")
PATTERNS = words("patterns", "[PATTERN]...", "Names of runs, such as 'fedavg-*' (default: all).", run_names)
RUNS = words("runs", "RUN...", "Names of finished runs, such as 'fedbn-*'.", run_names, required=True)
RESULTS = click.Option(
    ["--results"], type=PATH, default=Path("results"), metavar="DIR", help="Where the runs are (default: results)."
)
RESULTS_OF_RUN = click.Option(["--results"], type=PATH, metavar="DIR", help="Where the runs go (default: results).")
