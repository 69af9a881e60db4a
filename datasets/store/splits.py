"""Which subjects train, validate and test, drawn site by site or given as a table. No subject is in two splits."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path

from fedsynth.federation import SPLITS, FederationError

COLUMNS = ("site", "subject", "split")

Splits = Mapping[str, Mapping[str, str]]  # site -> subject -> split


def draw_splits(site: str, subjects: Iterable[str], seed: int, val: float, test: float) -> dict[str, str]:
    """Subject -> split, as the seed draws it: `val` and `test` are shares of the site's subjects; each split gets at least one.

    A subject's place in the draw follows from the seed, the site and its own name. So if a subject joins or leaves, at most one
    other changes to or from each split. Raises FederationError for fewer than three subjects.
    """
    order = draw_order(site, subjects, seed)
    if len(order) < len(SPLITS):
        raise FederationError(
            f"site {site} has {len(order)} subjects ({', '.join(sorted(order))}) and needs one in each of {', '.join(SPLITS)}"
        )
    validated = min(max(1, round(val * len(order))), len(order) - 2)
    tested = min(max(1, round(test * len(order))), len(order) - 1 - validated)
    named = ["test"] * tested + ["val"] * validated + ["train"] * (len(order) - tested - validated)
    return dict(zip(order, named, strict=True))


def draw_order(site: str, subjects: Iterable[str], seed: int) -> list[str]:
    """The subjects as the seed draws them: first those who test, then those who validate."""
    return sorted(set(subjects), key=lambda name: sha256(repr((seed, site, name)).encode()).digest())


def read_splits(path: Path) -> dict[str, dict[str, str]]:
    """The splits of a CSV file with the columns site, subject and split. Raises FederationError for an invalid line."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            if missing := [column for column in COLUMNS if column not in (table.fieldnames or ())]:
                raise FederationError(f"{path} has no column {missing[0]}; a table of splits has {', '.join(COLUMNS)}")
            rows = [tuple((row[column] or "").strip() for column in COLUMNS) for row in table]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FederationError(f"{path} cannot be read as a table of splits ({error})") from error
    found: dict[str, dict[str, str]] = {}
    for number, (site, subject, split) in enumerate(rows, 2):
        if split not in SPLITS:
            raise FederationError(f"{path}, line {number}: {split!r} is not a split; use one of {', '.join(SPLITS)}")
        if subject in found.setdefault(site, {}):
            raise FederationError(
                f"{path}, line {number}: subject {subject} of site {site} occurs twice; delete one line"
            )
        found[site][subject] = split
    return found


def write_splits(path: Path, splits: Splits) -> None:
    """Write the table that `read_splits` reads."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for site in sorted(splits):
            table.writerows((site, subject, split) for subject, split in sorted(splits[site].items()))


def given_splits(splits: Splits, source: Path, site: str, subjects: Iterable[str]) -> dict[str, str]:
    """Subject -> split for a site's subjects, from a given table. Raises FederationError for one that it does not name."""
    own = splits.get(site, {})
    if unnamed := sorted(set(subjects) - set(own)):
        raise FederationError(
            f"{source} does not name {len(unnamed)} of the subjects of site {site}, such as {unnamed[0]}; give each a line"
        )
    return {subject: own[subject] for subject in subjects}
