"""Which files of a folder are a data set's volumes, and what their paths say: patterns such as `{subject}/{contrast}.nii.gz`."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from fedsynth.federation import FederationError

PLACES = ("site", "subject", "session", "contrast")
SPECIAL = re.compile(r"(\{.*?\}|\*+)")  # splits a pattern into literal text, special, literal text, ..., literal text
MOST = 8  # specials in one folder's or file's name: beyond it, to say that a name does not match could take for ever


class Match(NamedTuple):
    """A path that the pattern describes; `fields`: what stands in its places."""

    path: Path
    fields: Mapping[str, str]


def match_pattern(root: Path, pattern: str, contrasts: Mapping[str, str], folders: bool = False) -> Iterator[Match]:
    """Every file (or every folder) under `root` that the pattern describes, by path.

    `*` is any text without a slash, `{site}`, `{subject}` and `{session}` some, `{contrast}` one of the texts in `contrasts`,
    the longest first, so that T1ce is not taken for T1. A place that stands twice holds the same text twice. Hidden files are
    left alone. Lists folders and opens no file. Raises FederationError for a pattern that cannot be one.
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
        if described and described["contrast"] and (root / path).is_dir() == folders:
            yield Match(root / path, described.groupdict())


def _candidates(root: Path, pieces: list[str]) -> list[str]:
    """What the pattern matches with every place a `*`, relative to `root`."""
    wildcards = "".join("*" if i % 2 else glob.escape(piece) for i, piece in enumerate(pieces))
    return sorted(PurePosixPath(path).as_posix() for path in glob.glob(wildcards, root_dir=root))


def check_pattern(pattern: str) -> None:
    """Raises FederationError for what is no pattern of volumes, saying how one looks."""
    pieces = SPECIAL.split(pattern)
    places = [special.strip("{}") for special in pieces[1::2] if special.startswith("{")]
    if not pattern.isprintable() or {"{", "}"} & set("".join(pieces[::2])):
        raise FederationError(f"the pattern {pattern!r} holds an unpaired brace or a character that no path has")
    if unknown := sorted(set(places) - set(PLACES)):
        raise FederationError(
            f"the pattern {pattern} holds {{{unknown[0]}}}; its places can be {', '.join(f'{{{p}}}' for p in PLACES)}"
        )
    if "**" in pattern or not {"subject", "contrast"} <= set(places):
        raise FederationError(f"the pattern {pattern} must hold {{subject}} and {{contrast}}, and no **")
    path = PurePosixPath(pattern)
    if path.is_absolute() or ".." in path.parts:
        raise FederationError(f"the pattern {pattern} must stay inside dataset.root: no leading / and no ..")
    if any(len(SPECIAL.findall(part)) > MOST for part in path.parts):
        raise FederationError(
            f"the pattern {pattern} has more than {MOST} places and * in one name; write some of it out"
        )


def fill(pattern: str, fields: Mapping[str, str]) -> str:
    """The pattern as a glob, with what is known in its places and the rest left open."""
    pieces = SPECIAL.split(pattern)
    known = [glob.escape(fields.get(piece.strip("{}")) or "") or "*" for piece in pieces[1::2]]
    return "".join(glob.escape(a) + b for a, b in zip(pieces[::2], [*known, ""], strict=True))
