"""`fedsynth report`: a page that holds all it shows, says what the tables say, and is the same every time."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import finished
from support.finished import fill_ranked
from support.pages import Page, made, runs
from support.source import ROOT
from support.stores import TASKS, fill

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.contract.sources import choices
from fedsynth.benchmarks.records.record import read_scores, run_name
from fedsynth.benchmarks.records.store import Store
from fedsynth.benchmarks.report.images import PIXELS, TileBudget
from fedsynth.benchmarks.report.methods import PAPER, methods_block
from fedsynth.benchmarks.report.sections import gains, with_intervals
from fedsynth.benchmarks.tables.metric import Metric
from fedsynth.benchmarks.tables.table import tables
from fedsynth.benchmarks.tables.views.columns import columns
from fedsynth.benchmarks.tables.views.meanings import column_meanings


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three methods in two scenarios with two seeds; one run failed, one diverged, one is missing."""
    results = tmp_path_factory.mktemp("results")
    store = Store(results)
    fill(store, methods=3, scenarios=2, seeds=2, rounds=4, side=16)
    what = finished.identity(method={"name": "method01"}, scenario={"name": "common"}, seed=0)
    finished.finish(store, what, status="diverged", reason="the loss is not finite", selected_round=0)
    finished.finish(store, finished.identity(method={"name": "method02"}, scenario={"name": "common"}, seed=1))
    failed = finished.record(finished.identity(seed=3))
    with store.claim(failed.run):
        store.begin(failed.run, failed.identity)
        store.fail(failed.run, ValueError("no such luck"))
    return results


@pytest.fixture(scope="module")
def shown(results: Path) -> Page:
    return made(Store(results))


def test_the_page_holds_all_that_it_shows(shown: Page) -> None:
    assert shown.addresses == []
    assert not {"link", "iframe", "object", "img"} & set(shown.tags)
    rest = shown.script.replace("http://www.w3.org/1999/xhtml", "").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|fetch\(|import\(|XMLHttpRequest|url\(", rest)


def test_no_script_but_its_own_may_run(shown: Page) -> None:
    digest = base64.b64encode(hashlib.sha256(shown.script.encode()).digest()).decode()
    assert shown.policy == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"


def test_its_tables_are_those_of_the_leaderboard(results: Path, shown: Page) -> None:
    found = tables(runs(Store(results)))
    assert [table["title"] for table in shown.blocks["overview"]["tables"]] == [table.title for table in found]
    for number, table in enumerate(found):
        block = shown.blocks[f"table-{number}"]
        count = len(table.rows)
        shown_columns = [(column["name"], column["cells"][:count]) for column in block["columns"]]
        assert shown_columns == [(column.name, column.shown(" ± ")) for column in with_intervals(columns(table), table)]
        assert block["caption"] == " ".join(table.caption)
        assert block["notes"] == list(table.notes)
        assert [": ".join(fact) for fact in block["facts"]] == list(table.facts)
        assert block["headline"] == table.headline
        assert block["not_recorded"] == ["noise ceiling"]  # nor was it by old runs
        for line, name in enumerate(block["lines"], count):
            cells = {column["name"]: column["cells"][line] for column in block["columns"]}
            own = next(line for line in table.lines if line.name == name)
            assert (cells["method"], cells.get("PSNR", "")) == (
                name,
                f"{own.scores['psnr'].mean:.2f}" * ("PSNR" in cells),
            )
        assert [row["method"] for row in block["rows"]] == [row.method for row in table.rows]


def test_the_main_view_has_psnr_and_ssim_inside_the_foreground_too(shown: Page) -> None:
    tables = [shown.blocks[f"table-{number}"] for number, _ in enumerate(shown.blocks["overview"]["tables"])]
    main = [{column["name"] for column in table["columns"] if column["main"]} for table in tables]
    scored = [own for own in main if "PSNR" in own]  # one table has a row with a hole alone
    assert scored
    assert all({"SSIM", "PSNR in the foreground", "SSIM in the foreground"} <= own for own in scored)


def test_every_cell_of_the_table_of_site_tasks_is_a_mean_over_subjects_and_seeds(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for seed in (0, 1):
        scores = {("ixi", "T1->T2"): [20.0, 23.0 + seed], ("oasis", "T1->T2"): [10.0], ("oasis", "T2->FLAIR"): [15.0]}
        finished.finish(store, finished.identity(seed=seed), scores)
    block = made(store).blocks["table-0"]
    assert block["trained"]["site_tasks"] == [["ixi", "T1->T2"], ["oasis", "T1->T2"], ["oasis", "T2->FLAIR"]]
    metrics = {metric["name"]: metric for metric in block["trained"]["metrics"]}
    assert metrics["psnr"]["cells"] == [[21.75, 10, 15]]  # of 20, 23 and 20, 24
    assert metrics["ssim"]["cells"] == [[21.75, 10, 15]]  # x 100
    assert (metrics["psnr"]["better"], metrics["nmse"]["better"]) == (1, -1)


def test_a_row_with_a_hole_has_curves_and_no_score(shown: Page) -> None:
    (block,) = [
        block for name, block in shown.blocks.items() if name.startswith("table-") and "common" in block["title"]
    ]
    assert [row["missing"] for row in block["rows"]] == [[1], [0]]
    assert block["trained"]["metrics"] == []
    assert block["pareto"] == [None, None]
    assert [len(row["overall"]["mean"]) for row in block["curves"]] == [2, 2]


def test_across_sites_a_site_has_its_own_model_on_the_diagonal(results: Path, shown: Page) -> None:
    table = tables(runs(Store(results)))[1]
    block = shown.blocks["table-1"]
    assert (block["title"], block["cross_site"]["sites"]) == (table.title, ["brats", "ixi", "midas"])
    scores = [row for run in table.rows[0].runs for row in read_scores(run.folder)]
    for model, site in (("ixi", "ixi"), ("ixi", "brats")):
        selection = "selected" if model == site else f"from-{model}"
        own = [row["psnr"] for row in scores if (row["selection"], row["site"]) == (selection, site)]
        at = [block["cross_site"]["sites"].index(name) for name in (model, site)]
        assert block["cross_site"]["rows"][0][at[0]][at[1]] == pytest.approx(np.mean(own), rel=1e-5)
    assert shown.blocks["table-2"]["cross_site"] is None


def test_newcomers_start_at_zero_where_the_method_sends_something(results: Path, shown: Page) -> None:
    block = shown.blocks["table-1"]
    counts = {
        row["name"]: [count for count, *_ in own] for row, own in zip(block["rows"], block["newcomers"], strict=True)
    }
    assert counts == {"local": [1, 2, 4, 8], "method01": [0, 1, 2, 4, 8], "method02": [0, 1, 2, 4, 8]}
    assert shown.blocks["table-2"]["newcomers"] == [[], [], []]


def test_tasks_that_a_site_never_trained_have_a_table_of_their_own(results: Path, shown: Page) -> None:
    asked = shown.blocks["table-1"]["asked"]
    assert asked["site_tasks"] == [["ixi", "T1->PD"]]
    (psnr,) = [metric for metric in asked["metrics"] if metric["name"] == "psnr"]
    row = tables(runs(Store(results)))[1].rows[0]
    own = [line["psnr"] for run in row.runs for line in read_scores(run.folder) if line["selection"] == "asked"]
    assert psnr["cells"][0] == [pytest.approx(np.mean(own), rel=1e-5)]
    assert shown.blocks["table-2"]["asked"] is None


def test_few_training_subjects_make_a_curve_across_tables(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for subjects, data in ((1, "d0"), (4, "d0"), (8, "other")):  # the last is of other data, so of no curve
        sizes = {site: {"train": [subjects, 8], "val": [5, 40], "test": [20, 160]} for site in finished.TASKS}
        what = finished.identity(scenario={"train_subjects": {"default": subjects}}, data=data)
        own = finished.record(what)
        finished.finish(store, what, 20.0 + subjects, data=own.data | {"subjects_and_slices": sizes})
    (family,) = made(store).blocks["overview"]["scarce"]
    assert family["rows"] == {"fedavg/resnet": [[1, 21, None], [4, 24, None]]}  # of one seed there is no interval


def test_images_are_those_of_the_first_seed_pixel_by_pixel(results: Path, shown: Page) -> None:
    table = tables(runs(Store(results)))[2]
    facts, picture = shown.blocks["table-2"]["images"][0], shown.blocks["images-2-0"]
    assert facts["site_task"] == "brats/FLAIR->T2"
    assert (facts["tile"], facts["subjects"], facts["rows"]) == ([16, 16], 2, [0, 1, 2])
    tiled = np.array(Image.open(io.BytesIO(base64.b64decode(picture.partition(",")[2]))))
    with np.load(table.rows[1].runs[0].folder / "gallery.npz") as images:
        for column, kind in ((0, "source"), (1, "target"), (3, "prediction")):
            tiles = [tiled[16 * row : 16 * row + 16, 16 * column : 16 * column + 16] for row in (0, 1)]
            np.testing.assert_array_equal(tiles, images[f"brats/FLAIR->T2/{kind}"])
    assert len(shown.blocks["table-2"]["images"]) == sum(map(len, TASKS.values()))


def test_a_damaged_gallery_is_named_once_and_the_others_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(Store(tmp_path), methods=2, scenarios=1, seeds=1, rounds=2, side=16)
    (table,) = tables(runs(Store(tmp_path)))
    damaged = table.rows[0].runs[0].folder / "gallery.npz"
    damaged.write_bytes(damaged.read_bytes()[:100])
    images = made(Store(tmp_path)).blocks["table-0"]["images"]
    assert capsys.readouterr().err.count(f"fedsynth: images left out: {damaged}: ") == 1
    assert {tuple(own["rows"]) for own in images} == {(1,)}


def test_large_stores_get_smaller_tiles_then_fewer_subjects() -> None:
    assert TileBudget.of([(4, [2] * 8)]) == TileBudget(128, 2)
    assert TileBudget.of([]) == TileBudget(128, 1)
    many = [(40, [2] * 8)] * 10
    found = TileBudget.of(many)
    assert found == TileBudget(64, 2)
    assert sum((rows + 2) * 2 for rows, counts in many for _ in counts) * found.side**2 <= PIXELS
    assert TileBudget.of(many * 2) == TileBudget(64, 1)


def test_ranks_need_independent_tables_or_say_why_there_are_none(tmp_path: Path, shown: Page) -> None:
    assert shown.blocks["overview"]["ranks"]["reason"].startswith("none of 3 tables is ranked")
    fill_ranked(Store(tmp_path), 5)
    ranks = made(Store(tmp_path)).blocks["overview"]["ranks"]
    assert sorted(ranks["names"]) == ["fedavg", "fedbn", "local"]
    assert ranks["mean"] == sorted(ranks["mean"])
    assert len(ranks["blocks"]) == 5


def test_the_first_columns_are_four_metrics_with_intervals_and_the_gains_over_both_controls(tmp_path: Path) -> None:
    fill_ranked(Store(tmp_path), 1)
    page, (_, table) = made(Store(tmp_path)), tables(runs(Store(tmp_path)))
    block = page.blocks["table-1"]
    main = {column["name"]: column["cells"] for column in block["columns"] if column["main"]}
    for name in ("psnr", "ssim", "psnr_fg", "ssim_fg"):
        metric = Metric.of(name)
        estimable = table.margins(name)
        shown = main[metric.heading][: len(table.rows)]
        assert [cell.partition(" ± ")[2] for cell in shown] == [f"{own:.{metric.digits}f}" for own in estimable]
    fedavg, local = (
        next(at for at, row in enumerate(table.rows) if row.method == name) for name in ("fedavg", "local")
    )
    assert main["gain"][local] == main["over fedavg"][fedavg] == "-"
    assert main["gain"][fedavg] == "1.00 ± 0.00*"
    assert main["over fedavg"][local] == "-1.00 ± 0.00*"
    assert block["gains"]["fedavg"][local]["difference"] == -1
    assert block["gains"]["fedavg"][local]["shown"] is True
    assert block["pairs"]["difference"][fedavg][local] == 1


def test_of_a_row_below_the_look_up_table_no_gain_is_claimed(results: Path) -> None:
    for table in tables(runs(Store(results))):
        for decisions in gains(table).values():
            claimed = [bool(decision and decision["shown"]) for decision in decisions]
            assert not any(claim for claim, row in zip(claimed, table.rows, strict=True) if not row.claims)


def test_runs_say_where_they_come_from(results: Path, shown: Page) -> None:
    rows = {row[0]: row for row in shown.blocks["runs"]["rows"]}
    assert list(rows) == [run.record.run for run in runs(Store(results))]
    for name, row in rows.items():
        content = (Store(results).folder(name) / "record.json").read_bytes()
        assert row[-1] == hashlib.sha256(content).hexdigest()[:12]
    assert shown.blocks["runs"]["versions"] == {"numpy": ["2.0.0"]}
    for name, address in zip(rows, shown.blocks["addresses"], strict=True):
        assert (results / "report" / address).resolve() == (Store(results).folder(name) / "record.json").resolve()
    table = tables(runs(Store(results)))[1]
    for row, block in zip(table.rows, shown.blocks["table-1"]["rows"], strict=True):
        own = [
            dict(zip(shown.blocks["runs"]["heads"], shown.blocks["runs"]["rows"][at], strict=True))
            for at in block["runs"]
        ]
        assert [line["run"] for line in own] == [run.record.run for run in row.runs]
        assert {(line["method"], line["network"]) for line in own} == {row.name}
        assert [line["seed"] for line in own] == list(row.seeds)
        assert np.mean([line["score"] for line in own]) == pytest.approx(row.psnr.mean if row.psnr else None, rel=1e-5)
        assert {line["seconds"] for line in own} == {60}


def test_every_column_says_what_it_means(results: Path, shown: Page) -> None:
    for number, table in enumerate(tables(runs(Store(results)))):
        found = shown.blocks[f"table-{number}"]["columns"]
        assert [column["name"] for column in found if not column["tip"] and not column["site_task"]] == []
        assert "METRIC" not in " ".join(column_meanings(table).values())


def test_a_method_leads_to_its_paper_its_entry_and_its_code() -> None:
    names = [choice.name for choice in choices("method")[0]]
    found = methods_block([*names, "nobody's"])
    assert list(found) == names
    assert [name for name in names if not found[name]["papers"]] == ["local", "pooled"]
    assert found["fedsam"]["papers"] == ["https://arxiv.org/abs/2206.02618", "https://arxiv.org/abs/2203.11834"]
    assert found["fedbn"]["file"] == "methods/fedbn.py"
    assert found["fedbn"]["code"] == (ROOT / "methods" / "fedbn.py").read_text()
    assert found["fedbn"]["entry"][0].startswith("Everything travels except")


@pytest.mark.parametrize(
    ("written", "papers"),
    [
        ("Paper: https://doi.org/10.1016/j.media.2024.103121.", ["https://doi.org/10.1016/j.media.2024.103121"]),
        ("Paper: https://arxiv.org/abs/2102.07623 (v2)", ["https://arxiv.org/abs/2102.07623"]),
        ("Paper: javascript:alert(1)//https://arxiv.org.example/abs/2102.07623", []),
        ('Paper: https://doi.org/10.1000/a"onclick="alert(1)', ["https://doi.org/10.1000/a"]),
    ],
)
def test_a_link_leads_to_a_paper_and_nowhere_else(written: str, papers: list[str]) -> None:
    assert PAPER.findall(written) == papers


def test_the_failures_tab_names_every_run_that_went_wrong_and_every_hole(shown: Page) -> None:
    failed_runs = {row[0].partition("-s")[0]: row[1:] for row in shown.blocks["failures"]}
    assert failed_runs["fedavg-variable"] == ["failed, round 0 of 100", 1, "ValueError"]
    assert failed_runs["method01-common"] == ["diverged", 0, "the loss is not finite"]
    holes = [row for row in shown.blocks["failures"] if row[1] == "hole"]
    assert [row[3] for row in holes] == ["no finished run of seed 1", "no finished run of seed 0"]


def test_of_an_error_the_page_tells_the_kind_alone(tmp_path: Path) -> None:
    store, text = Store(tmp_path), "data/ann/bob.nii.gz: </script><img src=x onerror=alert(1)>&amp;"
    finished.finish(store, finished.identity())
    begun = finished.identity(method={"name": "fedbn"})
    store.folder(run_name(begun)).mkdir()
    store.begin(run_name(begun), begun)
    store.fail(run_name(begun), ValueError(text))
    found = made(store)
    assert "img" not in found.tags
    assert found.blocks["failures"][0][-1] == "ValueError"


@pytest.fixture(scope="module")
def modules(results: Path) -> list[str]:
    """What is imported by a process that writes the page into `again` and a table's figures into `out`."""
    figures = ["figures", "*-common-*", "--format", "png", "--results", str(results), "--out", str(results / "out")]
    report = ["report", "--results", str(results), "--out", str(results / "again")]
    code = (
        "import sys\nfrom fedsynth.benchmarks.cli import main\n"
        f"assert main({report!r}) == 0 and main({figures!r}) == 0\nprint(*sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7", "MPLBACKEND": "svg"}
    done = subprocess.run([sys.executable, "-c", code], check=True, env=environment, capture_output=True, text=True)
    return done.stdout.splitlines()[-1].split()


@pytest.mark.usefixtures("modules")
def test_a_page_made_again_is_the_same(results: Path) -> None:
    assert main(["report", "--results", str(results)]) == 0
    assert (results / "report" / "index.html").read_bytes() == (results / "again" / "index.html").read_bytes()


def test_neither_torch_nor_a_method_is_imported(modules: list[str]) -> None:
    assert "fedsynth.benchmarks.report.figures" in modules
    assert [name for name in modules if name == "torch" or name.startswith("fedsynth.methods.")] == []


def test_patterns_choose_runs(results: Path, tmp_path: Path) -> None:
    out = tmp_path / "page"
    assert main(["report", "*-scenario1-*", "--results", str(results), "--out", str(out)]) == 0
    found = Page((out / "index.html").read_text())
    assert "6 finished runs in 1 table." in " ".join(found.text.split())
    assert found.blocks["failures"] == []


def test_without_runs_it_says_how_to_make_some(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--results", str(tmp_path)]) == 1
    assert "no finished run" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
