"""What the shells offer for a word that is begun: names of runs, choices, and OPTION=VALUE. None of it loads torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import click
from click.shell_completion import BashComplete, CompletionItem, FishComplete, add_completion_class

Offer = Callable[[click.Context, str], Iterator[CompletionItem]]


def run_names(ctx: click.Context, begun: str) -> Iterator[CompletionItem]:
    """The runs of the store that the command names."""
    from ..records.store import Store

    for name in Store(Path(ctx.params.get("results") or "results")).names():
        yield CompletionItem(name)


def choice_names(*groups: str) -> Offer:
    """The choices of these groups."""

    def offer(ctx: click.Context, begun: str) -> Iterator[CompletionItem]:
        from ..contract.sources import choices

        for group in groups:
            for choice in choices(group)[0]:
                yield CompletionItem(choice.name, help=choice.summary)

    return offer


def metric_names(ctx: click.Context, begun: str) -> Iterator[CompletionItem]:
    """The columns of `scores.csv`."""
    from fedsynth.evaluation.columns import metric_columns

    yield from map(CompletionItem, metric_columns())


def overrides(*groups: str) -> Offer:
    """`GROUP=CHOICE`, also for the last of several choices with commas.

    The groups alone are offered only where several are possible: after a single candidate, a shell would add a space.
    """

    def offer(ctx: click.Context, begun: str) -> Iterator[CompletionItem]:
        name, equals, value = begun.partition("=")
        fitting = [group for group in groups if group == name or (not equals and group.startswith(name))]
        if len(fitting) > 1:
            yield from (CompletionItem(f"{group}=") for group in fitting)
        for group in fitting if len(fitting) == 1 else ():
            head = f"{group}={value[: value.rfind(',') + 1]}"
            for item in choice_names(group)(ctx, ""):
                yield CompletionItem(head + item.value, help=item.help)

    return offer


def plural_groups(ctx: click.Context, begun: str) -> Iterator[CompletionItem]:
    """The names of all groups in the plural, as `fedsynth list` takes them."""
    from ..contract.sources import LISTED

    yield from (CompletionItem(f"{group}s") for group in LISTED)


def any_folder(ctx: click.Context, begun: str) -> Iterator[CompletionItem]:
    """A folder of the disk, which the shell looks for by itself."""
    yield CompletionItem(begun, type="dir")


class Bash(BashComplete):
    """Bash takes `=` for the end of a word. The parts are joined for click, and only what follows the last `=` is handed back."""

    def get_completion_args(self) -> tuple[list[str], str]:
        args, incomplete = super().get_completion_args()
        joined: list[str] = []
        for part in [*args, incomplete]:
            if joined and (part.startswith("=") or joined[-1].endswith("=")):
                joined[-1] += part
            else:
                joined.append(part)
        self.cut = joined[-1].rfind("=") + 1
        return joined[:-1], joined[-1]

    def format_completion(self, item: CompletionItem) -> str:
        whole = "=" in item.value and not item.value.startswith("-")
        return f"{item.type},{item.value[self.cut :] if whole else item.value}"


class Fish(FishComplete):
    """Click's script cuts what it offers at each comma; this one at the first, which ends the type."""

    source_template = FishComplete.source_template.replace('string split ","', 'string split --max 1 ","')


for shell in (Bash, Fish):
    add_completion_class(shell)
