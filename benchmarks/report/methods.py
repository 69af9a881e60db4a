"""What the page says of a method: its papers, its entry in the catalogue and its code, read from its source without an import."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ..contract.sources import choices

PAPER = re.compile(r"https://(?:doi\.org/10\.\d{4,}/[^\s<>\"]+|arxiv\.org/abs/\d{4}\.\d{4,5})(?<![.,;)])")


def methods_block(names: Iterable[str]) -> dict[str, Any]:
    """The methods of these names that are installed."""
    known = {choice.name: choice for choice in choices("method")[0]}
    return {
        name: {
            "summary": choice.summary,
            "papers": list(dict.fromkeys(PAPER.findall(choice.documentation))),
            "entry": [
                part if part.startswith(" ") else " ".join(part.split())
                for part in choice.documentation.removeprefix(choice.summary).strip("\n").split("\n\n")
                if not part.startswith("Paper")
            ],
            "file": f"{choice.file.parent.name}/{choice.file.name}",
            "code": choice.file.read_text("utf-8"),
        }
        for name in names
        if (choice := known.get(name)) and choice.file
    }
