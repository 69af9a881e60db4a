"""`make screenshots`: every tab of a store's report and leaderboard.html, on a desk and on a phone, light and dark; every figure.

`python tests/support/screenshots.py RESULTS OUT` writes OUT/NAME-WIDTH-THEME.png, and the figures as wide as two columns and one
column of a journal, which are white on every screen. Look at them after a change of the page or of a figure: tests find what
overflows, and not what is ugly. `make picture` is `python tests/support/screenshots.py RESULTS PNG`: the first table of the page.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import redirect_stdout
from io import StringIO
from itertools import product
from pathlib import Path

from tqdm import tqdm

if __name__ == "__main__":  # as a script, it has only its own folder on the path
    sys.path.insert(0, str(Path(__file__).parents[1]))

from support.browser import Browser, browser

from fedsynth.benchmarks.cli import main

WIDTHS, THEMES = (1400, 390), ("light", "dark")
PICTURE = (1280, 1200)  # of docs/images/report.png: its width and height
COLUMNS = (2, 1)


def shoot(results: Path, out: Path) -> None:
    """All pictures of a store."""
    out.mkdir(parents=True, exist_ok=True)
    where = ["--results", str(results), "--out"]
    main(["report", *where, str(out)])
    with redirect_stdout(StringIO()):  # the tables as text
        main(["leaderboard", *where, str(out)])
    shoot_pages([out / "index.html", out / "leaderboard.html"], out)
    for columns in COLUMNS:
        main(["figures", "--format", "png", "--columns", str(columns), *where, str(out / f"figures-{columns}-columns")])


def shoot_pages(pages: list[Path], out: Path) -> None:
    """Every tab of these pages in every width and theme."""
    with tempfile.TemporaryDirectory() as profile, browser(Path(profile)) as tab:
        names = {}
        for page in pages:
            tab.open(page)
            names[page] = tab.run("[...document.querySelectorAll('[role=tab]')].map((one) => one.id.slice(4))")
        views = list(product(WIDTHS, THEMES))
        count = len(views) * sum(max(1, len(own)) for own in names.values())
        with tqdm(total=count, unit="picture") as progress:
            for page, (width, theme) in product(pages, views):
                tab.open(page, width, 900, dark=theme == "dark")
                for name in names[page] or [""]:
                    shoot_tab(tab, name, out / f"{name or page.stem}-{width}-{theme}.png")
                    progress.update()


def shoot_tab(tab: Browser, name: str, path: Path, whole: bool = True) -> None:
    """A tab of the report, or the page as it is, once its pictures are decoded and its charts drawn."""
    if name:
        tab.run(f"document.getElementById('tab-{name}').click()")
    tab.run("new Promise((done) => setTimeout(done, 300))")
    tab.screenshot(path, whole)


def take(results: Path, png: Path) -> None:
    """The tab of the first table, from its title on."""
    with tempfile.TemporaryDirectory() as folder, browser(Path(folder) / "profile") as tab:
        main(["report", "--results", str(results), "--out", folder])
        tab.open(Path(folder) / "index.html", *PICTURE)
        tab.run("document.getElementById('tab-table-0').click()")
        tab.run("scrollTo(0, document.getElementById('table-0-panel').offsetTop - 16)")
        shoot_tab(tab, "", png, whole=False)


if __name__ == "__main__":
    where = Path(sys.argv[2])
    (take if where.suffix == ".png" else shoot)(Path(sys.argv[1]), where)
