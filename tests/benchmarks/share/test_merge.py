"""Records travel between stores: whole and unchanged, or refused by name while the others are taken."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_LZMA, ZipFile

import pytest
from support import finished
from support.source import ROOT

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.config.identity import identity
from fedsynth.benchmarks.config.schema import Run
from fedsynth.benchmarks.records.finished import finished_runs
from fedsynth.benchmarks.records.record import LARGEST, canonical, read_record, run_name, sha256
from fedsynth.benchmarks.records.store import Store
from fedsynth.benchmarks.share.merge import escapes_folder
from fedsynth.benchmarks.tables.table import tables
from fedsynth.federation.scenario import Scenario
from fedsynth.registry import DATASETS, METHODS, NETWORKS
from fedsynth.runtime.options import TrainerOptions


@pytest.fixture
def theirs(tmp_path: Path) -> Store:
    """Three finished runs and one that is not."""
    store = Store(tmp_path / "theirs")
    for method in ("fedavg", "fedbn", "local"):
        finished.finish_whole(store, finished.identity(method={"name": method}))
    store.folder("fedmri-variable-s0-0123456789ab").mkdir()
    return store


@pytest.fixture
def ours(tmp_path: Path) -> Store:
    return Store(tmp_path / "ours")


def pack(store: Store, file: Path, *patterns: str) -> int:
    return main(["records", "pack", str(file), *patterns, "--results", str(store.runs.parent)])


def merge(store: Store, *sources: Path) -> int:
    return main(["records", "merge", *map(str, sources), "--results", str(store.runs.parent)])


def run_of(store: Store, method: str) -> Path:
    return store.folder(store.names([f"{method}-*"])[0])


def content(store: Store) -> dict[str, bytes]:
    return {str(path.relative_to(store.runs)): path.read_bytes() for path in store.runs.rglob("*") if path.is_file()}


def reseal(folder: Path, **changed: Any) -> None:
    """Change fields of a record as somebody would who knows how seals are made."""
    facts = json.loads((folder / "record.json").read_text()) | changed
    del facts["seal"]
    (folder / "record.json").write_text(json.dumps(facts | {"seal": sha256(canonical(facts).encode())}))


def test_packed_and_merged_they_are_the_same(
    theirs: Store, ours: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pack(theirs, tmp_path / "lab.zip") == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"packed 3 runs into {tmp_path / 'lab.zip'}")
    assert "1 not finished" in said.err
    assert merge(ours, tmp_path / "lab.zip") == 0
    assert capsys.readouterr().out == f"3 taken, 0 there already, 0 refused: runs in {ours.runs}\n"
    assert content(ours) == content(theirs)
    assert len(ours.records()[0]) == 3
    assert [path.name for path in ours.runs.parent.iterdir()] == ["runs"]


def test_only_the_runs_that_are_named_are_packed(theirs: Store, tmp_path: Path) -> None:
    assert pack(theirs, tmp_path / "lab.zip", "fedbn-*") == 0
    with ZipFile(tmp_path / "lab.zip") as archive:
        run = theirs.names(["fedbn-*"])[0]
        assert archive.namelist() == [f"{run}/scores.csv", f"{run}/curve.csv", f"{run}/record.json"]


def test_the_same_runs_make_the_same_file(theirs: Store, tmp_path: Path) -> None:
    pack(theirs, tmp_path / "one.zip")
    for path in theirs.runs.rglob("*.csv"):
        path.touch()
    pack(theirs, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_no_file_is_overwritten(theirs: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lab.zip").write_text("precious")
    assert pack(theirs, tmp_path / "lab.zip") == 2
    assert "lab.zip is there already; delete it, or give another name" in capsys.readouterr().err
    assert (tmp_path / "lab.zip").read_text() == "precious"
    assert pack(theirs, tmp_path / "fedavg-*") == 2  # a pattern where the file belongs
    assert "does not end with .zip" in capsys.readouterr().err


def test_nothing_finished_packs_nothing(ours: Store, tmp_path: Path) -> None:
    assert pack(ours, tmp_path / "lab.zip") == 1
    assert not (tmp_path / "lab.zip").exists()


def test_folders_merge_from_any_depth(theirs: Store, ours: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert merge(ours, run_of(theirs, "local")) == 0
    assert merge(ours, theirs.runs.parent.parent) == 0  # in it are both stores
    assert capsys.readouterr().out.splitlines()[-1].startswith("2 taken, 2 there already, 0 refused")
    assert content(ours) == content(theirs)


def test_a_file_zipped_by_hand_merges(theirs: Store, ours: Store, tmp_path: Path) -> None:
    with ZipFile(tmp_path / "lab.zip", "w") as archive:
        archive.writestr("lab/README.md", "ours")
        for path in sorted(theirs.runs.rglob("*.*")):
            archive.write(path, Path("lab/results/runs") / path.relative_to(theirs.runs))
    assert merge(ours, tmp_path / "lab.zip") == 0
    assert content(ours) == content(theirs)


def test_again_it_changes_nothing(
    theirs: Store, ours: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack(theirs, tmp_path / "lab.zip")
    merge(ours, tmp_path / "lab.zip")
    before = {path: path.stat().st_mtime_ns for path in ours.runs.rglob("*")}
    assert merge(ours, tmp_path / "lab.zip", theirs.runs) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("0 taken, 6 there already, 0 refused")
    assert {path: path.stat().st_mtime_ns for path in ours.runs.rglob("*")} == before


def edited(folder: Path) -> None:
    path = folder / "record.json"
    path.write_bytes(path.read_bytes().replace(b'"done"', b'"dime"'))


def better(folder: Path) -> None:
    path = folder / "scores.csv"
    path.write_text(path.read_text().replace(",20,", ",29,"))


def cut(folder: Path) -> None:
    path = folder / "record.json"
    path.write_bytes(path.read_bytes()[:-20])


def incomplete(folder: Path) -> None:
    """One site-task is left out, and every hash made anew."""
    path = folder / "scores.csv"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if "FLAIR" not in line))
    files = json.loads((folder / "record.json").read_text())["files"]
    reseal(folder, files=files | {"scores.csv": sha256(path.read_bytes())})


def resealed_scores(folder: Path, lines: list[str]) -> None:
    path = folder / "scores.csv"
    path.write_text("".join(lines))
    files = json.loads((folder / "record.json").read_text())["files"]
    reseal(folder, files=files | {"scores.csv": sha256(path.read_bytes())})


def without_the_worst(folder: Path) -> None:
    """Ten test subjects of each site-task are left out, and every hash made anew."""
    lines = (folder / "scores.csv").read_text().splitlines(True)
    resealed_scores(folder, [line for line in lines if "test01" not in line])


def too_similar(folder: Path) -> None:
    """One SSIM is 7."""
    head, first, *rest = (folder / "scores.csv").read_text().splitlines(True)
    cells = first.split(",")
    cells[head.split(",").index("ssim")] = "7"
    resealed_scores(folder, [head, ",".join(cells), *rest])


def renamed(folder: Path) -> None:
    """The name tells another method than the identity, with the same hash."""
    run = folder.name.replace("fedavg", "best")
    reseal(folder, run=run)
    folder.rename(folder.with_name(run))


def stripped(folder: Path) -> None:
    """An identity that lacks what tables are made by, under the name that it then has."""
    identity = json.loads((folder / "record.json").read_text())["identity"]
    del identity["trainer"]
    run = f"fedavg-variable-s0-{sha256(canonical(identity).encode())[:12]}"
    reseal(folder, identity=identity, run=run)
    folder.rename(folder.with_name(run))


def deep(folder: Path) -> None:
    (folder / "record.json").write_text("[" * 200_000 + "]" * 200_000)


def huge(folder: Path) -> None:
    """Zeros: nothing on the disk, and little in a zip file."""
    with (folder / "scores.csv").open("ab") as file:
        file.truncate(LARGEST + 1)


def large(folder: Path) -> None:
    """Ten megabytes of JSON, which would be gigabytes of lists."""
    (folder / "record.json").write_text(f"[{'[],' * 4_000_000}[]]")


def named(folder: Path, name: str, option: str = "note") -> None:
    """Another method name or option, under the run's name and the hash that it then has."""
    identity = json.loads((folder / "record.json").read_text())["identity"]
    identity["method"][option] = name
    run = run_name(identity)
    reseal(folder, identity=identity, run=run)
    folder.rename(folder.with_name(run))


def named_subject(folder: Path) -> None:
    lines = (folder / "scores.csv").read_text().splitlines(True)
    resealed_scores(folder, [line.replace("test000", "=cmd()") for line in lines])


FOREIGN = {
    "=HYPERLINK(A1)": "begins with '='",
    "<script>": "has a '<'",
    "[a](javascript:alert(1))": "has a ']('",
    "$x_{$": "has a '$'",
    "a|b": "has a '|'",
    "\x1b[31mred": r"has the unprintable character '\x1b'",
    "a\u202etxt.exe": r"has the unprintable character '\u202e'",
    "\ud800": r"has the unprintable character '\ud800'",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_name_in_a_store_is_left_out_by_name_and_takes_no_table_down(
    theirs: Store, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Whoever copies a record into a store, past `merge`, has the table of the other runs."""
    named(run_of(theirs, "fedavg"), name)
    assert main(["leaderboard", "--results", str(theirs.runs.parent)]) == 0
    said = capsys.readouterr()
    assert FOREIGN[name] in said.err
    assert "fedavg-variable-s0-" in said.err
    tables = "".join(path.read_text() for path in (theirs.runs.parent / "leaderboard").iterdir())
    assert name not in said.out + said.err.replace(repr(name), "") + tables
    assert "fedbn" in tables


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (without_the_worst, "10 test subjects of ixi T1->T2 (selected) have scores, and it has 20"),
        (incomplete, "scores of ('last', 'oasis', 'T2->FLAIR') are missing or not of this scenario"),
        (
            lambda folder: resealed_scores(folder, ["selection,site\n", "selected,ixi\n"]),
            "its scores are none of its sc",
        ),
    ],
)
@pytest.mark.parametrize("alone", [False, True])
def test_a_short_record_is_left_out_by_name_wherever_it_is_read(
    theirs: Store,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], object],
    reason: str,
    alone: bool,
) -> None:
    """Copied there past `merge`. Beside others it ended `leaderboard` of the whole store, and alone its means were shown."""
    run = run_of(theirs, "fedavg")
    spoil(run)
    if alone:
        shutil.rmtree(run_of(theirs, "fedbn"))
        shutil.rmtree(run_of(theirs, "local"))
    results = ["--results", str(theirs.runs.parent)]
    for words in (["leaderboard"], ["records", "pack", str(tmp_path / "lab.zip")]):
        assert main([*words, *results]) == int(alone)
        said = capsys.readouterr()
        assert f"left out: {run.name}: {reason}" in said.err
        assert "fedavg" not in said.out
        assert ("fedbn" in said.out) == (words == ["leaderboard"] and not alone)
    assert theirs.status(run.name).state.value == "damaged"  # the same command trains it anew


def of_other_subjects(folder: Path) -> None:
    """Ten test subjects are left out, and the record says that there are ten."""
    without_the_worst(folder)
    data = json.loads((folder / "record.json").read_text())["data"]
    for sizes in data["subjects_and_slices"].values():
        sizes["test"] = [10, 80]
    reseal(folder, data=data)


def test_a_record_of_other_test_subjects_on_our_data_takes_no_table_down(
    theirs: Store, ours: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    finished.finish_whole(ours, finished.identity(method={"name": "ours"}))
    of_other_subjects(run := run_of(theirs, "fedavg"))
    assert merge(ours, theirs.runs) == 1
    told = (
        f"only one of it and {run_of(ours, 'ours').name}, which is here and scored on the same data, has scores of ixi"
    )
    assert told in capsys.readouterr().err
    assert main(["leaderboard", "--results", str(theirs.runs.parent)]) == 0
    said = capsys.readouterr()
    assert f"left out: {run.name}: its test subjects are not those of 2 other runs of variable" in said.err
    assert "fedbn" in said.out
    assert "fedavg" not in said.out


def test_a_foreign_name_of_a_run_in_an_archive_is_left_out(theirs: Store, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of(theirs, "fedavg")
    with ZipFile(theirs.runs.parent / "records.zip", "w") as archive:
        for path in sorted(run.iterdir()):
            archive.write(path, f"\x1b[31m/{path.name}")
    assert main(["status", "--results", str(theirs.runs.parent)]) == 0
    assert main(["leaderboard", "--results", str(theirs.runs.parent)]) == 0
    said = capsys.readouterr()
    assert r"records.zip: '\x1b[31m' is not the name of a run" in said.err
    assert "\x1b[31m" not in said.out + said.err


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: named(folder, "\u202e"), r"the text '\u202e' has the unprintable character '\u202e', which no"),
        (lambda folder: named(folder, "=cmd", "name"), "the text '=cmd' begins with '=', which no record may hold"),
        (named_subject, "scores.csv: the name '=cmd()' begins with '='"),
        (deep, "record.json: not a record (RecursionError"),
        (huge, "scores.csv has 100 MB, and no such file of a run has more than 100"),
        (large, "record.json has 12 MB, and no such file of a run has more than 10"),
        (lambda folder: reseal(folder, files={"/proc/kmsg": "0"}), "its seal covers '/proc/kmsg', which is none of"),
        (edited, "record.json: not what the run wrote; ask for it anew"),
        (better, "scores.csv: missing or not what the run wrote; ask for it anew"),
        (cut, "record.json: not a record (JSONDecodeError"),
        (incomplete, "scores of ('last', 'oasis', 'T2->FLAIR') are missing or not of this scenario; ask for it anew"),
        (stripped, "its identity has no options of a trainer; ask for it anew"),
        (lambda folder: (folder / "curve.csv").unlink(), "curve.csv"),
        (lambda folder: reseal(folder, files={}), "its seal covers no table, not scores.csv, curve.csv; ask for it"),
        (without_the_worst, "10 test subjects of ixi T1->T2 (selected) have scores, and it has 20"),
        (
            too_similar,
            "ssim of test000 (T1->T2 at ixi) is 7, outside -1 to 1, which is the range that the metric 'ssim'",
        ),
        (renamed, "a run of this identity is named fedavg-variable-s0-"),
        (lambda folder: reseal(folder, selected_round=3), "its selected round 3 was not validated, says its curve"),
        (
            lambda folder: reseal(folder, validation_psnr=25.0),
            "its validation PSNR is 25.0000 dB, but 20.0000 dB in its",
        ),
        (lambda folder: reseal(folder, finished="2025-12-31T23:00:00+00:00"), "which cannot be"),
        (
            lambda folder: reseal(folder, finished="9998-01-01T00:00:00+00:00"),
            "it started 2026-01-01T00:00:00+00:00 and",
        ),
        (
            lambda folder: reseal(folder, started="yesterday"),
            "its dates 'yesterday' and '2026-01-01T01:00:00+00:00' are none",
        ),
        (lambda folder: reseal(folder, schema=99), "schema 99, but this version reads 1; ask for it anew"),
        (lambda folder: folder.rename(folder.with_name(folder.name[:-1] + "z")), "is not the name of a run"),
        (lambda folder: folder.rename(folder.with_name("best-variable-s0-0123456789ab")), "the record of fedavg-"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_what_was_tampered_with_is_refused_by_name_and_the_others_taken(
    theirs: Store,
    ours: Store,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], object],
    reason: str,
    zipped: bool,
) -> None:
    spoil(run_of(theirs, "fedavg"))
    source = theirs.runs
    if zipped:
        source = tmp_path / "lab.zip"
        with ZipFile(source, "w") as archive:
            for path in sorted(theirs.runs.rglob("*.*")):
                archive.write(path, path.relative_to(theirs.runs))
    (spoilt,) = {path.name for path in theirs.runs.iterdir()} - {
        run_of(theirs, name).name for name in ("fedbn", "local", "fedmri")
    }
    assert merge(ours, source) == 1
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert line.startswith("fedsynth: refused: ")
    assert spoilt in line
    assert reason in line
    assert ".merge-" not in line
    assert said.out.startswith("2 taken, 0 there already, 1 refused")
    assert [name.split("-")[0] for name in ours.names()] == ["fedbn", "local"]
    assert [path.name for path in ours.runs.parent.iterdir()] == ["runs"]


def test_other_content_of_the_same_name_is_refused_and_ours_kept(
    theirs: Store, ours: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    finished.finish(ours, finished.identity(method={"name": "fedavg"}), 25.0)
    before = content(ours)
    assert merge(ours, theirs.runs) == 1
    said = capsys.readouterr()
    assert f"{run_of(ours, 'fedavg').name} is here, of the same row and seed and with other scores; to see" in said.err
    assert said.out.startswith("2 taken, 0 there already, 1 refused")
    assert before.items() <= content(ours).items()


def test_a_record_of_a_row_and_seed_that_are_here_never_takes_their_place(
    theirs: Store, ours: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that differs is refused under any name and date; one that agrees stands beside ours, and both count once."""
    for threads, psnr in ((1, 25.0), (2, 40.0)):
        what = finished.identity(method={"name": "fedavg"}, trainer={"threads": threads})
        run = finished.finish_whole(ours if threads == 1 else theirs, what, psnr)
    before = content(ours)
    assert merge(ours, theirs.runs) == 1
    said = capsys.readouterr()
    assert run in said.err
    assert said.err.count(f"{run_of(ours, 'fedavg').name} is here, of the same row and seed and with other scores") == 2
    assert said.out.startswith("2 taken, 0 there already, 2 refused")
    assert before.items() <= content(ours).items()
    again = Store(ours.runs.parent.parent / "again")
    finished.finish_whole(again, finished.identity(method={"name": "fedavg"}, trainer={"threads": 4}), 25.0)
    finished.finish_whole(again, finished.identity(method={"name": "fedbn"}), 20.0)
    reseal(run_of(again, "fedbn"), finished="2026-01-01T02:00:00+00:00")
    assert merge(ours, again.runs) == 0
    assert capsys.readouterr().out.startswith("1 taken, 1 there already, 0 refused")
    (table,) = tables(finished_runs(ours))
    assert {row.method: row.psnr and row.psnr.mean for row in table.rows} == {"fedavg": 25, "fedbn": 20, "local": 20}


def test_two_stores_of_one_prepared_data_set_at_different_paths_make_one_table(tmp_path: Path, ours: Store) -> None:
    keep: Any = DATASETS["prepared"]
    keep.keep(DATASETS["phantom"](size=16, slices=1, train=1, val=1, test=1), tmp_path / "data" / "set")
    shutil.copytree(tmp_path / "data" / "set", tmp_path / "jane" / "scans")
    scenario = Scenario("two", ["ixi", "oasis"], {"default": ["T1->T2"]})
    labs = {"fedavg": (ours, "data/set"), "fedbn": (Store(tmp_path / "lab"), "jane/scans")}
    for method, (store, place) in labs.items():
        parts = METHODS[method](), NETWORKS["resnet"](), keep([str(tmp_path / place)]), scenario, TrainerOptions()
        finished.finish_whole(store, identity(Run(*parts, 0, "results")))
    assert merge(ours, tmp_path / "lab") == 0
    (table,) = tables(finished_runs(ours))
    assert sorted(row.method for row in table.rows) == ["fedavg", "fedbn"]
    assert table.title == "two on prepared"


def test_a_run_that_is_half_finished_here_is_left_alone(
    theirs: Store, ours: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    half = ours.folder(run_of(theirs, "local").name)
    half.mkdir(parents=True)
    (half / "checkpoint").write_text("hours of work")
    assert merge(ours, theirs.runs) == 1
    assert f"{half} is a run that is not finished; finish it by its command" in capsys.readouterr().err
    assert [path.name for path in half.iterdir()] == ["checkpoint"]


@pytest.mark.parametrize(
    "member",
    ["../evil-variable-s0-0123456789ab/record.json", "/tmp/x/record.json", "a/../../b", "..\\b", "C:\\b", "c:/b"],
)
def test_paths_that_leave_the_folder_are_refused(
    theirs: Store, ours: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], member: str
) -> None:
    pack(theirs, tmp_path / "lab.zip")
    with ZipFile(tmp_path / "lab.zip", "a") as archive:
        archive.writestr(member, "{}")
    capsys.readouterr()
    assert merge(ours, tmp_path / "lab.zip") == 1
    said = capsys.readouterr()
    assert (
        said.err
        == f"fedsynth: refused: {tmp_path / 'lab.zip'}: {member}: a path that leads out of the folder into which it is unpacked\n"
    )
    assert said.out.startswith("3 taken, 0 there already, 1 refused")
    assert {path.name for path in tmp_path.iterdir()} == {"ours", "theirs", "lab.zip"}


def test_a_pipe_is_not_read(theirs: Store, ours: Store, capsys: pytest.CaptureFixture[str]) -> None:
    path = run_of(theirs, "fedavg") / "scores.csv"
    path.unlink()
    os.mkfifo(path)
    assert merge(ours, theirs.runs) == 1
    assert "scores.csv is no ordinary file" in capsys.readouterr().err
    assert len(ours.names()) == 2


def test_a_file_without_an_end_is_not_read(theirs: Store, ours: Store, capsys: pytest.CaptureFixture[str]) -> None:
    """To the system some files of /proc are ordinary ones of no size; one of them is never read to its end."""
    path = run_of(theirs, "fedavg") / "scores.csv"
    path.unlink()
    path.symlink_to("/proc/self/status")
    assert merge(ours, theirs.runs) == 1
    assert "scores.csv: missing or not what the run wrote" in capsys.readouterr().err
    assert len(ours.names()) == 2


def test_a_bad_archive_in_a_folder_does_not_end_the_merge_of_the_next(
    theirs: Store, ours: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "records-1.zip").write_text("no zip")
    with ZipFile(tmp_path / "table" / "records-2.zip", "w") as archive:
        archive.writestr("README.md", "no record")
    pack(theirs, tmp_path / "table" / "records-3.zip")
    assert merge(ours, tmp_path / "table") == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("3 taken, 0 there already, 2 refused")


def test_a_compression_that_breaks_its_reader_is_refused_and_the_others_taken(
    theirs: Store, ours: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ZipFile(tmp_path / "lab.zip", "w") as archive:
        for path in sorted(theirs.runs.rglob("*.*")):
            kind = ZIP_LZMA if "fedavg" in str(path) else ZIP_DEFLATED
            archive.write(path, path.relative_to(theirs.runs), kind)
        entry = archive.infolist()[0]
    content = bytearray((tmp_path / "lab.zip").read_bytes())
    start = entry.header_offset + 30 + len(entry.filename)
    content[start + 4 : start + 9] = b"\xff" * 5  # the properties of LZMA
    (tmp_path / "lab.zip").write_bytes(content)
    assert merge(ours, tmp_path / "lab.zip") == 1
    said = capsys.readouterr()
    assert "not whole (" in said.err
    assert said.out.startswith("2 taken, 0 there already, 1 refused")


def test_harmless_paths_do_not_leave_the_folder() -> None:
    assert not any(map(escapes_folder, ("run/record.json", "a..b/c", "a/b:c/d", "./a", "")))


def test_what_is_no_source_is_told_and_the_next_taken(
    theirs: Store, ours: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.zip").write_text("no zip")
    assert merge(ours, tmp_path / "empty", tmp_path / "text.zip", tmp_path / "none.zip", theirs.runs) == 1
    said = capsys.readouterr()
    assert [line.split(": ")[2] for line in said.err.splitlines()] == [
        str(tmp_path / name) for name in ("empty", "text.zip", "none.zip")
    ]
    assert "no record.json in it; give what `fedsynth records pack` wrote" in said.err
    assert said.out.startswith("3 taken, 0 there already, 3 refused")


def test_a_damaged_member_is_refused_and_the_others_taken(
    theirs: Store, ours: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack(theirs, tmp_path / "lab.zip")
    with ZipFile(tmp_path / "lab.zip") as archive:
        entry = archive.infolist()[0]
    packed = bytearray((tmp_path / "lab.zip").read_bytes())
    packed[entry.header_offset + 30 + len(entry.filename) + entry.compress_size // 2] ^= 0xFF
    (tmp_path / "lab.zip").write_bytes(packed)
    capsys.readouterr()
    assert merge(ours, tmp_path / "lab.zip") == 1
    said = capsys.readouterr()
    assert f"{run_of(theirs, 'fedavg').name}: not whole (" in said.err
    assert said.out.startswith("2 taken, 0 there already, 1 refused")


def test_killed_at_any_moment_it_leaves_no_half_record(theirs: Store, tmp_path: Path) -> None:
    """A merge renames three files a run, then the run's folder: a process is killed before each of these twelve acts."""
    pack(theirs, tmp_path / "lab.zip")
    whole = content(theirs)
    stores = [Store(tmp_path / f"killed-{acts}") for acts in range(13)]
    code = (
        "import os\n"
        "from fedsynth.benchmarks.cli import main\n"
        "import fedsynth.benchmarks.share.merge\n"  # once, and not in every child
        "def counted(act):\n"
        "    def wrapped(*arguments):\n"
        "        global left\n"
        "        left -= 1\n"
        "        if left < 0: os._exit(9)\n"
        "        return act(*arguments)\n"
        "    return wrapped\n"
        "os.replace, os.rename = counted(os.replace), counted(os.rename)\n"
        "codes = []\n"
        f"for left, results in enumerate({[str(store.runs.parent) for store in stores]!r}):\n"
        "    if not (child := os.fork()):\n"
        f"        os._exit(main(['records', 'merge', {str(tmp_path / 'lab.zip')!r}, '--results', results]))\n"
        "    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "print(*codes)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].split() == ["9"] * 12 + ["0"]
    for acts, store in enumerate(stores):
        assert len(store.names()) == (acts if acts < 12 else 12) // 4
        for name in store.names():
            assert read_record(store.folder(name)).run == name
            assert {path.name for path in store.folder(name).iterdir()} == {"record.json", "scores.csv", "curve.csv"}
        assert content(store).items() <= whole.items()
        assert merge(store, tmp_path / "lab.zip") == 0
        assert content(store) == whole


def test_neither_torch_nor_a_method_is_imported(theirs: Store, tmp_path: Path) -> None:
    code = (
        "import sys; from fedsynth.benchmarks.cli import main\n"
        f"main(['records', 'pack', {str(tmp_path / 'lab.zip')!r}, '--results', {str(theirs.runs.parent)!r}])\n"
        f"main(['records', 'merge', {str(tmp_path / 'lab.zip')!r}, '--results', {str(tmp_path / 'ours')!r}])\n"
        "print([m for m in sys.modules if m.startswith(('torch', 'pandas', 'hydra', 'fedsynth.methods'))])"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"
