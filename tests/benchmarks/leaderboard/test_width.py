"""The published tables fit the width of a README on GitHub."""

from __future__ import annotations

from html import escape
from pathlib import Path

from support.browser import browser
from support.checkout import ROOT

GITHUB = """body { margin: 0; font: 16px "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; }
main { width: 1012px; }
table { display: block; width: max-content; max-width: 100%; overflow: auto; border-collapse: collapse; }
td, th { padding: 6px 13px; border: 1px solid; }
code { padding: .2em .4em; font: 85% monospace; white-space: break-spaces; }"""


def as_on_github(markdown: str) -> str:
    """The tables of a page, in the style that GitHub shows them in."""
    rows = [line for line in markdown.splitlines() if line.startswith("|") or not line]
    lines = []
    for line, before in zip(rows, ["", *rows], strict=False):
        if line.startswith("| :--") or line.startswith("| --:"):
            continue
        opened = "<table>" if line and not before else "</table>" if before and not line else ""
        tag = "th" if opened == "<table>" else "td"
        cells = "".join(f"<{tag}>{as_cell(cell)}</{tag}>" for cell in line.strip("|").split(" | ")) if line else ""
        lines.append(f"{opened}<tr>{cells}</tr>" if line else opened)
    return f"<!doctype html><meta charset=utf-8><style>{GITHUB}</style><main>{''.join(lines)}</table></main>"


def as_cell(text: str) -> str:
    parts = escape(text.strip()).replace("&lt;br&gt;", "<br>").split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))


def test_no_table_is_wider_than_a_page_of_github(tmp_path: Path) -> None:
    pages = sorted((ROOT / "results").rglob("leaderboard.md"))
    assert pages
    wide = []
    with browser(tmp_path / "profile") as tab:
        for page in pages:
            (tmp_path / "page.html").write_text(as_on_github(page.read_text()))
            tab.open(tmp_path / "page.html", 1100)
            tables = tab.run("[...document.querySelectorAll('table')].map((own) => [own.scrollWidth, own.clientWidth])")
            assert tables
            wide += [f"{page.relative_to(ROOT)}: a table of {needs} pixels" for needs, has in tables if needs > has]
    assert wide == []
