"""Passages of pages follow from records, and numbers outside of them are found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support import finished
from support.source import ROOT

from fedsynth.benchmarks.cli import main
from fedsynth.benchmarks.records.store import Store
from fedsynth.benchmarks.share.passages import PASSAGE, by_hand, rewritten
from fedsynth.benchmarks.share.statements import STATEMENTS, StatementError

LEVELS = {"local": 20.0, "fedavg": 17.0, "fedbn": 23.0}  # dB; the look-up table of finished.py has 18.25
PUBLISHED = sorted([ROOT / "results" / "README.md", *ROOT.glob("results/*/README.md")])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three methods of five seeds, far apart."""
    folder = tmp_path_factory.mktemp("published")
    rng = np.random.default_rng(0)
    for method, level in LEVELS.items():
        for seed in range(5):
            site_tasks = [(site, task) for site, tasks in finished.TASKS.items() for task in tasks]
            psnr = {place: list(level + rng.normal(0, 0.1, 20)) for place in site_tasks}
            finished.finish(Store(folder), finished.identity(method={"name": method}, seed=seed), psnr)
    return folder


def passage(folder: Path, words: str) -> str:
    """The passage of a mark, in one line."""
    mark = f"<!-- records: {words} -->\n"
    return " ".join(rewritten(mark, folder).removeprefix(mark).split())


def test_what_was_run_is_counted(folder: Path) -> None:
    assert passage(folder, "setting") == (
        "15 runs in 1 table; 5 seeds; 10 training, 5 validation and 20 test subjects a site; 10,000 local steps a site; networks "
        "of width 64; simulated images of 64 pixels a side, which are no evidence of clinical performance."
    )


def test_where_a_table_stands_is_said_with_what_needs_no_training(folder: Path) -> None:
    said = passage(folder, "standing")
    assert said.startswith("- **variable on phantom.** fedbn has the best PSNR with 2")
    assert (
        "Below the look-up table are 1 of 3 rows. Lines of reference: copied source 11.00, mean training image 15.50, "
        in said
    )
    assert "look-up table 18.25 dB." in said
    assert "Not recorded: noise ceiling." in said
    assert passage(folder, "headlines").endswith("Below the look-up table are 1 of 3 rows.")
    assert "Against `local` on the same network `fedbn` by +3.00 dB (" in said
    assert ") is shown to gain, none to lose, none neither. Nothing is claimed of the gains of 1 row: " in said


def test_two_rows_are_compared_as_their_table_decides(folder: Path) -> None:
    said = passage(folder, "compare fedbn local fedavg")
    assert said.startswith("- **variable on phantom.** fedbn is better than local by 3.00 dB (")
    assert "No claim (a row of each is below the look-up table): fedbn minus fedavg +6.00 dB (" in said


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("standign", "no statement 'standign'; there are setting, standing"),
        ("compare fedbn fedsam", "no row is called 'fedsam'; there are"),
        ("newcomers", "no table has newcomers"),
        ("across", "no table has models at other sites"),
        ("options fedbn.mu", "no row of 'fedbn' has an option 'mu'"),
    ],
)
def test_a_statement_that_cannot_be_made_says_why(folder: Path, words: str, reason: str) -> None:
    with pytest.raises(StatementError, match=reason):
        passage(folder, words)


def test_a_page_is_written_in_place_and_what_is_written_by_hand_stays(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Mine\n\n<!-- records of {folder}: setting -->\nold\nlines\n\nBy hand.\n")
    assert main(["records", "pages", str(page)]) == 0
    text = page.read_text()
    assert text.startswith(f"# Mine\n\n<!-- records of {folder}: setting -->\n15 runs in 1 table;")
    assert text.endswith("clinical performance.\n\nBy hand.\n")
    assert main(["records", "pages", str(page)]) == 0
    assert page.read_text() == text
    assert capsys.readouterr().out == f"{page}: 1 passage, written\n{page}: 1 passage, none changed\n"


def test_a_page_without_records_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- records of nowhere: setting -->\n")
    assert main(["records", "pages", str(page)]) == 2
    assert f"fedsynth: {page}: {tmp_path / 'nowhere'} has no finished run" in capsys.readouterr().err
    assert main(["records", "pages", str(tmp_path / "gone.md")]) == 2


def test_numbers_outside_of_passages_are_found() -> None:
    text = (
        "# T1->T2 with pix2pix\n\n<!-- records: setting -->\n15 runs\nof 3\n\n"
        "`lr=0.1` and ![a](b2.png), pFLSynth's\n```\n12\n```\n"
        "gains 1.5 dB, +2.4 to\n1,000 of three, twice\n"
    )
    assert list(by_hand(text)) == [
        "line 11: 1.5",
        "line 11: +2.4",
        "line 12: 1,000",
        "line 12: three",
        "line 12: twice",
    ]


@pytest.mark.parametrize("page", PUBLISHED, ids=lambda page: page.parent.name)
def test_a_published_page_has_no_number_but_those_of_its_records(page: Path) -> None:
    text = page.read_text()
    assert list(by_hand(text)) == []
    assert PASSAGE.search(text)
    assert rewritten(text, page.parent) == text, "run `make pages`"


def test_what_the_readme_says_of_tables_follows_from_records() -> None:
    text = (ROOT / "README.md").read_text()
    _, heading, after = text.partition("## What the tables say so far\n")
    section = heading + after.partition("\n## ")[0]
    assert list(by_hand(section)) == []
    assert PASSAGE.search(section)
    assert rewritten(section, ROOT) == section, "run `make pages`"


def test_every_statement_is_made_on_some_page() -> None:
    """Which shows that it can be made of real records."""
    marks = [mark["words"] for page in (ROOT / "README.md", *PUBLISHED) for mark in PASSAGE.finditer(page.read_text())]
    assert {words.split()[0] for words in marks} == set(STATEMENTS)
