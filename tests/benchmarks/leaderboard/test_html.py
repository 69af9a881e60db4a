"""Tables as a page of HTML: every cell is there, text is escaped, and the page looks as the report does."""

from __future__ import annotations

from html.parser import HTMLParser

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
