"""`make picture`: docs/images/report.png, the first table of the demo's page.

`python tests/support/picture.py RESULTS PNG` is of any store.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":  # as a script, it has only its own folder on the path
    sys.path.insert(0, str(Path(__file__).parents[1]))

from support.browser import browser
from support.screenshots import shoot_tab

from fedsynth.benchmarks.cli import main

WIDTH, HEIGHT = 1280, 1200


def take(results: Path, png: Path) -> None:
    """The tab of the first table, from its title on."""
    with tempfile.TemporaryDirectory() as folder, browser(Path(folder) / "profile") as tab:
        main(["report", "--results", str(results), "--out", folder])
        tab.open(Path(folder) / "index.html", WIDTH, HEIGHT)
        tab.run("document.getElementById('tab-table-0').click()")
        tab.run("scrollTo(0, document.getElementById('table-0-panel').offsetTop - 16)")
        shoot_tab(tab, "", png, whole=False)


if __name__ == "__main__":
    take(Path(sys.argv[1]), Path(sys.argv[2]))
