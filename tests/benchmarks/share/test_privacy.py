"""Real volumes under patients' names are prepared, trained on, published, packed and shown: nothing that comes out names anybody,
or a folder of the machine."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import re
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from zipfile import ZipFile, is_zipfile

import nibabel
import pytest
from PIL import Image
from support import finished, trees
from support.source import ROOT
from support.stores import TINY

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.records.store import Store

REAL = os.environ.get("FEDSYNTH_REAL", "")
PEOPLE = ("Zappelhuber_1951-03-07", "Ostrogorski_1948-11-30", "Nurmagambetova_1960-01-02", "Quimby_1971-05-09")
EXCLUDED, BROKEN = "Weggelassen_1933-02-01", "Unvollstaendig_1944-06-06"
HEADER = "Featherstonehaugh"  # in the fields of a header that scanners and converters fill
SECRETS = [part for name in (*PEOPLE, EXCLUDED, BROKEN) for part in name.split("_")] + [HEADER]
SMALL = ["network.width=4", "network.blocks=1", "network.discriminator_width=4", "network.discriminator_layers=1"]
QUICK = ["trainer.rounds=1", "trainer.local_steps=2", "trainer.batch=2", "trainer.device=cpu"]
ENCODED = re.compile(rb"base64,([A-Za-z0-9+/=]+)")


def opened(content: bytes, name: str) -> Iterator[tuple[str, bytes]]:
    """The content, and all that is inside of it, each with its name."""
    yield name, name.encode() + b"\n" + content
    if content.startswith(b"PK") and is_zipfile(io.BytesIO(content)):
        with ZipFile(io.BytesIO(content)) as archive:
            for member in archive.infolist():
                inside = member.comment + member.extra + archive.read(member)
                yield from opened(inside, f"{name}/{member.filename}")
    elif content.startswith(b"\x1f\x8b"):
        yield from opened(gzip.decompress(content), f"{name}/unzipped")
    elif content.startswith(b"\x89PNG"):
        with Image.open(io.BytesIO(content)) as image:
            yield f"{name}/metadata", repr(image.info).encode()
    for number, encoded in enumerate(ENCODED.findall(content)):
        yield from opened(base64.b64decode(encoded), f"{name}/{number}")


def found_in(folder: Path, secrets: Iterable[str]) -> list[str]:
    """Where under a folder each of the secrets stands, whatever the case, as "SECRET in PLACE"."""
    wanted = [(secret, secret.lower().encode()) for secret in secrets]
    parts = (
        part
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        for part in opened(path.read_bytes(), path.relative_to(folder).as_posix())
    )
    return [f"{secret} in {place}" for place, content in parts for secret, text in wanted if text in content.lower()]


def machine(tmp_path: Path) -> list[str]:
    """The paths of this machine, and its name."""
    host = socket.gethostname()
    return [str(tmp_path), str(ROOT), str(Path.home()) + "/", *([host] if len(host) > 8 else [])]


def scan(folder: Path, number: int, name: str, contrasts: str = "T1 T2", real: str = "") -> None:
    for contrast in contrasts.split():
        path = trees.nifti(folder / name / f"{name}_{contrast}.nii.gz", trees.stacks("midas", number)[contrast])
        volume = nibabel.load(path)
        if real:  # a T1 of a head; its root stands for another contrast on the same grid
            scans = sorted(Path(real, "nichart").glob("*/T1.nii.gz"))
            head = nibabel.load(scans[number % len(scans)])
            voxels = head.get_fdata() * (1 + 0.01 * number)  # of two who share a head, no two images are the same
            volume = nibabel.Nifti1Image(voxels ** (1 if contrast == "T1" else 0.5), head.affine)
        for entry in ("descrip", "db_name", "aux_file", "intent_name"):
            volume.header[entry] = HEADER.encode()[: volume.header[entry].dtype.itemsize or 16]
        nibabel.save(nibabel.Nifti1Image(volume.get_fdata(), volume.affine, volume.header), path)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return laboratory(tmp_path_factory.mktemp("laboratory"))


def laboratory(at: Path, real: str = "") -> Path:
    """Volumes, a prepared folder, and two finished runs, one on that folder, one on the volumes directly."""
    for number, name in enumerate((*PEOPLE, EXCLUDED)):
        scan(at / "scans" / "north", number, name, real=real)
    scan(at / "scans" / "north", 7, BROKEN, "T1", real)
    chain = trees.SMALL | ({"spacing": 8.0} if real else {})  # a head from the nose to the back of the neck
    small = [f"dataset.chain.{option}={value}" for option, value in chain.items()]
    data = [f"dataset.root={at / 'scans'}", "dataset.pattern='{site}/{subject}/{subject}_{contrast}.nii.gz'"]
    data += [f"dataset.exclude=[{EXCLUDED}]", "dataset.on_error=skip", f"dataset.out={at / 'prepared'}", *small]
    assert main(["prepare", "dataset=folder", *data]) == 0
    scenario = ["scenario=common", "scenario.sites=[north]", "--results", str(at / "results")]
    prepared = ["dataset=prepared", f"dataset.folders=[{at / 'prepared'}]"]
    assert main(["run", "method=local", *SMALL, *QUICK, *prepared, *scenario]) == 0
    assert main(["run", "method=fedavg", *SMALL, *QUICK, "dataset=folder", *data, *scenario]) == 0
    store = Store(at / "results")
    with store.claim("fedbn-common-s0-0123456789ab"):
        store.begin("fedbn-common-s0-0123456789ab", store.identity(store.names()[0]))
        store.fail("fedbn-common-s0-0123456789ab", ValueError(f"{at / 'scans' / PEOPLE[0]} of {PEOPLE[0]} is damaged"))
    return at


@pytest.mark.slow
def test_what_leaves_names_nobody_and_no_folder(lab: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_what_leaves(lab, tmp_path, capsys)


@pytest.mark.slow
@pytest.mark.skipif(not REAL, reason="FEDSYNTH_REAL does not name the folder of real scans")
def test_what_leaves_of_real_scans_names_nobody_and_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_what_leaves(laboratory(tmp_path / "laboratory", REAL), tmp_path, capsys)


def check_what_leaves(lab: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    results, out = str(lab / "results"), tmp_path / "sent"
    for words in (
        ["records", "publish", "ours", "--out", str(out)],
        ["records", "pack", str(out / "ours.zip")],
        ["leaderboard", "--out", str(out / "tables")],
        ["report", "--out", str(out / "page")],
        ["report", "--pictures", "--out", str(out / "page-with-pictures")],
        ["figures", "--pictures", "--format", "png,svg", "--columns", "1", "--out", str(out / "figures")],
    ):
        assert main([*words, "--results", results]) == 0
    shown = capsys.readouterr().out.replace(str(out), "")
    (out / "terminal.txt").write_text(shown)
    files = {path.suffix for path in out.rglob("*.*")}
    assert files >= {".md", ".csv", ".tex", ".html", ".zip", ".png", ".svg", ".txt"}
    assert found_in(out, [*SECRETS, *machine(lab), "names.json"]) == []


@pytest.mark.slow
def test_the_search_finds_what_is_there(lab: Path, tmp_path: Path) -> None:
    at = found_in(lab / "prepared", [*SECRETS, str(lab)])
    assert {place.rpartition(" ")[2] for place in at} == {"names.json"}  # sheets show names as pixels
    assert {place.partition(" ")[0] for place in at} == {*SECRETS, str(lab)} - {
        EXCLUDED.split("_")[0],
        "1933-02-01",
        HEADER,
    }
    assert found_in(lab / "scans", [HEADER])
    for name, content in opened((lab / "prepared" / "names.json").read_bytes(), "inside"):
        (tmp_path / name).write_bytes(content)
    assert found_in(tmp_path, [PEOPLE[0]])


@pytest.mark.slow
def test_records_hold_pseudonyms_of_the_prepared_folder(lab: Path) -> None:
    records, _ = Store(lab / "results").records()
    assert len(records) == 2
    info = json.loads((lab / "prepared" / "dataset.json").read_text())
    assert {record.naming["north"] for record in records} == {info["naming"]}
    for record in records:
        text = (Store(lab / "results").folder(record.run) / "scores.csv").read_text()
        subjects = {line.split(",")[3] for line in text.splitlines()[1:]}
        assert subjects == {name for name, split in info["sites"]["north"]["splits"].items() if split == "test"}


@pytest.mark.slow
def test_it_is_told_before_what_leaves(lab: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = ["--results", str(lab / "results")]
    assert main(["records", "pack", str(tmp_path / "ours.zip"), *results]) == 0
    told = capsys.readouterr().err
    assert "What 2 records give away:" in told
    assert "of north: sizes, voxels, histograms of intensity, and the scores of 1 test subjects, by pseudonym" in told
    assert "no pictures, models, logs or paths" in told


def test_records_from_before_there_were_pseudonyms_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store(tmp_path / "results")
    old = finished.finish(store, finished.identity(dataset={"name": "prepared"}))
    results = ["--results", str(tmp_path / "results")]
    assert main(["records", "pack", str(tmp_path / "ours.zip"), *results]) == 1
    assert f"left out: {old}: it was made before subjects had pseudonyms" in capsys.readouterr().err
    assert main(["records", "publish", "ours", "--out", str(tmp_path), *results]) == 1
    assert not (tmp_path / "ours.zip").exists()
    assert not (tmp_path / "ours").exists()


@pytest.mark.slow
def test_pictures_of_patients_are_shown_only_where_it_is_asked(
    lab: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = ["--results", str(lab / "results")]
    for words, there in ([], False), (["--pictures"], True):
        assert main(["report", *words, "--out", str(tmp_path), *results]) == 0
        assert ("data:image/png" in (tmp_path / "index.html").read_text()) == there
        assert ("left out: pictures of patients; --pictures shows them" in capsys.readouterr().err) != there


@pytest.mark.parametrize(
    "words",
    [
        ["scenario.name='${oc.env:HOME}'"],
        ["scenario.name='${results}'"],
    ],
)
def test_no_text_of_the_machine_gets_into_a_record(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "SecretPlace")
    assert main(["run", "method=fedavg", *TINY, *words, "--results", str(tmp_path / "r")]) == 2
    told = capsys.readouterr().err
    assert "SecretPlace" not in told
    assert not (tmp_path / "r" / "runs").exists()
