"""Runs of others are trained again: what does not come out is said, and how it was compared."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support import finished
from support.stores import TINY

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.records.record import Record, canonical, read_record, read_scores, sha256
from fedsynth.benchmarks.records.store import Store
from fedsynth.benchmarks.share.verify import compared, differences


def altered(folder: Path) -> None:
    """A score that is a tenth of a dB better, under a seal that is right."""
    scores = folder / "scores.csv"
    head, first, *rest = scores.read_text().splitlines()
    place = head.split(",").index("psnr")
    cells = first.split(",")
    cells[place] = f"{float(cells[place]) + 0.1:.9g}"
    scores.write_text("\n".join([head, ",".join(cells), *rest, ""]))
    facts = json.loads((folder / "record.json").read_text())
    del facts["seal"]
    facts["files"]["scores.csv"] = sha256(scores.read_bytes())
    (folder / "record.json").write_text(json.dumps(facts | {"seal": sha256(canonical(facts).encode())}))


def test_a_score_that_was_altered_before_it_was_sealed_is_found_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *TINY, "method=fedavg", "--results", str(tmp_path)]) == 0
    pack = str(tmp_path / "theirs.zip")
    assert main(["records", "pack", pack, "--results", str(tmp_path)]) == 0
    assert main(["records", "verify", pack, "--draw", "7"]) == 0
    said = capsys.readouterr().out
    assert "training 1 of 1 run again, drawn by --draw 7" in said
    assert "the same bit for bit: 3 digests of tensors and 4 rows of scores" in said
    (folder,) = (path for path in (tmp_path / "runs").iterdir() if path.is_dir())
    altered(folder)
    assert main(["records", "verify", str(tmp_path), "fedavg-*"]) == 1
    said = capsys.readouterr().out
    assert "whole: 1 record; refused: 0" in said
    assert f"{folder.name}: differs: psnr of selected ixi " in said
    assert "0 of 1 came out again" in said


def test_a_run_whose_code_and_data_are_not_here_is_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished.finish_whole(Store(tmp_path), finished.identity())
    assert main(["records", "verify", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    for text in ("the code of method fedavg is not here (aaaa", "the data of site ixi are not here (d0 there"):
        assert text in said
    assert main(["records", "verify", str(tmp_path), "--rerun", "0"]) == 0
    assert list(differences(finished.identity(), finished.identity())) == []


@pytest.fixture
def theirs(tmp_path: Path) -> tuple[Record, list[dict[str, Any]]]:
    store = Store(tmp_path)
    folder = store.folder(finished.finish_whole(store, finished.identity(), 20.0))
    known = {"processor": "an i9, AVX2", "versions": {"torch": "2.13.0"}, "execution": "eager", "device": "cpu (any)"}
    record = read_record(folder)
    data = record.data | {"read": {"ixi": "a"}}
    return replace(record, environment=record.environment | known, data=data), read_scores(folder)


@pytest.mark.parametrize("what", ["processor", "torch", "execution", "arrays", "device"])
def test_where_rounding_may_differ_a_tolerance_counts_and_is_named(
    what: str, theirs: tuple[Record, list[dict[str, Any]]]
) -> None:
    record, scores = theirs
    changed: dict[str, Any] = {what: "gpu (another)"} if what != "torch" else {"versions": {"torch": "2.14.0"}}
    ours = replace(record, environment=record.environment | changed, digest={"server": "another"})
    if what == "arrays":
        ours = replace(record, data=record.data | {"read": {"ixi": "b"}}, digest={"server": "another"})
    assert not compared(record, replace(record, digest={"server": "another"}), scores, scores).same
    verdict = compared(record, ours, scores, scores)
    assert verdict.same
    assert "agrees within the tolerance: mean PSNR by 0.000 dB" in verdict.told
    assert f"Not compared bit for bit: {what} " in verdict.told
    better = [row | {"psnr": row["psnr"] + 0.6} for row in scores]
    verdict = compared(record, ours, better, scores)
    assert not verdict.same
    assert "lies outside the tolerance: mean PSNR by 0.600 dB" in verdict.told
    assert not compared(record, replace(ours, status="diverged"), scores, scores).same
