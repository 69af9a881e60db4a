"""The report's page, taken apart."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

from fedsynth.benchmarks.records.finished import FinishedRun, finished_runs
from fedsynth.benchmarks.records.store import Store
from fedsynth.benchmarks.report.report import report_page


class Page(HTMLParser):
    """The parts of a page: its tags and addresses, its data blocks by name, its script and its plain text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.blocks: dict[str, Any] = {}
        self.script, self.text, self.policy = "", "", ""
        self._open, self._block = list[str](), ""
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        facts = dict(attrs)
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]
        if tag == "meta" and facts.get("http-equiv") == "Content-Security-Policy":
            self.policy = facts["content"] or ""
        if tag != "meta":
            self._open.append(tag)
        self._block = (facts.get("id") or "").removeprefix("data-") if tag == "script" else ""

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        self._block = ""

    def handle_data(self, data: str) -> None:
        if self._block:
            self.blocks[self._block] = json.loads(data)
        elif self._open and self._open[-1] == "script":
            self.script += data
        elif "style" not in self._open:
            self.text += data


def runs(store: Store) -> list[FinishedRun]:
    return finished_runs(store)


def made(store: Store) -> Page:
    return Page(report_page(store, runs(store)))
