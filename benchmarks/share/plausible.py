"""Whether what a record says can be true. A seal proves that nobody changed a record after it was written, not who wrote it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import isclose, isfinite

from fedsynth.evaluation.columns import metric_column
from fedsynth.registry import RegistryError
from fedsynth.runtime.metric import MetricError

from ..records.record import KEYS, Record, RecordError, Rows, run_label

TOLERANCE = 1e-3  # dB, of what is printed with nine digits and averaged once more


def check_plausible(record: Record, scores: Rows, curve: Rows) -> None:
    """Raises RecordError for a name that is not that of the identity, impossible dates, a score that its metric cannot have, and
    a selected round or its validation PSNR that is not in the curve."""
    label, _, digest = record.run.rpartition("-")
    if label != (named := run_label(record.identity)):
        raise RecordError(f"{record.run}: a run of this identity is named {named}-{digest}")
    _check_dates(record)
    for name in [name for name in scores[0] if name not in KEYS]:
        try:
            column = metric_column(name)
        except RegistryError:  # a metric of theirs, whose bounds nobody here knows
            continue
        for row in scores:
            try:
                column.check(name, row[name], f"{row['subject']} ({row['task']} at {row['site']})")
            except MetricError as error:
                raise RecordError(f"{record.run}: {error}") from error
    if record.status == "done":
        _check_selected(record, curve)


def _check_dates(record: Record) -> None:
    """A run ends after it begins, and not later than tomorrow: clocks and zones differ."""
    try:
        started, finished = (datetime.fromisoformat(date).astimezone(UTC) for date in (record.started, record.finished))
    except (ValueError, OverflowError) as error:
        raise RecordError(
            f"{record.run}: its dates {record.started!r} and {record.finished!r} are none of ISO 8601"
        ) from error
    if not started <= finished <= datetime.now(UTC) + timedelta(days=1):
        raise RecordError(f"{record.run}: it started {record.started} and finished {record.finished}, which cannot be")


def _check_selected(record: Record, curve: Rows) -> None:
    """The validation PSNR is the mean over site-tasks, and the curve has the mean of each site over its tasks."""
    tasks = record.identity["scenario"]["tasks"]
    validated = {}
    for row in curve:
        members = [member for member in row["site"].split("+") if member in tasks]  # sites that train as one
        if row["round"] == record.selected_round and isfinite(row["val_psnr"]):
            validated[row["site"]] = (sum(len(tasks[member]) for member in members), row["val_psnr"])
    weight = sum(count for count, _ in validated.values())
    if not weight:
        raise RecordError(f"{record.run}: its selected round {record.selected_round} was not validated, says its curve")
    found = sum(count * psnr for count, psnr in validated.values()) / weight
    if not isclose(found, record.validation_psnr, abs_tol=TOLERANCE):
        raise RecordError(
            f"{record.run}: its validation PSNR is {record.validation_psnr:.4f} dB, but {found:.4f} dB in its curve"
        )
