"""What a table says in words: its title, the names of its rows, the notes that belong to its numbers, and its caption."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .records import Record, canonical, sha256

if TYPE_CHECKING:
    from .table import Row

ELSEWHERE = frozenset(
    {"device", "execution", "threads", "checkpoint_every"}
)  # trainer options that are no part of a budget
OWN = ("lr", "server_rule", "corrupt", "common_start")  # trainer options that tell rows apart, not tables
FEW_SEEDS = 5  # below, no significance is drawn: a spread over seeds cannot be told from so few
SELECTION = {
    "selected": "the round with the best validation PSNR (mean over site-tasks), one round for all sites",
    "last": "the last round",
}


def titles(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """A title of its own for each table: scenario, data set, and the options that tell it from others of these names."""
    facts = [flat(group) for group in groups]
    found = []
    for own in facts:
        key = ("scenario.name", "dataset.name")
        namesakes = [other for other in facts if all(other[part] == own[part] for part in key)]
        known = [name for name in own if all(name in other for other in namesakes)]  # not the tasks of a site few have
        differing = [name for name in known if any(other[name] != own[name] for other in namesakes)]
        base = f"{own['scenario.name']} on {own['dataset.name']}"
        found.append(", ".join([base, *(f"{name}={own[name]}" for name in differing)]))
    marks = [sha256(canonical(group).encode())[:4] for group in groups]  # where the same options met other data or code
    return [f"{title} @{mark}" if found.count(title) > 1 else title for title, mark in zip(found, marks, strict=True)]


def flat(group: Mapping[str, Any]) -> dict[str, str]:
    """The options of a table's runs as they are typed on the command line."""
    nested = {part: group[part] for part in ("scenario", "dataset", "trainer")}
    tasks = {f"scenario.tasks.{site}": text(own) for site, own in sorted(nested["scenario"]["tasks"].items())}
    plain = {f"{part}.{name}": text(value) for part in nested for name, value in sorted(nested[part].items())}
    del plain["scenario.tasks"]
    return plain | tasks


def text(value: Any) -> str:
    """An option's value as it is typed on the command line."""
    if isinstance(value, list):
        return f"[{','.join(map(text, value))}]"
    return value if isinstance(value, str) else json.dumps(value)


def labels(records: Sequence[Record], kind: str, shared: Mapping[str, Any]) -> list[str]:
    """The method or network (`kind`) of every row: its name, the options that were changed for it, and if its name and
    options stand for several versions of its code, the first digits of that code's digest."""
    plain = []
    for record in records:
        part = record.identity[kind]
        namesakes = [other for other in records if other.identity[kind]["name"] == part["name"]]
        told = sorted({option for other in namesakes for option in other.changed[kind]} & set(part) - set(shared))
        named = [f"{option}={text(part[option])}" for option in told]
        named += [
            f"{option}={text(record.identity['trainer'][option])}"
            for option in own_options(records)
            if kind == "method"
        ]
        plain.append(" ".join([part["name"], *named]))
    versions = {label: set[str]() for label in plain}
    for label, record in zip(plain, records, strict=True):
        versions[label].add(record.identity["code"][kind])
    return [
        f"{label} @{record.identity['code'][kind][:4]}" if len(versions[label]) > 1 else label
        for label, record in zip(plain, records, strict=True)
    ]


def own_options(records: Sequence[Record]) -> list[str]:
    """The options of OWN in which the rows differ."""
    return [name for name in OWN if len({canonical(record.identity["trainer"][name]) for record in records}) > 1]


def shared_options(records: Sequence[Record]) -> dict[str, Any]:
    """The changed network options on which all networks that have them agree, unless only one network of several has them."""
    parts = [record.identity["network"] for record in records]
    count = len({part["name"] for part in parts})
    shared = {}
    for option in sorted({option for record in records for option in record.changed["network"]}):
        holders = [part for part in parts if option in part]
        values = {canonical(part[option]) for part in holders}
        if len(values) == 1 and (count == 1 or len({part["name"] for part in holders}) > 1):
            shared[option] = holders[0][option]
    return shared


def notes(rows: Sequence[Row], seeds: Sequence[int], small: Sequence[str], repeats: int) -> list[str]:
    """What must be read with the numbers. `small`: why they rank nothing; `repeats`: runs left out for newer ones."""
    found = []
    if small:
        found.append(
            f"Smoke run; {', '.join(small)}. Rows are in the order of their mean PSNR and have no rank: "
            "ranks at this budget may change with training."
        )
    if len(seeds) < FEW_SEEDS:
        found.append(
            f"Few seeds ({len(seeds)}): below {FEW_SEEDS} no significance is drawn, and rows may change places with the seed."
        )
    for row in rows:
        name = f"{row.method} on {row.network}"
        if row.missing:
            found.append(
                f"{name}: {len(row.seeds)}/{len(seeds)} seeds, so neither average nor rank; no finished run of "
                f"{', '.join(f'seed {seed}' for seed in row.missing)}."
            )
        if row.diverged:
            found.append(
                f"{name}: {row.diverged} of {len(row.seeds)} seeds diverged; such a run is scored as the mean "
                "training image and its row comes after those without."
            )
    if repeats:
        found.append(f"{repeats} older runs of the same row and seed (another device or thread count) are left out.")
    return found


def caption(records: Sequence[Record], network: str, policy: str, selection: str) -> list[str]:
    """What the numbers are. `network` and `policy` are empty where rows differ in them."""
    first, shared = records[0].identity, shared_options(records)
    budget = {
        name: value for name, value in first["trainer"].items() if name not in {*ELSEWHERE, *own_options(records)}
    }
    data = {name: value for name, value in first["dataset"].items() if name != "name"}
    devices = sorted({f"{record.identity['trainer']['device']}" for record in records})
    lines = [
        f"Scores are those of {SELECTION[selection]}. They are means over a subject's slices, then over subjects, "
        "site-tasks and seeds; sd is the standard deviation over seeds.",
        "PSNR: dB, images in [0, 1] with a peak of 1, at most 60. SSIM: x 100, scikit-image's default (uniform 7x7 window).",
        "Costs: MB (10^6 bytes) up and down a site and round; parameters of a site's generator; gradient evaluations and "
        "seconds of a whole run. Seconds are indicative: other runs may have shared the machine.",
        f"Sites: {'; '.join(site(records[0], name) for name in sorted(first['scenario']['tasks']))}.",
        f"Seeds: {', '.join(str(seed) for seed in sorted({record.identity['seed'] for record in records}))}.",
        f"Data: {first['dataset']['name']} {options(data)}.",
        f"Training: {options(budget)}; device {', '.join(devices)}.",
    ]
    if network or shared:
        lines.append(f"Networks: {' '.join(filter(None, (network or 'all with', options(shared))))}.")
    if policy:
        lines.append(f"Running statistics of the normalisation: {policy}.")
    return lines


def site(record: Record, name: str) -> str:
    """A site's tasks and the sizes of its splits."""
    splits = record.data["subjects_and_slices"][name]
    sizes = ", ".join(f"{splits[split][0]} {split}" for split in splits)
    return f"{name} {', '.join(record.identity['scenario']['tasks'][name])} ({sizes} subjects)"


def options(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={text(values[name])}" for name in sorted(values))
