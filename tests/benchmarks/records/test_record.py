"""Records: exact, whole or absent, and refused when anything about them was changed."""

from __future__ import annotations

import json
import math
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import finished
from support.source import ROOT

from fedsynth.benchmarks.records.lifting import lifted
from fedsynth.benchmarks.records.record import (
    SUSPICIOUS,
    Record,
    RecordError,
    canonical,
    fingerprint,
    read_curve,
    read_record,
    read_scores,
    sha256,
    texts,
    write_record,
)
from fedsynth.benchmarks.records.store import Store
from fedsynth.federation.names import text_fault

WHAT = finished.identity()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a finished run."""
    store = Store(tmp_path)
    return store.folder(finished.finish(store, WHAT))


def write(tmp_path: Path, record: Record, scores: list[dict[str, Any]], curve: list[dict[str, Any]]) -> Path:
    folder = tmp_path / record.run
    folder.mkdir()
    write_record(folder, record, scores, curve)
    return folder


def test_numbers_come_back_with_nine_digits(tmp_path: Path) -> None:
    scores, curve = finished.scores(WHAT, 100 / 3), finished.curve(WHAT)
    scores[0]["nmse"], scores[0]["psnr_fg"], scores[0]["mae"] = np.float32(0.1), math.nan, np.float64(1e-17)
    curve[0]["val_psnr"], curve[1]["bytes_up"] = math.nan, 2**53 + 1
    folder = write(tmp_path, finished.record(WHAT, costs={"seconds": 1 / 3}), scores, curve)
    assert read_record(folder).costs["seconds"] == 1 / 3
    assert read_record(folder).identity == lifted(WHAT)
    first = read_scores(folder)[0]
    assert (first["psnr"], np.float32(first["nmse"]), first["mae"]) == (33.3333333, np.float32(0.1), 1e-17)
    assert math.isnan(first["psnr_fg"])
    assert (first["site"], first["task"], first["subject"]) == ("ixi", "T1->T2", "test000")
    assert math.isnan(read_curve(folder)[0]["val_psnr"])
    assert f",{2**53 + 1}," in (folder / "curve.csv").read_text()


def test_the_order_of_options_is_no_part_of_the_name() -> None:
    assert fingerprint(WHAT) == fingerprint(dict(reversed(WHAT.items())))
    assert fingerprint(WHAT) != fingerprint(finished.identity(seed=1))


def test_a_changed_byte_of_a_record_is_seen(folder: Path) -> None:
    path, original = folder / "record.json", read_record(folder)
    content = path.read_bytes()
    for place in range(0, len(content), 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(RecordError, match=r"record\.json"):
            read_record(folder)
    path.write_bytes(content)
    assert read_record(folder) == original


def test_a_record_cut_short_anywhere_is_refused(folder: Path) -> None:
    path = folder / "record.json"
    content = path.read_bytes()
    for length in range(0, len(content), 29):
        path.write_bytes(content[:length])
        with pytest.raises(RecordError, match="trains anew"):
            read_record(folder)


@pytest.mark.parametrize("name", ["scores.csv", "curve.csv"])
def test_changed_or_missing_tables_are_refused(folder: Path, name: str) -> None:
    path = folder / name
    content = path.read_bytes()
    for changed in (content.replace(b",20,", b",30,", 1), content[:-1], content + b"\n", b""):
        path.write_bytes(changed)
        with pytest.raises(RecordError, match=name):
            read_record(folder)
    path.unlink()
    with pytest.raises(RecordError, match=name):
        read_record(folder)


def test_a_record_under_another_name_is_refused(folder: Path) -> None:
    moved = folder.rename(folder.with_name(folder.name.replace("fedavg", "fedbn")))
    with pytest.raises(RecordError, match=r"the record of fedavg-variable-s0"):
        read_record(moved)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[]", "not a record"),
        ("{}", "not a record"),
        ('{"seal": ""}', "not a record"),
        ('{"seal": NaN, "run": NaN}', "not a record"),
        ("\udcff", "not a record"),
    ],
)
def test_what_is_no_record_is_refused(folder: Path, content: str, reason: str) -> None:
    (folder / "record.json").write_text(content, errors="surrogateescape")
    with pytest.raises(RecordError, match=reason):
        read_record(folder)


def test_a_record_of_another_schema_is_refused_even_whole(folder: Path) -> None:
    content = json.loads((folder / "record.json").read_text()) | {"schema": 2}
    del content["seal"]
    sealed = content | {"seal": sha256(canonical(content).encode())}
    (folder / "record.json").write_text(json.dumps(sealed))
    with pytest.raises(RecordError, match="schema 2, but this version reads 1"):
        read_record(folder)


def test_no_record_is_not_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_record(tmp_path)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"status": "error"}, "status 'error', not one of done, diverged"),
        ({"schema": 2}, "schema 2, but this version reads 1"),
        ({"selected_round": 1.5}, "selected_round is 1.5, not of type int"),
        ({"selected_round": True}, "selected_round is True, not of type int"),
        ({"below_floor": 1}, "below_floor is 1, not of type bool"),
        ({"costs": {"seconds": math.nan}}, "the cost 'seconds'"),
        ({"run": "fedavg-variable-s0-000000000000"}, "its identity has the hash"),
        ({"identity": finished.identity(seed=1)}, "its identity has the hash"),
    ],
)
def test_an_unsound_record_is_not_written(tmp_path: Path, facts: dict[str, Any], reason: str) -> None:
    costs = facts.pop("costs", {})
    unsound = replace(finished.record(WHAT, costs=costs), **facts)
    with pytest.raises(RecordError, match=reason):
        write(tmp_path, unsound, finished.scores(WHAT), finished.curve(WHAT))
    assert not list((tmp_path / unsound.run).iterdir())


def test_scores_with_holes_repeats_or_no_number_are_not_written(tmp_path: Path) -> None:
    whole = finished.scores(WHAT)
    unsound = {
        "missing or not of this scenario": [
            row for row in whole if (row["selection"], row["task"]) != ("last", "T2->FLAIR")
        ],
        "not of this scenario": [*whole, whole[0] | {"site": "brats"}],
        "21 test subjects of ixi T1->T2": [*whole, whole[0]],
        "is repeated": [*whole[1:], whole[1]],
        "is not finite": [whole[0] | {"ssim": math.nan}, *whole[1:]],
        "has the columns": [whole[0] | {"lpips": 0.1}, *whole[1:]],
    }
    record = finished.record(WHAT)
    (folder := tmp_path / record.run).mkdir()
    for reason, scores in unsound.items():
        with pytest.raises(RecordError, match=reason):
            write_record(folder, record, scores, finished.curve(WHAT))
    with pytest.raises(RecordError, match="its curve has no row"):
        write_record(folder, record, whole, [])
    assert not list(folder.iterdir())


KILLED = """
import os, signal, sys
from pathlib import Path
from support import finished
from fedsynth.benchmarks.records.store import Store

left, sync = int(sys.argv[2]), os.fsync
def fsync(descriptor):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    sync(descriptor)
os.fsync = fsync
finished.finish(Store(Path(sys.argv[1])), finished.identity())
"""


def test_killed_at_any_moment_leaves_no_record_or_a_whole_one(tmp_path: Path) -> None:
    paths = [str(ROOT), str(ROOT / "tests")]
    store, states = Store(tmp_path), []
    run = finished.record(WHAT).run
    for syncs in range(7):  # a file's and its folder's, for two tables and the record
        command = [sys.executable, "-c", f"import sys; sys.path[:0] = {paths}\n{KILLED}", str(tmp_path), str(syncs)]
        assert subprocess.run(command).returncode == (0 if syncs == 6 else -signal.SIGKILL)
        states.append(store.record(run) is not None)
        if states[-1]:
            assert len(read_scores(store.folder(run))) == 120
    assert states == [False] * 5 + [True] * 2


def test_a_text_that_no_record_may_hold_shows_in_the_record_as_json() -> None:
    """Texts are looked at one by one only where the whole looks suspicious."""
    draw = random.Random(1)

    def word() -> str:
        return "".join(draw.choices('ab<|`$]([=+-@ \\"\x7f\t\u202eé:,}{.1', k=draw.randrange(4)))

    faulty = 0
    for _ in range(5_000):
        told = {word(): draw.choice([word(), [word(), word()], {word(): word()}, 1.5, -2, None]) for _ in range(2)}
        if any(map(text_fault, texts(told))):
            faulty += 1
            assert SUSPICIOUS.search(canonical(told)), told
    assert faulty > 1_000
    assert not SUSPICIOUS.search(canonical({"a b": ["1 T", {"x": -1.5}], "c": ""}))
