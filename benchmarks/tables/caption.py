"""What a table says in words: its title, the names of its rows, the notes that belong to its numbers, and its caption."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..records.record import Record, canonical, sha256
from ..stats.compare import FEW_SEEDS
from ..stats.rising import LIMITED
from .labels import Names, own_options, shared_options, text
from .metric import Metric

if TYPE_CHECKING:
    from .row import Row

ELSEWHERE = frozenset(
    {"device", "execution", "threads", "checkpoint_every"}
)  # trainer options that are no part of a budget
SIMULATED = frozenset({"phantom"})  # data sets
ROUND = "the round with the best validation PSNR (mean over site-tasks), one round for all sites"


def whose(selection: str) -> str:
    """Whose scores those of a selection are."""
    kind, _, which = selection.partition("-")
    return {
        "selected": ROUND,
        "last": "the last round",
        "welcome": "newcomers before any adaptation, with what they are sent (a method that sends nothing has none)",
        "adapted": f"newcomers after adaptation on {which} of their training subjects (`local`: from scratch)",
        "from": f"the model that serves {which}, at the other sites",
        "asked": "tasks that a site asks for and never trained",
    }[kind] + ("" if selection in ("selected", "last") else f"; of {ROUND}")


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
    facts: dict[str, str] = {}
    for part, options in nested.items():
        for name, value in sorted(options.items()):
            if isinstance(value, dict):
                facts |= {f"{part}.{name}.{site}": text(own) for site, own in alike(value, group["scenario"]["sites"])}
            else:
                facts[f"{part}.{name}"] = text(value)
    return facts


def alike(values: Mapping[str, Any], sites: Sequence[str]) -> list[tuple[str, Any]]:
    """An option's value of each site, sorted, or the one that all sites have as `default`."""
    found = sorted(values.items())
    same = len({canonical(value) for value in values.values()}) == 1
    return [("default", found[0][1])] if same and len(values) == len(sites) > 1 else found


def notes(
    rows: Sequence[Row], names: Names, seeds: Sequence[int], small: Sequence[str], repeats: int, metric: Metric
) -> Iterator[str]:
    """What must be read with the numbers. `small`: why they rank nothing; `repeats`: runs left out for newer ones."""
    if small:
        yield (
            f"Smoke run; {', '.join(small)}. Rows are in the order of their mean {metric.heading} and have no rank: "
            "ranks at this budget may change with training."
        )
    if names.usual:
        yield f"Where a row does not say otherwise: {'; '.join(names.usual)}."
    if len(seeds) < FEW_SEEDS:
        yield (
            f"Few seeds ({len(seeds)}): below {FEW_SEEDS} no significance is drawn, and rows may change places with the seed."
        )
    for row in rows:
        name = f"{row.method} on {row.network}"
        if row.missing:
            yield (
                f"{name}: {len(row.seeds)}/{len(seeds)} seeds, so neither average nor rank; no finished run of "
                f"{', '.join(f'seed {seed}' for seed in row.missing)}."
            )
        if row.diverged:
            yield (
                f"{name}: {row.diverged} of {len(row.seeds)} seeds diverged; such a run is scored as the mean "
                "training image and its row comes after those without."
            )
    if repeats:
        yield f"{repeats} older runs of the same row and seed (another device or thread count) are left out."
    if without := [score for row in rows if (score := row.scores.get(metric.column)) and score.without]:
        yield (
            f"{metric.heading} is of {without[0].subjects} (site, task, subject); {without[0].without} have no such score "
            "and are left out."
        )


def caption(
    records: Sequence[Record], names: Names, policy: str, selection: str, metric: Metric, several: bool
) -> Iterator[str]:
    """What the numbers are. `policy` is empty where rows differ in it; `several`: there is a second row."""
    first, shared = records[0].identity, shared_options(records)
    elsewhere = {*ELSEWHERE, *own_options(records)}
    budget = {name: value for name, value in first["trainer"].items() if name not in elsewhere}
    data = {name: value for name, value in first["dataset"].items() if name != "name"}
    seeds = sorted({record.identity["seed"] for record in records})
    if first["dataset"]["name"] in SIMULATED:
        yield "Simulated data: not evidence of clinical performance."
    yield (
        f"Scores are those of {whose(selection)}. They are means over a subject's slices, then over subjects, "
        "site-tasks and seeds; sd is the standard deviation over seeds."
    )
    yield (
        "PSNR: dB, images in [0, 1] with a peak of 1, at most 60. SSIM: x 100, scikit-image's default (uniform 7x7 window). "
        "NMSE: lower is better."
    )
    yield from statistics(len(seeds), metric, several)
    yield (
        f"Worst site, worst 5 % (mean over a seed's worst 5 % of subjects) and sd over sites are of {metric.heading}. "
        "Rising: dB of validation PSNR gained over the last quarter of the rounds (least-squares line through its validated "
        "rounds, or the last three there are, mean over seeds); above "
        f"{LIMITED:g} a row is limited by its budget."
    )
    yield (
        "To local: when validation PSNR first reaches that of `local` on the same network at its selected round, mean over "
        "seeds, MB of all sites up and down; - where a seed never does. At equal MB: the best validation PSNR for the bytes of "
        "the row that sends least."
    )
    yield (
        "Costs: MB (10^6 bytes) up and down a site and round; parameters of a site's generator; gradient evaluations of a whole "
        "run; seconds a round and MB of peak memory. Both are indicative: other runs may have shared the machine."
    )
    yield f"Sites: {'; '.join(site(records[0], name) for name in sorted(first['scenario']['tasks']))}."
    yield f"Seeds: {', '.join(map(str, seeds))}."
    yield f"Data: {first['dataset']['name']} {options(data)}."
    yield f"Training: {options(budget)}; device {gathered(str(record.identity['trainer']['device']) for record in records)}."
    network = names.networks[0] if len(set(names.networks)) == 1 else ""
    if network or shared:
        yield f"Networks: {' '.join(filter(None, (network or 'all with', options(shared))))}."
    if policy:
        yield f"Running statistics of the normalisation: {policy}."
    yield provenance(records)


def statistics(seeds: int, metric: Metric, several: bool) -> Iterator[str]:
    """Which tests were used; `several`: there is a second row."""
    enough = seeds >= FEW_SEEDS
    if seeds > 1:
        yield (
            f"+-: half of the 95 % interval of {metric.heading}, for other seeds and other subjects at these sites (two-way "
            "random effects of seeds and subjects, Satterthwaite's degrees of freedom)."
        )
    if several:
        better = "" if metric.sign > 0 else ", above 0 where it is less"
        yield f"Gain: {metric.heading} over `local` with the same network{better}, its best row if there are several."
    if several and seeds > 1:
        corrected = "; its p is corrected for all gains of the table (Holm)" if enough else ""
        yield (
            f"Its +-: by the same model on paired differences, not corrected{corrected}. Effect: gain over its sd over subjects. "
            "Sites gaining: share of them. Gap closed: share of the gain of `pooled`, told where that is above 0 at 5 %."
        )
    if several and enough:
        yield "Groups: rows that share a letter do not differ (all pairs of the table, the same model, Holm at 5 %)."


def provenance(records: Sequence[Record]) -> str:
    """What the runs were made with."""
    versions: dict[str, set[str]] = {}
    for record in records:
        for library, version in record.environment["versions"].items():
            versions.setdefault(library, set()).add(version)
    commits = {
        f"{record.environment['commit'][:10]}{' with changes' * record.environment['dirty']}" for record in records
    }
    made = [f"{library} {'/'.join(sorted(versions[library]))}" for library in sorted(versions)]
    days = sorted(record.finished[:10] for record in records)
    return (
        f"Records: {len(records)}, finished {' to '.join(dict.fromkeys((days[0], days[-1])))}; hardware "
        f"{gathered(record.environment['device'] for record in records)}; commit {gathered(commits) or 'unknown'}; "
        f"{', '.join(made) or 'versions unknown'}."
    )


def gathered(values: Iterable[str]) -> str:
    return ", ".join(sorted(set(filter(None, values))))


def site(record: Record, name: str) -> str:
    """A site's tasks and the sizes of its splits."""
    splits = record.data["subjects_and_slices"][name]
    sizes = ", ".join(f"{splits[split][0]} {split}" for split in splits)
    return f"{name} {', '.join(record.identity['scenario']['tasks'][name])} ({sizes} subjects)"


def options(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={text(values[name])}" for name in sorted(values))
