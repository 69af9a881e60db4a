"""The curve of a run is appended to, and a checkpoint says how much of it is its own."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from fedsynth.runtime.checkpoint import CheckpointError, RowsFile


def test_what_is_written_grows_with_the_rows_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every checkpoint had the whole curve in it: bytes grew with the square of the rounds."""
    file, rows, sizes = RowsFile(tmp_path / "curve.jsonl"), [], []
    for round in range(100, 110):
        rows.append({"round": round, "val_psnr": math.inf, "site": "ixi é"})
        before = sizes[-1] if sizes else 0
        known = file.extend(rows)
        sizes.append(file.path.stat().st_size)
        assert sizes[-1] - before == sizes[0]
        assert known["bytes"] == sizes[-1]
    assert RowsFile(file.path).read(known) == rows


def test_rows_after_the_checkpoint_are_cut_off(tmp_path: Path) -> None:
    rows = [{"round": round} for round in range(5)]
    file = RowsFile(tmp_path / "curve.jsonl")
    known = file.extend(rows[:2])
    file.extend(rows[:4])
    again = RowsFile(file.path)
    assert again.read(known) == rows[:2]
    later = again.extend([*rows[:2], {"round": "another"}])
    assert RowsFile(file.path).read(later) == [*rows[:2], {"round": "another"}]
    assert len(file.path.read_text().splitlines()) == 3
    anew = RowsFile(file.path)  # a run without a checkpoint begins anew
    assert RowsFile(file.path).read(anew.extend(rows[:1])) == rows[:1]


def test_rows_that_were_damaged_are_refused_by_name(tmp_path: Path) -> None:
    file = RowsFile(tmp_path / "curve.jsonl")
    known = file.extend([{"round": 1}])
    file.path.write_bytes(file.path.read_bytes().replace(b"1", b"2"))
    with pytest.raises(CheckpointError, match=r"curve\.jsonl is damaged"):
        RowsFile(file.path).read(known)
    file.path.unlink()
    with pytest.raises(CheckpointError, match=r"curve\.jsonl is not there"):
        RowsFile(file.path).read(known)
