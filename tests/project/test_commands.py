"""Every command that a page, a table's README or the Makefile prints is one that the command line understands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from support.source import ROOMS, ROOT, python_files

from fedsynth.benchmarks.cli import PROGRAM

PAGES = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "results/*.md", "results/*/README.md", "conf/**/*.yaml", "Makefile")
    for path in ROOT.glob(pattern)
)


def commands(text: str) -> Iterator[str]:
    """The commands of a page: lines of its code blocks, and what stands in backticks; comments are cut off."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    inline = re.findall(r"(?<!`)`((?:\.venv/bin/)?fedsynth\s[^`]+)`", text)
    for line in lines + [" ".join(each.split()) for each in inline]:
        if found := re.match(r"(?:\$ )?(?:\.venv/bin/)?fedsynth (.*)", line):
            yield re.split(r"\s+#|\s&&\s|\s\|\s", found[1])[0].strip()


def refused(command: str) -> str:
    """Why the command line refuses a command; "" if it does not. Words that the verb itself reads are not looked at."""
    words = [word for word in shlex.split(command) if word != "..."]
    context, verb = click.Context(PROGRAM, info_name="fedsynth"), PROGRAM
    try:
        while isinstance(verb, click.Group):
            if not words or words[0].startswith("-"):
                return "" if words in (["-h"], ["--help"], ["--version"]) else f"no verb in {command!r}"
            _, verb, words = verb.resolve_command(context, words)
        if words and words not in (["-h"], ["--help"]):  # a bare verb is its name
            verb.make_context(verb.name, words)
    except click.UsageError as error:
        if "is installed" in error.message:  # of a plug-in that the page itself adds
            return ""
        return f"fedsynth {command}: {error.format_message()}"
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_are_understood(page: Path) -> None:
    assert [reason for command in commands(page.read_text()) if (reason := refused(command))] == []


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("list", ""),
        ("run -m method=fedavg,fedbn seed=0,1", ""),
        ("compare A B --results results/x", ""),
        ("compare A", "Missing argument"),
        ("leaderbord", "no verb 'leaderbord'"),
        ("leaderboard --metrik ssim", "No such option"),
        ("pack ours.zip", "no verb 'pack'"),
        ("records pack ours.zip", ""),
        ("sweep experiment=demo results=x", "--results"),
    ],
)
def test_a_command_that_is_not_understood_is_told(command: str, reason: str) -> None:
    assert reason in refused(command)
    assert bool(reason) is bool(refused(command))


def test_commands_are_found_in_blocks_and_sentences() -> None:
    block = "```\nfedsynth run \\\n  a=1   # one\n$ fedsynth list && x\nmake demo\n```\n"
    assert list(commands(f"{block}and `fedsynth status` or `.venv/bin/fedsynth\nreport`")) == [
        "run    a=1",
        "list",
        "status",
        "report",
    ]


def test_the_verbs_that_the_code_names_exist() -> None:
    """In messages and docstrings: `fedsynth VERB ...`."""
    verbs = {
        f"{group.name} {name}"
        for group in PROGRAM.commands.values()
        if isinstance(group, click.Group)
        for name in group.commands
    }
    verbs |= set(PROGRAM.commands)
    named = [
        (path.relative_to(ROOT), found)
        for path in python_files(ROOT, *ROOMS)
        for found in re.findall(r"`fedsynth ([a-z]+(?: (?:pack|merge|publish|export|features))?)", path.read_text())
    ]
    assert [(str(path), verb) for path, verb in named if verb not in verbs] == []
