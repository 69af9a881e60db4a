"""Tables as pages: every cell is there, text is escaped, HTML looks as the report does, and Markdown fits a page of GitHub."""

from __future__ import annotations

from html import escape
from html.parser import HTMLParser
from pathlib import Path

from support.browser import browser
from support.source import ROOT

from fedsynth.benchmarks.leaderboard.html import STYLE, to_html
from fedsynth.benchmarks.tables.views.view import Column, TableView


class Cells(HTMLParser):
    """The tags of a piece of HTML and the text of its cells, a list a row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag != "meta":
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def test_cells_and_marks() -> None:
    odd = "<script>x</script> & {}"
    names = Column("method", (odd, "b", "c"))
    scores = Column("PSNR", (20.004, None, 19.0), 2, better=1)
    text = to_html([TableView(f"title {odd}", "selected", (names, scores), (f"note {odd}",), (f"caption {odd}",))])
    found = Cells(text)
    assert found.rows == [["method", "PSNR"], [odd, "20.00"], ["b", "-"], ["c", "19.00"]]
    assert "script" not in found.tags
    assert '<td class="number best">20.00</td>' in text
    assert '<td class="number second">19.00</td>' in text
    assert STYLE.read_text() in text
    assert text.count("&lt;script&gt;") == 4


def test_arrows_signs_and_code_are_as_they_are_printed() -> None:
    names = Column("method", ("fedavg", "look-up table"))
    scores = Column("ixi T1->T2", (20.0, 19.0), 2)
    signs = Column("against", ("o+", "-o"), heading=("  1", "120"), of_one_width=True)
    facts = ("Sites: ixi T1->T2.",)
    text = to_html([TableView("title", "selected", (names, scores, signs), (), ("+- of `local`",), facts=facts)])
    assert '<th scope="col" class="number">ixi T1→T2</th>' in text
    assert "<li>± of <code>local</code></li>" in text
    assert "<details><summary>How these numbers were made</summary><ul" in text
    assert "Sites: ixi T1→T2." in text
    assert "<code>&nbsp;&nbsp;1</code><br><code>120</code>" in text  # each number above its sign
    assert '<tr class=line><th scope="row" class="head">look-up table</th>' in text
    assert '<tr><th scope="row" class="head">fedavg</th>' in text
    assert "<code>-o</code>" in text


# The published tables on GitHub


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
