"""docs/adding-a-metric.md does what it says: its file is a metric that scores runs, its package is found and orders a table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import finished
from support.docs import DocPage, run

from fedsynth import ImageMetric
from fedsynth.benchmarks.records.record import read_scores, write_record
from fedsynth.benchmarks.records.store import Store
from fedsynth.evaluation.scores import scores

PAGE = DocPage("adding-a-metric")


def finish(store: Store, method: str, seed: int, ncc: float) -> None:
    """A finished run that was scored by the page's metric too; all runs have the same PSNR."""
    what = finished.identity(method={"name": method}, seed=seed)
    record = finished.record(what)
    rows: list[dict[str, Any]] = [row | {"ncc": ncc, "ncc_fg": ncc / 2} for row in finished.scores(what)]
    store.folder(record.run).mkdir(parents=True)
    write_record(store.folder(record.run), record, rows, finished.curve(what))


@pytest.mark.slow
def test_the_file_and_the_commands(tmp_path: Path) -> None:
    (tmp_path / "ncc.py").write_text(PAGE.block("python"))
    printed = run(tmp_path, PAGE.commands())
    assert re.search(r"^  ncc +Normalised cross-correlation: .*ncc\.py\]$", printed, re.MULTILINE)
    assert "  higher is better, from -1 to 1\n  columns: ncc, ncc_fg\n" in printed
    assert "NCC in the foreground" in printed
    store = Store(tmp_path / "results")
    rows = [row for name in store.names() for row in read_scores(store.folder(name))]
    assert len(store.names()) == 2
    assert all(-1 <= row[column] <= 1 for row in rows for column in ("ncc", "ncc_fg"))


@pytest.mark.slow
def test_the_package_of_a_stranger_orders_a_table(tmp_path: Path) -> None:
    assert PAGE.install(tmp_path, "fedsynth.metrics") == "ncc = my_package.ncc:Correlation"
    store = Store(tmp_path / "results")
    for seed in (0, 1):
        for method, ncc in (("fedavg", 0.5), ("local", 0.25), ("fedbn", 0.75)):
            finish(store, method, seed, ncc)
    printed = run(tmp_path, "fedsynth list metrics\nfedsynth leaderboard --metric ncc_fg")
    assert re.search(r"^  ncc .*\[my_package 1\.0 \(my_package\.ncc:Correlation\)\]$", printed, re.MULTILINE)
    rows = (tmp_path / "results/leaderboard/leaderboard.csv").read_text().splitlines()
    heads, *cells = [row.split(",") for row in rows]
    shown = {row[heads.index("method")]: row[heads.index("NCC in the foreground")] for row in cells}
    ordered = {name: score for name, score in shown.items() if score}  # lines of reference were not scored by it
    assert list(ordered) == ["fedbn", "fedavg", "local"]
    assert list(map(float, ordered.values())) == [0.375, 0.25, 0.125]


def test_its_metric_is_the_correlation_of_numpy() -> None:
    space: dict[str, Any] = {}
    exec(PAGE.block("python"), space)  # the page's own file
    metric: ImageMetric = space["Correlation"]()
    noise = torch.rand(2, 2, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    mask = noise[0, :, 0] > 0
    mask[1] = False
    found = scores(noise[0], noise[1], mask, metrics={"ncc": metric})
    assert list(found) == ["ncc", "ncc_fg"]
    for number in range(2):
        x, y = ((noise[side, number, 0].double().numpy() + 1) / 2 for side in (0, 1))
        assert found["ncc"][number].item() == pytest.approx(np.corrcoef(x.ravel(), y.ravel())[0, 1], abs=1e-6)
    inside = mask[0].numpy()
    x, y = (noise[side, 0, 0].double().numpy()[inside] for side in (0, 1))
    assert found["ncc_fg"][0].item() == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-6)
    assert found["ncc_fg"][1].isnan()  # a slice without foreground
    flat = scores(noise[0], torch.zeros_like(noise[0]), metrics={"ncc": metric})
    assert flat["ncc"].isnan().all()


def test_every_attribute_is_on_the_page() -> None:
    told = {cells[0].strip("`") for cells in PAGE.table("attribute")}
    assert told == set(ImageMetric.__annotations__)
