"""docs/tutorial.md: its files and commands, run as a newcomer would, print what the page shows."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.checkout import ROOT
from support.console import missing, not_shown

PAGE = (ROOT / "docs" / "tutorial.md").read_text()


@pytest.mark.slow
def test_every_command_prints_what_the_page_shows(tmp_path: Path) -> None:
    assert not_shown(PAGE, tmp_path) == {}


def test_a_line_that_is_not_printed_is_found() -> None:
    told = ["method  PSNR", "local  17.77", "fedavg-common-s0-a1199f6cf4d6  done", "...", "Verdict: none"]
    assert missing(told, ["method PSNR", "fedavg-common-s3-000000000000 done", "local -2"]) == []
    assert missing(told, ["method PSNR", "fedavg 1", "local 3"]) == ["fedavg-common-s0-a1199f6cf4d6  done"]
