"""`fedsynth records verify`: whether records are whole, and whether runs of them come out again when they are trained here.

Every record is checked as `fedsynth records merge` does, and none is taken. Then some runs are trained anew, with data made anew,
and compared. On the same processor, with the same threads, torch, arrays and code, a run repeats exactly: each tensor and score
must be the same. Elsewhere rounding differs, and training makes more of it: there the mean PSNR must lie within a tolerance. That
finds a made-up table and not a decimal that was improved.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from fedsynth.registry import RegistryError

from ..config.grid import Cell
from ..config.identity import identity
from ..inference.synthesis import described_run
from ..records.record import (
    KEYS,
    Record,
    Rows,
    csv_of_rows,
    fingerprint,
    read_record,
    read_scores,
    rows_of_csv,
    run_name,
)
from ..records.store import FINISHED, Store
from ..records.text_table import how_many
from ..running.training.execute import settle, tell
from .merge import merge

# dB, of the mean PSNR of a run and of a site-task, where rounding may differ. With SSE in place of AVX2 (by the variables
# ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41) six rounds of fedavg in experiment=smoke end 0.03 dB apart, and up to
# 0.14 dB at a site-task. Longer training spreads further.
MEAN, SITE_TASK = 0.5, 2.0


class Verdict(NamedTuple):
    """Whether a run came out again, and how that was seen."""

    same: bool
    told: str


def main(source: Path, patterns: Sequence[str], rerun: int, draw: int | None, data: Sequence[str]) -> int:
    """Check the records of a source, and train some of them again. 0 if all are whole and all that were trained agree, else 1."""
    with TemporaryDirectory(prefix="fedsynth-verify-") as scratch:
        given, again = Store(Path(scratch, "given")), Store(Path(scratch, "again"))
        count = merge([source], given)
        print(f"whole: {how_many(count['taken'], 'record')}; refused: {count['refused']}")
        names = given.names(patterns)
        number = random.SystemRandom().randrange(10**6) if draw is None else draw
        chosen = sorted(random.Random(number).sample(names, min(rerun, len(names))))
        if chosen:
            print(f"training {len(chosen)} of {how_many(len(names), 'run')} again, drawn by --draw {number}")
        verdicts = [verify(name, given, again, data) for name in chosen]
    if chosen:
        print(f"{sum(verdict.same for verdict in verdicts)} of {len(chosen)} came out again")
    return int(bool(count["refused"]) or not names or not all(verdict.same for verdict in verdicts))


def verify(name: str, given: Store, again: Store, data: Sequence[str]) -> Verdict:
    """Train a run of a store again in another one, and compare; says how it ended."""
    theirs = read_record(given.kept(name))
    try:
        run = replace(described_run(theirs.identity, data), results=str(again.runs.parent))
        here = identity(run)
        if elsewhere := list(differences(theirs.identity, here)):
            verdict = Verdict(False, f"not trained: {'; '.join(elsewhere)}")
        else:
            tell(f"{name}: training")
            cell = Cell(run_name(here), run, here, theirs.tuning)  # records of schema 1 were named otherwise
            ending = settle(cell)
            ours = again.kept(cell.name)
            verdict = (
                compared(theirs, read_record(ours), read_scores(given.kept(name)), read_scores(ours))
                if ending.state in FINISHED
                else Verdict(False, f"not trained: {ending.told}")
            )
    except (ValueError, OSError, KeyError, TypeError, RegistryError) as error:
        verdict = Verdict(False, f"not trained: {error}")
    print(f"{name}: {verdict.told}", flush=True)
    return verdict


def differences(theirs: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[str]:
    """Why a run of that identity cannot be trained here, from the identity that it has here."""
    for kind, digest in theirs["code"].items():
        if here["code"].get(kind) != digest:
            yield f"the code of {kind} {theirs[kind]['name']} is not here ({digest} there, {here['code'].get(kind)} here)"
    for site, digest in theirs["data"].items():
        if here["data"].get(site) != digest:
            yield f"the data of site {site} are not here ({digest} there, {here['data'].get(site)} here)"
    if theirs.get("numerics") != here["numerics"]:
        yield f"the engine counts otherwise (numerics {theirs.get('numerics')} there, {here['numerics']} here)"


def compared(theirs: Record, ours: Record, their_scores: Rows, our_scores: Rows) -> Verdict:
    """Bit for bit where rounding is the same, else within the tolerance."""
    there, here = roundings(theirs), roundings(ours)
    if apart := [what for what in there if not there[what] or there[what] != here[what]]:
        why = "; ".join(f"{what} {there[what] or 'unknown'} there, {here[what] or 'unknown'} here" for what in apart)
        return within_tolerance(theirs, ours, their_scores, our_scores, why)
    found = [name for name in theirs.digest | ours.digest if theirs.digest.get(name) != ours.digest.get(name)]
    wrong = [f"the final tensors of {', '.join(found)}"] if found else []
    facts = ("status", "selected_round", "validation_psnr")
    wrong += [
        f"{fact} {getattr(theirs, fact)} there, {getattr(ours, fact)} here"
        for fact in facts
        if getattr(theirs, fact) != getattr(ours, fact)
    ]
    wrong += [*other_scores(their_scores, our_scores)][:3]
    counted = f"{len(ours.digest)} digests of tensors and {len(our_scores)} rows of scores"
    return Verdict(not wrong, f"differs: {'; '.join(wrong)}" if wrong else f"the same bit for bit: {counted}")


def roundings(record: Record) -> dict[str, str]:
    """All that decides how a run rounds, apart from its identity; empty where it is unknown, or left to a GPU."""
    environment = record.environment
    exact = environment["device"].startswith("cpu") or record.identity["trainer"].get("deterministic")
    return {
        "processor": environment.get("processor", ""),
        "torch": environment["versions"].get("torch", ""),
        "execution": environment.get("execution", ""),
        "device": environment["device"] if exact else "",
        "arrays": fingerprint(record.data["read"]) if "read" in record.data else "",
    }


def other_scores(theirs: Rows, ours: Rows) -> Iterator[str]:
    """The scores that are not the same, as they are printed in tables of scores."""
    printed = rows_of_csv(csv_of_rows(ours, [*ours[0]]).decode())
    known = {tuple(row[key] for key in KEYS): row for row in printed}
    for row in theirs:
        own = known.pop(place := tuple(row[key] for key in KEYS), {})
        for metric in (name for name in row if name not in KEYS):
            if repr(row[metric]) != repr(own.get(metric)):  # nan is the same as nan
                yield f"{metric} of {' '.join(place)} is {row[metric]} there, {own.get(metric)} here"
    yield from (f"{' '.join(place)} has scores only here" for place in known)


def within_tolerance(theirs: Record, ours: Record, their_scores: Rows, our_scores: Rows, why: str) -> Verdict:
    """Whether the mean PSNR agrees, of all and of each site-task, and whether both runs ended alike."""
    means = [site_task_means(rows) for rows in (their_scores, our_scores)]
    apart = {place: abs(mean - means[1].get(place, 1e9)) for place, mean in means[0].items()}
    mean = abs(fmean(means[0].values()) - fmean(means[1].values()))
    place, most = max(apart.items(), key=lambda own: own[1])
    same = theirs.status == ours.status and mean <= MEAN and most <= SITE_TASK
    return Verdict(
        same,
        f"{'agrees within' if same else 'lies outside'} the tolerance: mean PSNR by {mean:.3f} dB (of {MEAN}), at {place} by"
        f" {most:.3f} dB (of {SITE_TASK}); {theirs.status} there, {ours.status} here. Not compared bit for bit: {why}",
    )


def site_task_means(rows: Rows) -> dict[str, float]:
    """Site and task -> the mean PSNR of its test subjects in the selected round."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if row["selection"] == "selected":
            found.setdefault(f"{row['site']} {row['task']}", []).append(row["psnr"])
    return {place: fmean(values) for place, values in found.items()}
