"""Who is complete at which site of a folder, and who is left out for what reason."""

from __future__ import annotations

import csv
import fnmatch
import glob
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from fedsynth.federation import FederationError, contrast_order
from fedsynth.federation.names import check_names, name_fault, visible

from .pattern import Match, fill
from .walk import is_ordinary

NO_SITE = "?"  # of a subject that the table of sites does not name


class LeftOut(NamedTuple):
    """A subject that cannot be used, and the reason."""

    site: str
    subject: str
    reason: str  # in words, which may have names and paths
    kind: str = "incomplete"  # in words that everybody may read

    def __str__(self) -> str:
        return visible(f"site {self.site}, subject {self.subject}: {self.reason}")


def refusal(left_out: Sequence[LeftOut], most: int = 5) -> str:
    """The message that subjects cannot be used, where none may be left out; it lists the first `most` of them."""
    lines = [str(one) for one in left_out[:most]]
    more = [f"and {len(left_out) - most} more"] if len(left_out) > most else []
    remedy = "mend this, leave subjects out by dataset.exclude, or go on without them by dataset.on_error=skip"
    count = "1 subject" if len(left_out) == 1 else f"{len(left_out)} subjects"
    return "\n  ".join([f"{count} cannot be used:", *lines, *more, remedy])


@dataclass(frozen=True, eq=False)
class CompleteSubject:
    """A subject with a volume of every contrast of its site, and with its mask if masks are given."""

    site: str
    subject: str
    session: str
    volumes: Mapping[str, Path]
    mask: Path | None = None


@dataclass(frozen=True)
class Survey:
    """What a folder holds."""

    complete: Mapping[str, Mapping[str, CompleteSubject]]  # by site and name
    contrasts: Mapping[str, tuple[str, ...]]  # by site: those that at least half of its subjects have
    found: Mapping[str, Mapping[str, int]]  # by site and contrast: how many subjects have it
    left_out: tuple[LeftOut, ...]
    excluded: Mapping[str, int]  # by site: how many subjects the layout leaves out by name
    matched: frozenset[Path]

    def files(self) -> list[Path]:
        """Every volume and mask of the complete subjects."""
        return [
            path
            for own in self.complete.values()
            for who in own.values()
            for path in (*who.volumes.values(), *([who.mask] if who.mask else ()))
        ]


class Rules(NamedTuple):
    """The options of a `Layout` that decide who is complete; it explains them."""

    contrast_names: Mapping[str, str]
    site: str
    table: Path | None
    table_subject: str
    table_site: str
    site_names: Mapping[str, str]
    exclude: Sequence[str]
    first: bool
    mask: str


def survey(root: Path, matches: Iterable[Match], rules: Rules) -> Survey:
    """Sort the matches by site, subject and session, and decide who is complete. No volume is opened."""
    site_of = _SiteOf(rules)
    check_names("dataset.contrast_names: contrast", rules.contrast_names.values())
    # (site, subject) -> session -> contrast -> paths
    volumes: dict[tuple[str, str], dict[str, dict[str, list[Path]]]] = {}
    labels: dict[tuple[str, str], Mapping[str, str]] = {}
    excluded: set[tuple[str, str]] = set()
    matched: set[Path] = set()
    for path, fields in matches:
        matched.add(path)
        subject, site = fields["subject"], site_of(fields)
        who = (site, subject)
        if any(fnmatch.fnmatchcase(name, shape) for shape in rules.exclude for name in (subject, f"{site}/{subject}")):
            excluded.add(who)
            continue
        labels.setdefault(who, fields)
        session = volumes.setdefault(who, {}).setdefault(fields.get("session") or "", {})
        session.setdefault(rules.contrast_names[fields["contrast"]], []).append(path)
    found: dict[str, Counter[str]] = {}
    for (site, _), sessions in sorted(volumes.items()):
        found.setdefault(site, Counter()).update({contrast for own in sessions.values() for contrast in own})
    people = Counter(site for site, _ in volumes)
    contrasts = {site: contrast_order(c for c in own if 2 * own[c] >= people[site]) for site, own in found.items()}
    complete: dict[str, dict[str, CompleteSubject]] = {site: {} for site in found if site != NO_SITE}
    left_out: list[LeftOut] = []
    for (site, subject), sessions in sorted(volumes.items()):
        if site == NO_SITE:
            left_out.append(
                LeftOut(site, subject, f"{rules.table} does not name its site; add a line for it", "of no site")
            )
            continue
        if fault := name_fault(subject):
            left_out.append(LeftOut(site, subject, f"its name {fault}; rename its folder or its files"))
            continue
        candidate = _first_complete(site, subject, sessions, contrasts[site], rules.first)
        if isinstance(candidate, CompleteSubject) and rules.mask:
            fields = {**labels[site, subject], "session": candidate.session}
            candidate = _with_mask(candidate, root, rules.mask, fields)
        if isinstance(candidate, CompleteSubject):
            complete[site][subject] = candidate
        else:
            left_out.append(LeftOut(site, subject, candidate))
    contrasts.pop(NO_SITE, None)
    return Survey(
        complete, contrasts, found, tuple(left_out), Counter(site for site, _ in excluded), frozenset(matched)
    )


def _first_complete(
    site: str, subject: str, sessions: Mapping[str, Mapping[str, list[Path]]], contrasts: Sequence[str], first: bool
) -> CompleteSubject | str:
    """The subject in the first of its sessions that has every contrast once, or the reason why there is no such session."""
    reasons = []
    for session, volumes in sorted(sessions.items()):
        where = f"session {session}: " if session else ""
        one = next(iter(volumes.values()))[0]
        several = [c for c in contrasts if len(volumes.get(c, ())) > 1]
        if missing := [c for c in contrasts if c not in volumes]:
            reasons.append(
                f"{where}it has {one.name} but no volume of {', '.join(missing)}, which others there have; add it, or"
                " remove the contrast from dataset.contrast_names"
            )
        elif several and not first:
            paths = volumes[several[0]]
            reasons.append(
                f"{where}it has {len(paths)} volumes of {several[0]}, {paths[0]} and {paths[1]}; let the names say which"
                " it is (dataset.pattern, or entities of BIDS), or use the first by name with dataset.first=true"
            )
        else:
            return CompleteSubject(site, subject, session, {c: sorted(volumes[c])[0] for c in contrasts})
    return "; ".join(reasons)


def _with_mask(
    candidate: CompleteSubject, root: Path, pattern: str, fields: Mapping[str, str]
) -> CompleteSubject | str:
    """The candidate with its mask, or the reason why it has none."""
    wanted = fill(pattern, {key: value for key, value in fields.items() if key != "contrast"})
    paths = sorted(path for name in glob.glob(wanted, root_dir=root) if is_ordinary(path := root / name))
    if len(paths) != 1:
        return f"{len(paths) or 'no'} masks match {wanted}, where one is expected; correct dataset.chain.mask"
    return replace(candidate, mask=paths[0])


class _SiteOf:
    """The site of a match: from the table of sites if there is one, else from its path, else the layout's only site."""

    def __init__(self, rules: Rules) -> None:
        self._rules, self._labels = rules, dict[str, str]()
        self._table = (
            dict(_sites_of_subjects(rules.table, rules.table_subject, rules.table_site)) if rules.table else {}
        )

    def __call__(self, fields: Mapping[str, str]) -> str:
        label = fields.get("site") or self._rules.site
        if self._rules.table:
            subject = fields["subject"]
            label = self._table.get(subject) or self._table.get(subject.removeprefix("sub-"), "")
        if not label:
            return NO_SITE
        name = self._rules.site_names.get(label) or re.sub(r"[^\w-]+", "_", label).strip("_-") or "site"
        if self._labels.setdefault(name, label) != label and label not in self._rules.site_names:
            raise FederationError(
                f"the sites {self._labels[name]!r} and {label!r} would both be called {name}; rename one, as in"
                f" +dataset.site_names.{name}2=..."
            )
        check_names("site", [name])
        return name


def table_columns(path: Path) -> Sequence[str]:
    """The names of a table's columns. Raises FederationError if it cannot be read."""
    with _reading(path) as table:
        return table.fieldnames or ()


def _sites_of_subjects(path: Path, subject: str, site: str) -> Iterator[tuple[str, str]]:
    """Subject and site of every line of a table."""
    with _reading(path) as table:
        if missing := [column for column in (subject, site) if column not in (table.fieldnames or ())]:
            raise FederationError(
                f"{path} has no column {missing[0]!r}; it has {', '.join(table.fieldnames or ()) or 'none'}; set"
                " dataset.table_subject and dataset.table_site, or for one site alone dataset.site=NAME and"
                " 'dataset.table=\"\"'"
            )
        for row in table:
            if (label := (row[site] or "").strip()) not in ("", "n/a"):
                yield (row[subject] or "").strip(), label


@contextmanager
def _reading(path: Path) -> Iterator[csv.DictReader[str]]:
    """A table that is being read. The columns of a `.tsv` file are separated by tabs, otherwise by commas."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FederationError(f"the table of sites {path} cannot be read ({error}); correct dataset.table") from error
