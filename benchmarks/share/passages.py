"""`fedsynth records pages`: writes the passages of Markdown pages anew that are made from records.

Such a passage begins with a comment, which a reader does not see, and ends at the next empty line:

    <!-- records of results/unseen: compare ditto fedavg -->
    ditto is better than fedavg ...

The comment names the folder with the records, relative to the page, and a statement (statements.py) with its arguments. Without
`of FOLDER` the records are those beside the page. A number anywhere else on such a page was written by hand: `by_hand` finds it.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from fedsynth.runtime.atomic import write_atomically

from ..records.finished import finished_runs
from ..records.record import RecordError
from ..records.store import Store
from ..records.text_table import how_many
from ..tables.table import Table, tables
from .statements import STATEMENTS, StatementError

PASSAGE = re.compile(r"^(?P<mark><!-- records(?: of (?P<folder>\S+))?: (?P<words>.+) -->\n)(?:.+(?:\n|\Z))*", re.M)
NO_PROSE = re.compile(r"^```.*?^```|<!--.*?-->|`[^`\n]*`|\]\([^)]*\)", re.S | re.M)  # code, comments, targets of links
WORDS = (
    "two three four five six seven eight nine ten eleven twelve twenty hundred thousand half third quarter twice double"
)
NUMBER = re.compile(rf"(?<![A-Za-z\d])[-+]?\d[\d.,]*\d|(?<![A-Za-z\d])\d|\b(?:{'|'.join(WORDS.split())})\b", re.I)


def main(pages: Sequence[Path]) -> int:
    """Write the pages; 2 if a page cannot be read, or a passage cannot be made."""
    for page in pages:
        try:
            before = page.read_text()
            after = rewritten(before, page.parent)
        except (OSError, RecordError, StatementError) as error:
            print(f"fedsynth: {page}: {error}", file=sys.stderr)
            return 2
        if after != before:
            write_atomically(page, after.encode())
        passages = how_many(len([*PASSAGE.finditer(after)]), "passage")
        print(f"{page}: {passages}, {'written' if after != before else 'none changed'}")
    return 0


def rewritten(text: str, folder: Path) -> str:
    """A page that lies in `folder` with each passage as its records have it now.

    Raises StatementError for a statement that is unknown, or that cannot be made of the records; RecordError.
    """
    tables_in = cache(published_tables)

    def anew(passage: re.Match[str]) -> str:
        name, *arguments = shlex.split(passage["words"])
        if name not in STATEMENTS:
            raise StatementError(f"no statement {name!r}; there are {', '.join(STATEMENTS)}")
        found = tables_in((folder / (passage["folder"] or ".")).resolve())
        return passage["mark"] + "".join(f"{line}\n" for line in STATEMENTS[name](found, *arguments))

    return PASSAGE.sub(anew, text)


def published_tables(folder: Path) -> tuple[Table, ...]:
    """The tables of the records in a folder."""
    found = tables(finished_runs(Store(folder)))
    if not found:
        raise StatementError(f"{folder} has no finished run")
    return tuple(found)


def by_hand(text: str) -> Iterator[str]:
    """The numbers of a page that no passage has, each with its line. Code and the targets of links are not looked at, and neither
    are names such as T1."""
    blank = PASSAGE.sub(lambda passage: "\n" * passage[0].count("\n"), text)
    blank = NO_PROSE.sub(lambda part: "\n" * part[0].count("\n"), blank)
    for number, line in enumerate(blank.splitlines(), 1):
        yield from (f"line {number}: {found[0]}" for found in NUMBER.finditer(line))
