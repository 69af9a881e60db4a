"""PNG folders of the released code: the contrast of each channel, where subjects begin, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedsynth.datasets.prepared import Prepared
from fedsynth.datasets.side_by_side import SideBySide
from fedsynth.federation import SPLITS, FederationError

SIZE = 24
TABLE = ["site,split,subject,slices"] + [
    f"{site},{split},{subject},{count}"
    for site in ("ixi", "midas")
    for split, subjects in (("train", {"a": 7, "b": 5}), ("val", {"c": 2}), ("test", {"d": 3}))
    for subject, count in subjects.items()
]
COUNTS = {"train": 12, "val": 2, "test": 3}


def slices(site: str, split: str, number: int) -> np.ndarray:
    """Three contrasts `[3, H, W]` of a bright disc that differs from slice to slice."""
    y, x = np.indices((SIZE, SIZE)) - SIZE / 2
    disc = np.hypot(x, y) < 9
    base = 60 + 7 * number + 40 * SPLITS.index(split) + 9 * len(site)
    return np.stack([disc * (base + 13 * contrast) for contrast in range(3)]).astype(np.uint8)


def write(path: Path, left: tuple[np.ndarray, np.ndarray], right: tuple[np.ndarray, np.ndarray]) -> None:
    halves = [np.stack([red, green, np.full_like(red, 9)], axis=-1) for red, green in (left, right)]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(halves, axis=1)).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for split, count in COUNTS.items():
        for number in range(count):
            one, two, three = slices("ixi", split, number)
            zero = np.zeros_like(one)
            write(tmp_path / "in" / "ixi" / "T1_T2__PD" / split / f"{number}.png", (one, two), (zero, three))
            one, two, _ = slices("midas", split, number)
            write(tmp_path / "in" / "midas" / "T1_T2" / split / f"{number}.png", (one, zero), (zero, two))
    (tmp_path / "in" / "subjects.csv").write_text("\n".join(TABLE))
    return tmp_path / "in"


def test_halves_and_channels_are_the_contrasts(root: Path, tmp_path: Path) -> None:
    dataset = SideBySide(str(root))
    assert dataset.contrasts() == {"ixi": ("T1", "T2", "PD"), "midas": ("T1", "T2")}
    for name, contrasts in dataset.contrasts().items():
        site = dataset.load(name, tmp_path / "cache")
        assert [(s.name, s.split, s.slices.stop - s.slices.start) for s in site.subjects] == [
            ("train000", "train", 7), ("train001", "train", 5), ("val000", "val", 2), ("test000", "test", 3),
        ]  # fmt: skip
        for split, count in COUNTS.items():
            for number, row in zip(range(count), site.rows(split), strict=True):  # by number: 2 before 10
                given = slices(name, split, number)[: len(contrasts)]
                np.testing.assert_allclose(site.images[row].astype(float), given / 127.5 - 1, atol=1e-3)
                assert (site.masks[row] == (given[0] > 0)).mean() > 0.97


def test_it_is_cached_until_an_image_or_the_table_changes(root: Path, tmp_path: Path) -> None:
    dataset = SideBySide(str(root))
    dataset.load("ixi", tmp_path / "cache")
    before = dataset.fingerprint("ixi")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [f"side_by_side-ixi-{before}"]
    one, two, three = slices("ixi", "val", 11)
    write(root / "ixi" / "T1_T2__PD" / "val" / "1.png", (one, two), (one, three))
    after = dataset.fingerprint("ixi")
    (root / "subjects.csv").write_text("\n".join(TABLE).replace("a,7", "a,8").replace("b,5", "b,4"))
    assert len({before, after, dataset.fingerprint("ixi")}) == 3


def test_it_becomes_a_store(root: Path, tmp_path: Path) -> None:
    Prepared.keep(SideBySide(str(root)), tmp_path / "store")
    made = Prepared([str(tmp_path / "store")]).load("midas", tmp_path)
    np.testing.assert_array_equal(made.images, SideBySide(str(root)).load("midas", tmp_path / "cache").images)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda at: (at / "subjects.csv").unlink(),
            r"subjects.csv cannot be read .*only it says where a subject begins",
        ),
        (
            lambda at: (at / "subjects.csv").write_text("site,split\n"),
            "has no column subject; it needs site, split, subject, slices",
        ),
        (
            lambda at: (at / "subjects.csv").write_text(TABLE[0] + "\nixi,train,a,0\n"),
            "line 2: split 'train' with '0' slices",
        ),
        (
            lambda at: (at / "subjects.csv").write_text("\n".join(TABLE[:3])),
            "val has 2 images, and .* counts 0 slices for them",
        ),
        (lambda at: (at / "ixi/T1_T2__PD/train/3.png").unlink(), "train has 11 images, and .* counts 12"),
        (lambda at: (at / "ixi/T1_T2__PD/train/3.png").write_bytes(b"\x89PNG"), r"3.png cannot be read"),
        (
            lambda at: (at / "ixi/T1_T2__PD/train/3.png").rename(at / "ixi/T1_T2__PD/train/x.png"),
            "the name of x.png is not a number",
        ),
        (
            lambda at: Image.new("L", (48, 24)).save(at / "ixi/T1_T2__PD/val/0.png"),
            "0.png is a L image; it must be RGB",
        ),
        (lambda at: Image.new("RGB", (47, 24)).save(at / "ixi/T1_T2__PD/val/0.png"), "of odd width 47"),
        (lambda at: Image.new("RGB", (40, 24)).save(at / "ixi/T1_T2__PD/val/0.png"), "its images have 2 sizes"),
        (
            lambda at: [Image.new("RGB", (48, 24)).save(at / f"ixi/T1_T2__PD/val/{i}.png") for i in (0, 1)],
            "subject c are black",
        ),
        (
            lambda at: (at / "subjects.csv").write_text("\n".join(TABLE).replace("test,d", "test,a")),
            "a subject's name occurs twice, so splits could mix",
        ),
        (lambda at: (at / "ixi/T1_T2__PD").rename(at / "ixi/T1"), "is called FIRST_SECOND or FIRST_SECOND__THIRD"),
        (lambda at: (at / "ixi/T1_T2__PD").rename(at / "ixi/T1_T1"), "is called FIRST_SECOND"),
        (
            lambda at: (at / "ixi/T1_T2/train").mkdir(parents=True),
            "ixi has two folders of contrasts, T1_T2 and T1_T2__PD",
        ),
    ],
)
def test_what_cannot_be_read_is_refused(
    root: Path, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(root)
    dataset = SideBySide(str(root))
    with pytest.raises(FederationError, match=message):
        dataset.contrasts(), dataset.load("ixi", tmp_path / "cache")


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FederationError, match=r"has no folder SITE/CONTRASTS/train, such as ixi/T1_T2__PD/train"):
        SideBySide(str(tmp_path)).contrasts()
    with pytest.raises(FederationError, match=r"there is no folder ''; give the folder of the sites by dataset.root"):
        SideBySide().contrasts()
