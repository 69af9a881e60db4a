"""What a table says in words: title, notes that must be read with the numbers, a short caption, and how the numbers were made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from ..records.lifting import counted
from ..records.record import Record, canonical, sha256
from ..records.text_table import how_many
from ..stats.compare import FEW_SEEDS
from .labels import MOVING, Names, option_text, own_options, shared_options
from .metric import Metric
from .row import Row

ELSEWHERE = frozenset({"device", "execution", "threads", "checkpoint_every"})  # trainer options that change no budget
SELECTED = "the round with the best validation PSNR (mean over site-tasks), one round for all sites"


def scores_of(selection: str) -> str:
    """What a selection selects, to follow "scores of"."""
    kind, _, which = selection.partition("-")
    if kind in ("selected", "last"):
        return {"selected": SELECTED, "last": "the last round"}[kind]
    whose = {
        "welcome": "newcomers before any adaptation, with the weights that they are sent (a method that sends nothing has none)",
        "adapted": f"newcomers after adaptation on {which} of their training subjects (`local` trains from scratch)",
        "from": f"the model that serves {which}, at the other sites",
        "asked": "tasks that a site asks for and never trained",
    }[kind]
    return f"{whose}, in {SELECTED}"


def titles(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """A title for each table: scenario, data set, and the options that tell it from the others with the same two names."""
    facts = [_options_by_name(group) for group in groups]
    found = []
    for own in facts:
        key = ("scenario.name", "dataset.name")
        namesakes = [other for other in facts if all(other[part] == own[part] for part in key)]
        shared = [name for name in own if all(name in other for other in namesakes)]  # not the tasks of a site few have
        differing = [name for name in shared if any(other[name] != own[name] for other in namesakes)]
        base = f"{own['scenario.name']} on {own['dataset.name']}"
        found.append(", ".join([base, *(f"{name}={own[name]}" for name in differing)]))
    marks = [sha256(canonical(group).encode())[:4] for group in groups]  # for the same options with other data or code
    return [f"{title} @{mark}" if found.count(title) > 1 else title for title, mark in zip(found, marks, strict=True)]


def _options_by_name(group: Mapping[str, Any]) -> dict[str, str]:
    """The options of a table's runs as they are typed on the command line."""
    nested = {part: group[part] for part in ("scenario", "dataset", "trainer")}
    facts = {name: option_text(value) for name, value in _moving(group).items()}
    for part, options in nested.items():
        for name, value in sorted(options.items()):
            if isinstance(value, dict):
                values = _values_of_sites(value, group["scenario"]["sites"])
                facts |= {f"{part}.{name}.{site}": option_text(own) for site, own in values}
            else:
                facts[f"{part}.{name}"] = option_text(value)
    return facts


def _moving(identity: Mapping[str, Any]) -> dict[str, Any]:
    """The optimiser and the schedule of a run and their options, as they are typed."""
    options = [(part, name, value) for part in MOVING for name, value in identity.get(part, {}).items()]
    return {part if name == "name" else f"{part}.{name}": value for part, name, value in options}


def _values_of_sites(values: Mapping[str, Any], sites: Sequence[str]) -> list[tuple[str, Any]]:
    """An option's value at each site, sorted; `default` and one value where all sites have the same."""
    found = sorted(values.items())
    same = len({canonical(value) for value in values.values()}) == 1
    return [("default", found[0][1])] if same and len(values) == len(sites) > 1 else found


def notes(rows: Sequence[Row], names: Names, not_ranked: Sequence[str], metric: Metric) -> Iterator[str]:
    """What must be read with the numbers. `not_ranked`: why there are no ranks."""
    if not_ranked:
        yield f"Not ranked: {'; '.join(not_ranked)}."
    if names.usual:
        yield f"Unless a row says otherwise: {'; '.join(names.usual)}."
    for row in rows:
        yield from _of_row(row)
    yield from _mixed_hardware(rows)
    if without := [score for row in rows if (score := row.scores.get(metric.column)) and score.without]:
        yield (
            f"{metric.heading} is the mean over {without[0].subjects} (site, task, subject); {without[0].without} have no such "
            "score and are left out."
        )


def _mixed_hardware(rows: Sequence[Row]) -> Iterator[str]:
    """On what the rows were made, where it was not the same for all: it changes how numbers are rounded."""
    ways: dict[str, list[str]] = {}
    for row in rows:
        ways.setdefault(" and ".join(sorted({_way_of_computing(run.record) for run in row.runs})), []).append(
            row.full_name
        )
    usual = max(ways, key=lambda way: (" and " not in way, len(ways[way])))
    apart = [f"{', '.join(names)} by {way}" for way, names in sorted(ways.items()) if way != usual]
    if apart or " and " in usual:
        told = "; ".join([*apart, f"{'all others' if apart else 'all rows'} by {usual}"])
        yield f"Hardware is mixed, which changes how numbers are rounded: {told}."


def _way_of_computing(record: Record) -> str:
    """The hardware of a run, the execution of its steps, and its threads."""
    execution, threads = record.environment.get("execution", ""), record.identity["trainer"]["threads"]
    return ", ".join(filter(None, (" then ".join(hardware(record)), execution, how_many(threads, "thread"))))


def _of_row(row: Row) -> Iterator[str]:
    """What became of the runs of a row."""
    name, count = f"{row.method} on {row.network}", len(row.seeds)
    if row.missing:
        how = " whose records agree" * bool(row.disputed)
        yield (
            f"{name} has {count} of {count + len(row.missing)} seeds and therefore neither average nor rank; there is no "
            f"finished run{how} of {', '.join(f'seed {seed}' for seed in row.missing)}."
        )
    if row.diverged:
        yield (
            f"{name}: {row.diverged} of {count} seeds diverged and are scored as the mean training image, so the row comes after "
            "those without. Its +- and its p do not hold (docs/statistics.md says how far they are off), and it has no rank."
        )
    if row.below_floor:
        yield (
            f"{name}: {row.below_floor} of {count} seeds ended below the floor: the validation PSNR of the last round is below "
            "that of copying the source. The scores are the row's own."
        )
    for seed, seconds in row.stalled.items():
        yield (
            f"{name}: seed {seed} stalled; it took {seconds:.4g} seconds a round, and the median of the row is "
            f"{row.seconds_a_round:.4g}."
        )
    if shipped := fmean(run.images_shipped for run in row.runs):
        yield (
            f"{name} trains in one place: its MB are those of the training and validation images that sites send there once, "
            f"{shipped / 1e6:.4g} MB (float16, the contrasts of the tasks)."
        )
    if row.rounds_with_too_few:
        rule = row.identity["trainer"]["server_rule"]
        yield (
            f"{name}: in {row.rounds_with_too_few} of {count * row.identity['trainer']['rounds']} rounds too few uploads arrived "
            f"for trainer.server_rule={rule}: there {'the server kept a model' if rule == 'krum' else 'it was the plain mean'}."
        )


def caption(records: Sequence[Record], selection: str, metric: Metric, several: bool, lettered: bool) -> Iterator[str]:
    """What the numbers are, in a few sentences; docs/statistics.md has the rest. `several`: there is a second row; `lettered`:
    its rows have letters."""
    seeds = {record.identity["seed"] for record in records}
    tested = several and len(seeds) >= FEW_SEEDS
    if records[0].simulated:
        yield "The data are simulated: the numbers are not evidence of clinical performance."
    spread = (
        "; +- is half of its 95 % interval for other seeds and other subjects at these sites" if len(seeds) > 1 else ""
    )
    yield (
        f"Scores of {scores_of(selection)}: the mean over subjects, then site-tasks, then {how_many(len(seeds), 'seed')}{spread}."
    )
    if several:
        marked = (
            ", * where it is not 0 (5 % for all gains over `local` and over `fedavg` together); without *: not shown to differ"
            if tested
            else ""
        )
        yield f"Gain: the difference in {metric.heading} to `local` on the same network{marked}."
    if lettered:
        yield "Rows that share a letter in groups are not shown to differ (5 % for all pairs together)."
    yield f"MB: what all sites send and receive in a run. {'All else' if tested else 'Everything'} is exploratory."


def facts(records: Sequence[Record], names: Names, policy: str) -> Iterator[str]:
    """How the numbers were made. `policy` is empty where rows differ in it."""
    first, shared = records[0].identity, shared_options(records)
    elsewhere = {*ELSEWHERE, *own_options(records)}
    asked = counted(first)  # a later option is told where it is not as it was before
    budget = {name: value for name, value in asked["trainer"].items() if name not in elsewhere} | _moving(asked)
    kinds = {entry.partition(" ")[0] for record in records for entry in hardware(record)}
    data = {name: value for name, value in first["dataset"].items() if name != "name"}
    seeds = sorted({record.identity["seed"] for record in records})
    yield f"Sites: {'; '.join(_site(records[0], name) for name in sorted(first['scenario']['tasks']))}."
    if left_out := records[0].data.get("left_out"):
        yield f"Left out: {'; '.join(_left_out(site, own) for site, own in sorted(left_out.items()))}."
    yield f"Seeds: {', '.join(map(str, seeds))}. {_drawn_by(records)}"
    yield f"Data: {first['dataset']['name']} {_options(data)}."
    yield f"Training: {_options(budget)}; device {_listed(kinds)}."
    yield f"Tuning: {'; '.join(_tuned(records))}."
    network = names.networks[0] if len(set(names.networks)) == 1 else ""
    if network or shared:
        yield f"Networks: {' '.join(filter(None, (network or 'all with', _options(shared))))}."
    if policy:
        yield f"Running statistics of the normalisation: {policy}."
    yield _provenance(records)


def _left_out(site: str, reasons: Mapping[str, int]) -> str:
    """How many subjects a site was prepared without, and why."""
    return f"{site} {', '.join(f'{count} {reason}' for reason, count in sorted(reasons.items()))}"


def _drawn_by(records: Sequence[Record]) -> str:
    """What differs from seed to seed."""
    what = [record.identity for record in records]
    others = len({canonical(own["data"]) for own in what}) > 1
    if others or all(own["scenario"].get("cohort") == own["seed"] for own in what):
        return "A seed draws the training and validation subjects, the start and the order; the test subjects are the same."
    return "A seed draws the start and the order; all seeds have the same training, validation and test subjects."


def _tuned(records: Sequence[Record]) -> Iterator[str]:
    """How the options of the rows were tuned (config/tuned.py), the methods of each way together."""
    ways: dict[str, dict[str, None]] = {}
    for record in records:
        ways.setdefault(_way(record), {})[record.identity["method"]["name"]] = None
    for way, methods in ways.items():
        yield way if len(ways) == 1 else f"{', '.join(methods)}: {way}"


def _way(record: Record) -> str:
    """How the options of a run were tuned."""
    if not (how := record.tuning):
        return "not recorded"
    if not how["trials"]:
        return "none, the options are as given"
    own, steps = record.identity, record.local_steps
    same = how["data"] == own["data"] and how["cohort"] == own["scenario"].get("cohort")
    first = f", chosen by {how['first_rounds']} of {how['rounds']} rounds" if "first_rounds" in how else ""
    share = f"{how['local_steps']:g} of {steps:g} local steps ({100 * how['local_steps'] / steps:.0f} %)"
    return (
        f"{how_many(how['trials'], 'trial')} a method with seed {how['seed']}{first}, {share}, on scenario {how['scenario']}, "
        f"by validation on {'the validation subjects of this table' if same else 'other subjects'}"
    )


def _provenance(records: Sequence[Record]) -> str:
    """What the runs were made with."""
    versions: dict[str, set[str]] = {}
    for record in records:
        for library, version in record.environment["versions"].items():
            versions.setdefault(library, set()).add(version)
    commits = {
        f"{record.environment['commit'][:10]}{' with changes' * record.environment['dirty']}" for record in records
    }
    libraries = [f"{library} {'/'.join(sorted(versions[library]))}" for library in sorted(versions)]
    days = sorted(record.finished[:10] for record in records)
    return (
        f"Records: {len(records)}, finished {' to '.join(dict.fromkeys((days[0], days[-1])))}; hardware "
        f"{_listed(entry for record in records for entry in hardware(record))}; commit {_listed(commits) or 'unknown'}; "
        f"{', '.join(libraries) or 'versions unknown'}."
    )


def hardware(record: Record) -> list[str]:
    """What a run trained on, one after another; the kind of device is the first word of each."""
    return str(record.environment["device"]).split(", ")


def _listed(values: Iterable[str]) -> str:
    return ", ".join(sorted(set(filter(None, values))))


def _site(record: Record, name: str) -> str:
    """A site's tasks and the sizes of its splits."""
    splits = record.data["subjects_and_slices"][name]
    sizes = ", ".join(f"{splits[split][0]} {split}" for split in splits)
    return f"{name} {', '.join(record.identity['scenario']['tasks'][name])} ({sizes} subjects)"


def _options(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={option_text(values[name])}" for name in sorted(values))
