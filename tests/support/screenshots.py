"""`make screenshots`: every tab of a store's report, leaderboard.html and the figures, on a desk and on a phone, light and dark.

`python tests/support/screenshots.py RESULTS OUT` writes OUT/NAME-WIDTH-THEME.png. Look at them after a change of the page or of a
figure: tests find what overflows, and not what is ugly.
"""

from __future__ import annotations

import sys
import tempfile
from html import escape
from pathlib import Path

if __name__ == "__main__":  # as a script, it has only its own folder on the path
    sys.path.insert(0, str(Path(__file__).parents[1]))

from support.browser import Browser, browser

from fedsynth.benchmarks.cli import main

WIDTHS, THEMES = (1400, 390), ("light", "dark")
FIGURES = '<!doctype html><meta name="viewport" content="width=device-width"><body style="margin:8px;color-scheme:light dark">{}'
FIGURE = '<p>{}</p><img src="{}" style="max-width:100%">'


def shoot(results: Path, out: Path) -> None:
    """All pictures of a store."""
    out.mkdir(parents=True, exist_ok=True)
    pages = {"report": out / "index.html", "leaderboard": out / "leaderboard.html", "figures": out / "figures.html"}
    where = ["--results", str(results), "--out"]
    main(["report", *where, str(out)])
    main(["leaderboard", *where, str(out)])
    main(["figures", "--format", "svg", *where, str(out / "figures")])
    figures = sorted((out / "figures").glob("*.svg"))
    shown = (FIGURE.format(escape(path.stem), f"figures/{path.name}") for path in figures)
    pages["figures"].write_text(FIGURES.format("".join(shown)), "utf-8")
    with tempfile.TemporaryDirectory() as profile, browser(Path(profile)) as tab:
        for width in WIDTHS:
            for theme in THEMES:
                for name, page in pages.items():
                    tab.open(page, width, 900, dark=theme == "dark")
                    for part in tab.run(
                        "[...document.querySelectorAll('[role=tab]')].map((one) => one.id.slice(4))"
                    ) or [""]:
                        shoot_tab(tab, part, out / f"{part or name}-{width}-{theme}.png")


def shoot_tab(tab: Browser, name: str, path: Path) -> None:
    """A tab of the report, or the whole page, once its pictures are decoded and its charts drawn."""
    if name:
        tab.run(f"document.getElementById('tab-{name}').click()")
    tab.run("new Promise((done) => setTimeout(done, 400))")
    tab.screenshot(path)


if __name__ == "__main__":
    shoot(Path(sys.argv[1]), Path(sys.argv[2]))
