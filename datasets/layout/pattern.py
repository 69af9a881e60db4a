"""Patterns such as `{subject}/{contrast}.nii.gz`, which say what files are volumes and what their paths mean."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from fedsynth.federation import FederationError

from .walk import is_ordinary

PLACES = ("site", "subject", "session", "contrast")
SPECIAL = re.compile(r"(\{.*?\}|\*+)")  # splits a pattern into literal text, special, literal text, ..., literal text
MOST = 8  # specials in the name of one folder or file; with more, a name that does not match could take for ever


class Match(NamedTuple):
    """A path that a pattern describes, and what stands in each of the pattern's places."""

    path: Path
    fields: Mapping[str, str]


def match_pattern(root: Path, pattern: str, contrasts: Mapping[str, str], folders: bool = False) -> Iterator[Match]:
    """Every file (with `folders`, every folder) under `root` that the pattern describes, sorted by path. No file is opened.

    `*` stands for any text without a slash, or none; `{site}`, `{subject}` and `{session}` for at least one such character;
    `{contrast}` for one of the texts in `contrasts`, where the longest is tried first so that T1ce is not read as T1. A place
    that occurs twice must hold the same text twice. Hidden files are ignored. Raises FederationError for an invalid pattern.
    """
    check_pattern(pattern)
    forms = {place: f"(?P<{place}>[^/]+)" for place in PLACES}
    names = sorted(contrasts, key=len, reverse=True)
    forms["contrast"] = f"(?P<contrast>{'|'.join(map(re.escape, names)) or '(?!)'})"
    pieces = SPECIAL.split(pattern)
    expression = ""
    for literal, special in zip(pieces[::2], [*pieces[1::2], ""], strict=True):
        expression += re.escape(literal)
        if place := special.strip("{}") if special.startswith("{") else "":
            expression += forms[place]
            forms[place] = f"(?P={place})"
        elif special:
            expression += "[^/]*"
    for path in _candidates(root, pieces):
        described = re.fullmatch(expression, path)
        wanted = (root / path).is_dir() if folders else is_ordinary(root / path)
        if described and described["contrast"] and wanted:
            yield Match(root / path, described.groupdict())


def _candidates(root: Path, pieces: list[str]) -> list[str]:
    """The paths, relative to `root`, that match the pattern with `*` in every place."""
    wildcards = "".join("*" if i % 2 else glob.escape(piece) for i, piece in enumerate(pieces))
    return sorted(PurePosixPath(path).as_posix() for path in glob.glob(wildcards, root_dir=root))


def check_pattern(pattern: str) -> None:
    """Raises FederationError for an invalid pattern, and says what a valid one looks like."""
    pieces = SPECIAL.split(pattern)
    places = [special.strip("{}") for special in pieces[1::2] if special.startswith("{")]
    if not pattern.isprintable() or {"{", "}"} & set("".join(pieces[::2])):
        raise FederationError(f"the pattern {pattern!r} has an unpaired brace or an unprintable character")
    if unknown := sorted(set(places) - set(PLACES)):
        raise FederationError(
            f"the pattern {pattern} has the place {{{unknown[0]}}}; its places can be {', '.join(f'{{{p}}}' for p in PLACES)}"
        )
    if "**" in pattern or not {"subject", "contrast"} <= set(places):
        raise FederationError(
            f"the pattern {pattern} needs the places {{subject}} and {{contrast}}, and must not have **"
        )
    path = PurePosixPath(pattern)
    if path.is_absolute() or ".." in path.parts:
        raise FederationError(f"the pattern {pattern} leads out of dataset.root; remove its leading / or its ..")
    if any(len(SPECIAL.findall(part)) > MOST for part in path.parts):
        raise FederationError(
            f"the pattern {pattern} has more than {MOST} places and * in the name of one folder or file; write some of them out"
        )


def fill(pattern: str, fields: Mapping[str, str]) -> str:
    """The pattern as a glob: each place with its text in `fields`, or `*` where that is unknown."""
    pieces = SPECIAL.split(pattern)
    known = [glob.escape(fields.get(piece.strip("{}")) or "") or "*" for piece in pieces[1::2]]
    return "".join(glob.escape(a) + b for a, b in zip(pieces[::2], [*known, ""], strict=True))
