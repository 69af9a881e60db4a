"""What records give away when they leave a laboratory: told before a pack is written or a table is published."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from ..records.finished import FinishedRun
from ..records.record import Record
from ..records.text_table import how_many


def may_leave(runs: Sequence[FinishedRun]) -> list[FinishedRun]:
    """The runs whose records hold no name of a patient and no path that this suite wrote there. Says which others there are, and
    what the records of these give away."""
    kept = [run for run in runs if not older_than_pseudonyms(run.record)]
    for run in runs:
        if run not in kept:
            print(
                f"fedsynth: left out: {run.record.run}: it was made before subjects had pseudonyms, and may hold their names and"
                " paths of this machine; train it again on data that are prepared anew",
                file=sys.stderr,
            )
    for line in gives_away([run.record for run in kept]):
        print(line, file=sys.stderr)
    return kept


def older_than_pseudonyms(record: Record) -> bool:
    """Whether nothing says that the names in a record of real data are not those of patients."""
    return not record.simulated and "naming" not in record.data


def gives_away(records: Sequence[Record]) -> Iterator[str]:
    """The kinds of what the records hold, and of how many subjects."""
    if not records:
        return
    yield f"What {how_many(len(records), 'record')} give{'s' * (len(records) == 1)} away:"
    yield "  options, digests of data and code, scores, curves, costs, dates, kind of device, versions of libraries"
    tested: dict[str, dict[tuple[str, str], int]] = {}
    for record in records:
        for site, whose in record.naming.items():
            sizes = record.data["subjects_and_slices"].get(site)  # a newcomer has none
            own = tested.setdefault(_words(whose, record.identity["dataset"]["name"]), {})
            own[site, str(record.identity["data"].get(site))] = sizes["test"][0] if sizes else 0
    for words, own in sorted(tested.items()):
        sites = ", ".join(sorted({site for site, _ in own}))
        count = sum(own.values())
        yield f"  of {sites}: sizes, voxels, histograms of intensity, and the scores of {count} test subjects, {words}"
    yield "  no pictures, models, logs or paths; nothing of who was left out but how many"


def _words(naming: str, dataset: str) -> str:
    """Whose names the subjects have."""
    if naming == "given":
        return f"by the names that dataset={dataset} gives them; are these people's?"
    return "who are simulated" if naming == "simulated" else "by pseudonym or number"
