"""`fedsynth list`: what there is to choose from, and the options of each choice."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from textwrap import shorten

from click import UsageError

from ..config.errors import PUBLISHED
from .sources import LISTED, Choice, choices

KINDS = {f"{group}s": group for group in LISTED}


def main(names: Sequence[str]) -> int:
    """Print the named kinds, or all, and the options of what else is named; 1 if there is a file that cannot be read."""
    found: dict[str, list[Choice]] = {}
    broken: dict[str, str] = {}
    for group in LISTED:
        found[group], faults = choices(group)
        broken |= faults
    named = found | {"network": [*found["network"], *(Choice(f"{PUBLISHED}{own.name}", "") for own in found["method"])]}
    known = [*KINDS, *(choice.name for group in LISTED for choice in named[group])]
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"there is no {unknown[0]!r}; {_nearest(unknown[0], known)}")
    parts = []
    for name in names or KINDS:
        if name in KINDS:
            parts.append([name, *_lines(found[KINDS[name]])])
        else:
            from .description import description  # reads YAML, which a list of names does without

            parts += [description(group, own) for group, every in named.items() for own in every if own.name == name]
    print("\n\n".join("\n".join(part) for part in parts))
    for origin, reason in broken.items():
        print(f"fedsynth: {origin}: {reason}", file=sys.stderr)
    return int(bool(broken))


def _nearest(text: str, known: Sequence[str]) -> str:
    near = get_close_matches(text, known)
    return f"the nearest: {', '.join(near)}" if near else "`fedsynth list` shows what there is"


def _lines(found: Sequence[Choice]) -> list[str]:
    """A line a choice, cut to the width of the terminal, if there is one."""
    longest = max((len(own.name) for own in found), default=0)
    room = max(shutil.get_terminal_size().columns - longest - 4, 20) if sys.stdout.isatty() else sys.maxsize
    told = [f"{own.summary} [{own.origin}]" if own.origin else own.summary for own in found]
    return [
        f"  {own.name:{longest}}  {shorten(text, room, placeholder='...')}"
        for own, text in zip(found, told, strict=True)
    ]
