"""How a verb is shown, found and called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module

import click

import fedsynth

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


class Verb(click.Command):
    """A verb: its arguments, and the module under benchmarks/ whose `main` takes them by name and returns the exit status.

    `about` follows the summary in the help, and `examples` end it. With `resumes`, `main` also takes the `command` as it was
    typed, to say how to go on after an interruption.
    """

    def __init__(
        self,
        name: str,
        module: str,
        summary: str,
        params: Sequence[click.Parameter],
        *,
        about: str = "",
        examples: Sequence[str] = (),
        resumes: bool = False,
    ) -> None:
        super().__init__(
            name, SETTINGS, params=[*params], short_help=summary, help=f"{summary[0].upper()}{summary[1:]}.\n\n{about}"
        )
        self.module, self.examples, self.resumes = module, examples, resumes

    def invoke(self, ctx: click.Context) -> int:
        more = {"command": ctx.obj} if self.resumes else {}
        try:
            status: int = import_module(f"fedsynth.benchmarks.{self.module}").main(**ctx.params, **more)
        except click.UsageError as error:  # of words that only the verb itself understands
            error.ctx = error.ctx or ctx
            raise
        return status

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        if self.examples:
            with formatter.section("Examples"):
                formatter.write("".join(f"  {example}\n" for example in self.examples))


class Verbs(click.Group):
    """Verbs under a name. A name that none of them has is answered with the nearest one."""

    def __init__(self, name: str, verbs: Sequence[click.Command], summary: str = "") -> None:
        super().__init__(
            name,
            {verb.name or "": verb for verb in verbs},
            context_settings=SETTINGS,
            short_help=summary,
            help=f"{summary[:1].upper()}{summary[1:]}.",
            no_args_is_help=False,
            subcommand_metavar="VERB ...",
            options_metavar="",
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            ctx.fail(f"{self.name} what? there are {', '.join(self.commands)}")
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if self.get_command(ctx, args[0]) is None and not ctx.resilient_parsing:
            ctx.fail(f"no verb {args[0]!r}; {nearest(args[0], self.commands)}")
        return super().resolve_command(ctx, args)


class Program(Verbs):
    """All verbs, by the heading under which the help shows them."""

    def __init__(self, headings: Mapping[str, Sequence[click.Command]]) -> None:
        super().__init__("fedsynth", [verb for verbs in headings.values() for verb in verbs])
        self.headings = headings
        version = click.Option(["--version"], is_flag=True, is_eager=True, expose_value=False, callback=show_version)
        self.params = [version]

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write("Usage: fedsynth VERB [ARGUMENTS]; `fedsynth VERB -h` explains a verb\n\n")
        width = max(map(len, self.commands)) + 2
        for heading, verbs in self.headings.items():
            for verb in verbs:
                formatter.write(f"  {heading:8}{verb.name:{width}}{verb.short_help}\n")
                heading = ""
        formatter.write("\n  fedsynth run -m experiment=demo method=local,fedavg,fedbn\n  fedsynth leaderboard")


def show_version(ctx: click.Context, option: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        click.echo(f"fedsynth {fedsynth.__version__}")
        ctx.exit()


def nearest(text: str, names: Mapping[str, object] | Sequence[str]) -> str:
    """The name that is spelt most like the text, or all names."""
    near = get_close_matches(text, [*names], 1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"


def sentence(error: click.UsageError) -> str:
    """What is wrong with a command, in a line."""
    if isinstance(error, click.NoSuchOption):
        known = [name for param in error.ctx.command.params for name in param.opts] if error.ctx else []
        return f"no option {error.option_name!r}; {nearest(error.option_name, [*known, '--help'])}"
    text = error.format_message().rstrip(".")
    return text[:1].lower() + text[1:]


def hint(error: click.UsageError) -> str:
    """Where the help is."""
    return f"`{error.ctx.command_path if error.ctx else 'fedsynth'} -h` shows how"
