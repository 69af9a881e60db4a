"""`fedsynth prepare`: volumes become arrays once, with contact sheets and a data card that show what they hold."""

from __future__ import annotations

import io
import json
import re
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from click import UsageError

from fedsynth.federation import SPLITS, Dataset, FederationError, Site
from fedsynth.registry import DATASETS
from fedsynth.runtime.atomic import write_atomically

from ..config.compose import composed, load_choices
from ..config.explain import explained
from ..config.identity import plain
from ..config.own_files import conf_files
from ..config.schema import Run
from ..records.data_card import Alike, Facts, alike, card_facts, card_markdown, shift
from ..records.record import fingerprint
from ..records.text_table import how_many, text_table
from ..report.plots.images.intensities import draw_intensities
from ..report.plots.style import figure_bytes
from .contact_sheet import pages

LISTED = 20  # subjects that were left out; names.json has all


def main(words: Sequence[str], jobs: int, out: Path | None, verify: bool) -> int:
    """Prepare a data set, or with `verify` only report what its folder holds.

    Returns 0 if it is prepared, or if the report says that every subject can be used; 1 if it says that some cannot; 2 if no
    layout describes the folder; 130 if it was interrupted. Raises UsageError or OptionError for an impossible command, and then
    nothing was changed.
    """
    try:
        load_choices()
        overrides = [word for word in words if "=" in word and not Path(word).exists()]
        folders = [word for word in words if word not in overrides]
        if len(folders) > 1:
            raise UsageError(f"two folders, {folders[0]} and {folders[1]}, where one is expected")
        named = any(word.startswith("dataset=") for word in overrides)
        if not named and not (folders and verify):
            instead = f", and not {overrides[0]}" if overrides else ""
            raise UsageError(f"which data set? Give dataset=NAME{instead}; --verify FOLDER tries all layouts on it")
        with explained():
            if not named:
                return _try_layouts(folders[0], overrides)
            dataset = _compose(overrides, *folders)
            return _print_report(dataset) if verify else _prepare(dataset, out, jobs)
    except KeyboardInterrupt:
        print("fedsynth: interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130


def _compose(overrides: list[str], root: str = "") -> Dataset:
    """The data set that the overrides name, with `root` as its folder."""
    dataset = Run.of(composed(overrides)).dataset
    if not root:
        return dataset
    if "root" not in {option.name for option in fields(dataset)}:
        raise FederationError(
            f"dataset={DATASETS.name_of(type(dataset))} is not made from a folder; leave {root} out of the command"
        )
    return replace(dataset, root=root)  # type: ignore[call-arg]  # it has one


def _prepare(dataset: Dataset, out: Path | None, jobs: int) -> int:
    """Prepare a data set; print what it holds, which subjects were left out, and how to use it."""
    options = {option.name for option in fields(dataset)}
    name = DATASETS.name_of(type(dataset))
    if out and "out" in options:
        dataset = replace(dataset, out=str(out))  # type: ignore[call-arg]  # it has one
    keep: Any = DATASETS["prepared"]
    if isinstance(dataset, keep):
        return _card_of_folders(dataset, out)
    place = out or Path("prepared", f"{name}-{fingerprint(plain(asdict(dataset)))[:8]}")
    store = keep.keep(dataset, place, jobs)
    sites = {site: store.site(site) for site in store.contrasts}
    index = store.index()
    found = card_facts(sites, {site: [row for row in index if row["site"] == site] for site in sites})
    left_out = store.names.left_out
    notes = [f"Left out: {how_many(len(left_out), 'subject')}; names.json says why."] if left_out else []
    pairs = alike(sites)
    notes += [*_misplaced(index), *_one_person(pairs, lambda site, subject: subject)]
    _write_card(store.folder, store.info["label"], found, sites, notes)
    sheets = store.folder / "sheets"
    sheets.mkdir(exist_ok=True)
    sheets.chmod(0o700)  # they have names
    for site in sites.values():
        known = tuple(replace(own, name=store.names.name(site.name, own.name)) for own in site.subjects)
        for number, page in enumerate(pages(replace(site, subjects=known)), 1):
            content = io.BytesIO()
            page.save(content, "png")
            write_atomically(sheets / f"{site.name}-{number}.png", content.getvalue())
    by_name = [{**row, "subject": store.names.name(row["site"], row["subject"])} for row in index]
    doubts = [*_misplaced(by_name, LISTED), *_one_person(pairs, store.names.name, LISTED)]
    print("\n\n".join([_summary(found, left_out), *doubts]))
    folders, names = _override("dataset.folders", [str(store.folder)]), _override("scenario.sites", sites)
    print(f"\nLook at {sheets} and {store.folder / 'card.md'} before you train.")
    print(f"To use it, give fedsynth run\n  dataset=prepared {folders} {names}")
    return 0


def _card_of_folders(dataset: Any, out: Path | None) -> int:
    """Write one data card of all folders of `dataset=prepared`. The folders stay as they are."""
    place = out or Path("prepared", f"card-{fingerprint(plain(asdict(dataset)))[:8]}")
    if (place / "dataset.json").exists():
        raise FederationError(f"{place} holds prepared data with a card of its own; give another folder by --out")
    with tempfile.TemporaryDirectory() as cache:
        sites = {name: dataset.load(name, Path(cache)) for name in dataset.contrasts()}
    found = card_facts(sites, {name: dataset.volumes(name) for name in sites})
    place.mkdir(parents=True, exist_ok=True)
    misplaced = _misplaced([row for name in sites for row in dataset.volumes(name)])
    doubts = [*misplaced, *_one_person(alike(sites), lambda site, subject: subject)]
    _write_card(place, ", ".join(dataset.folders), found, sites, doubts)
    print("\n\n".join([_summary(found, []), *doubts]))
    print(f"\nLook at {place / 'card.md'} before you train.")
    return 0


def _write_card(folder: Path, label: str, found: Facts, sites: Mapping[str, Site], notes: Sequence[str] = ()) -> None:
    """Write card.md, and the picture that it shows."""
    write_atomically(folder / "card.png", figure_bytes(draw_intensities(found)))
    write_atomically(folder / "card.md", card_markdown(f"Data card: {label}", found, shift(sites), notes).encode())


def _misplaced(index: Sequence[Mapping[str, str]], most: int | None = None) -> list[str]:
    """A paragraph about volumes that seem not to lie on the reference contrast, the first `most` of them; or nothing."""
    lines = [
        f"site {row['site']}, subject {row['subject']}, {row['contrast']}: {row['fault']}"
        for row in index
        if row.get("fault")
    ]
    what = f"{how_many(len(lines), 'volume')} may not lie on the reference contrast of the same subject; look at them:"
    return _listed(what, lines, most)


def _one_person(pairs: Sequence[Alike], name: Callable[[str, str], str], most: int | None = None) -> list[str]:
    """A paragraph about subjects that are alike, the first `most` pairs of them; or nothing."""
    lines = [
        f"site {one.one[0]}, subject {name(*one.one)}, and site {one.other[0]}, subject {name(*one.other)}: their {one.contrast}"
        f" agrees to {one.agreement:.2f}"
        for one in pairs
    ]
    what = (
        f"{how_many(len(lines), 'pair')} of subjects may be one person; if they are, leave one out (dataset.exclude):"
    )
    return _listed(what, lines, most)


def _listed(what: str, lines: Sequence[str], most: int | None) -> list[str]:
    if not lines:
        return []
    more = [f"- and {len(lines) - most} more, in card.md"] if most and len(lines) > most else []
    return ["\n".join([f"{what}\n", *(f"- {line}" for line in lines[:most]), *more])]


def _override(key: str, values: Iterable[str]) -> str:
    """An option that is a list, as it is typed in a shell. A value that Hydra would not read as text is quoted."""
    items = [v if re.fullmatch(r"[\w./-]+", v, re.ASCII) else json.dumps(v, ensure_ascii=False) for v in values]
    return shlex.quote(f"{key}=[{','.join(items)}]")


def _summary(found: Facts, left_out: list[Mapping[str, str]]) -> str:
    """A line for each site, and the subjects that were left out, with the reasons."""
    rows = [["site", *SPLITS, "slices", "contrasts"]]
    for name, own in found.items():
        counts = [*(own["subjects"][split] for split in SPLITS), sum(own["slices"].values())]
        rows.append([name, *map(str, counts), ", ".join(own["contrasts"])])
    lines = text_table(rows, right=range(1, 2 + len(SPLITS)))
    if left_out:
        lines.append(f"\n{len(left_out)} left out:")
        lines += [f"  site {one['site']}, subject {one['subject']}: {one['reason']}" for one in left_out[:LISTED]]
        if len(left_out) > LISTED:
            lines.append(f"  and {len(left_out) - LISTED} more, in names.json")
    return "\n".join(lines)


def _print_report(dataset: Any) -> int:
    """Print what a layout finds in its folder, and whether what was prepared is what was written. Returns 0 if every subject can
    be used, else 1."""
    folders: Any = DATASETS["prepared"]
    if isinstance(dataset, folders):
        return _check_arrays(dataset)
    look = getattr(dataset, "verify", None)
    if look is None:
        raise FederationError(
            f"dataset={DATASETS.name_of(type(dataset))} is not a layout, so there is nothing to verify"
        )
    report = look()
    print(report)
    there = (dataset.place / "dataset.json").exists()
    damaged = _check_arrays(folders([str(dataset.place)])) if there else 0
    return 0 if report.good and not damaged else 1


def _check_arrays(prepared: Any) -> int:
    """Read every array of prepared folders, and say which are not what was written. Returns 0 if all are, else 1."""
    damaged = 0
    for name in prepared.contrasts():
        try:
            site = prepared.load(name, Path())
            print(f"site {name}: {len(site.subjects)} prepared subjects, whose arrays are what was written")
        except FederationError as error:
            print(f"site {name}: {error}")
            damaged = 1
    return damaged


def _try_layouts(folder: str, overrides: list[str]) -> int:
    """Try every layout of conf/dataset on a folder, and print the report of the one that describes the most volumes, or of the
    BIDS layout if the folder is such a data set. A prepared folder is checked as such."""
    if Path(folder, "dataset.json").exists():
        return _check_arrays(_compose(["dataset=prepared", f"dataset.folders=[{json.dumps(folder)}]"]))
    found: dict[str, tuple[int, Any]] = {}
    rows = []
    for name in conf_files("dataset"):
        dataset: Any = _compose([f"dataset={name}", *overrides])
        if not isinstance(dataset, DATASETS["layout"]):
            continue  # one's own file of another kind
        dataset = replace(dataset, root=folder)  # type: ignore[call-arg]  # it has one
        try:
            found[name] = (len(list(dataset.matches())), dataset)
        except FederationError as error:
            if not dataset.folder.is_dir():
                raise
            rows.append([name, f"0 volumes ({str(error).partition(';')[0]})"])
        else:
            rows.append([name, f"{found[name][0]} volumes"])
    print("\n".join(text_table(rows, right=())))
    if not found:
        print(
            "fedsynth: no layout describes this folder; dataset=folder with a dataset.pattern of your own does: `fedsynth list"
            " folder` shows its options",
            file=sys.stderr,
        )
        return 2
    described = [name for name, (_, dataset) in found.items() if dataset.kind.name == "bids"]  # by the folder itself
    best = max(described or found, key=lambda name: found[name][0])
    print(f"\ndataset={best}\n")
    return _print_report(found[best][1])
