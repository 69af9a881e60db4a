"""The tables that are kept in the repository are those of the records beside them, byte for byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedsynth.benchmarks.leaderboard import main

SMOKE = Path(__file__).parents[1] / "results" / "smoke"


@pytest.mark.parametrize("table", [path.name for path in sorted(SMOKE.iterdir()) if path.is_dir()])
def test_a_table_follows_from_its_records(table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--results", str(SMOKE / table), "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    for name in ("leaderboard.md", "leaderboard.csv"):
        assert (tmp_path / name).read_bytes() == (SMOKE / table / name).read_bytes(), (
            f"{table}/{name}: run `make smoke`"
        )
    titles = [line for line in (tmp_path / "leaderboard.md").read_text().splitlines() if line.startswith("## ")]
    assert titles
    assert all(title.endswith("smoke run") for title in titles)
