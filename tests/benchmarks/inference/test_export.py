"""`fedsynth outputs export`: outputs are on the grid of their sources, and are those that the run was scored with."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
from support import finished, trees

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.records.store import Store
from fedsynth.datasets.layout import Layout
from fedsynth.datasets.store.slice_store import SliceStore as Prepared

SMALL = ["network.width=4", "network.blocks=1", "network.discriminator_width=4", "network.discriminator_layers=1"]
QUICK = ["trainer.rounds=2", "trainer.local_steps=4", "trainer.batch=2", "trainer.lr=3e-3", "trainer.device=cpu"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Layout, str]:
    """A run of two sites: the folder of its results and data, its layout, and its name."""
    at = tmp_path_factory.mktemp("export")
    trees.folder(at / "in", sites=("north", "south"))
    layout = trees.layout("folder", at / "in")
    layout.prepare()
    scenario = ["scenario=common", "scenario.sites=[north,south]", '+scenario.tasks.north=["T1->T2","T2->T1"]']
    data = ["dataset=prepared", f"dataset.folders=[{layout.place}]"]
    options = [*SMALL, *QUICK, *scenario, *data, "--results", str(at / "results")]
    assert main(["run", "method=fedbn", *options]) == 0
    (record,), _ = Store(at / "results").records()
    return at, layout, record.run


def test_every_test_subject_and_task_becomes_a_volume_on_its_source(
    run: tuple[Path, Layout, str], capsys: pytest.CaptureFixture[str]
) -> None:
    at, layout, name = run
    assert main(["outputs", "export", name, "--results", str(at / "results")]) == 0
    assert f"wrote 3 volumes to {at / 'results' / 'volumes' / name}" in capsys.readouterr().out
    store = Prepared.open(layout.place)
    index = {(row["site"], row["subject"], row["contrast"]): row for row in store.volumes()}
    with np.load(at / "results" / "runs" / name / "gallery.npz") as gallery:
        for site, source, target in (("north", "T1", "T2"), ("north", "T2", "T1"), ("south", "T1", "T2")):
            (subject,) = store.site(site).of("test")
            row = index[site, subject.name, source]
            path = at / "results" / "volumes" / name / site / row["name"] / f"{source}-{target}.nii.gz"
            made, own = nibabel.load(path), nibabel.load(row["file"])
            assert made.shape == own.shape
            np.testing.assert_allclose(made.affine, own.affine, atol=1e-5)
            white = float(index[site, subject.name, target]["white"])
            middle = (subject.slices.stop - subject.slices.start) // 2
            height = int(row["slices"].split()[middle])
            shown = np.asarray(made.dataobj)[:, ::-1, height].T / white * 255
            np.testing.assert_allclose(shown, gallery[f"{site}/{source}->{target}/prediction"][0], atol=0.6)


def test_moved_sources_are_found_by_their_root(
    run: tuple[Path, Layout, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at, layout, name = run
    shutil.move(layout.folder, tmp_path / "elsewhere")
    try:
        assert main(["outputs", "export", name, "--results", str(at / "results")]) == 2
        assert "say where the volumes are by --root" in capsys.readouterr().err
        out = ["--out", str(tmp_path / "out"), "--root", str(tmp_path / "elsewhere")]
        assert main(["outputs", "export", name, "--results", str(at / "results"), *out]) == 0
    finally:
        shutil.move(tmp_path / "elsewhere", layout.folder)
    before = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.nii.gz"))
    assert len(before) == 3


def test_what_has_no_volumes_is_said(run: tuple[Path, Layout, str], capsys: pytest.CaptureFixture[str]) -> None:
    at, layout, name = run
    finished.finish(Store(at / "phantom"), finished.identity())
    assert main(["outputs", "export", "*", "--results", str(at / "phantom")]) == 2
    assert "was trained on dataset=phantom, which has no volumes" in capsys.readouterr().err
    assert main(["outputs", "export", "none-*", "--results", str(at / "results")]) == 1
    assert "no finished run named none-*" in capsys.readouterr().err
    table = layout.place / "splits.csv"
    before = table.read_text("utf-8")
    try:
        table.write_text(before.replace("val", "X").replace("test", "val").replace("X", "test"), "utf-8")
        assert main(["outputs", "export", name, "--results", str(at / "results")]) == 2
    finally:
        table.write_text(before, "utf-8")
    assert "the data of site north are not those that" in capsys.readouterr().err
