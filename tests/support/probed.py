"""Finished runs with scores of newcomers, of tasks never trained, and of models away from home."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from support import finished

from fedsynth.benchmarks.records.record import write_record
from fedsynth.benchmarks.records.store import Store
from fedsynth.evaluation.columns import metric_columns

Probes = Mapping[tuple[str, str, str], Sequence[float]]  # (selection, site, task) -> PSNR of each subject, dB


def put(store: Store, what: dict[str, Any], psnr: Mapping[tuple[str, str], list[float]], probes: Probes) -> None:
    """A run with the usual scores and those of probes. SSIM is a hundredth of PSNR."""
    record = finished.record(what, data=finished.data_of(what, psnr))
    store.folder(record.run).mkdir(parents=True, exist_ok=True)
    rows = finished.scores(what, psnr)
    for (selection, site, task), values in probes.items():
        for number, value in enumerate(values):
            place = {"selection": selection, "site": site, "task": task, "subject": f"test{number:03d}"}
            rows.append(place | dict.fromkeys(metric_columns(), 0.0) | {"psnr": value, "ssim": value / 100})
    write_record(store.folder(record.run), record, rows, finished.curve(what))
