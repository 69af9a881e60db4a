"""How far a long piece of work is: a bar on a terminal, and elsewhere (nohup, SLURM, a pipe) a line every half a minute."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

SECONDS = 30.0  # from the start to the first line, and from each line to the next
LINE = "{desc}: {n:.4g} of {total:.4g} {unit}s, {remaining} left{postfix}"


class ProgressBar(tqdm):
    """`tqdm` on standard error, which leaves nothing on a terminal; use it in its place, with the same arguments.

    Args:
        by_line: Whether lines take the place of the bar; by default where standard error is no terminal.

    Example:
        >>> for subject in ProgressBar(["ann", "bob"], "reading", unit="subject"):
        ...     pass
    """

    def __init__(self, *given: Any, by_line: bool | None = None, **options: Any) -> None:
        self.by_line = not sys.stderr.isatty() if by_line is None else by_line
        options = {"file": sys.stderr, "leave": False} | options
        if self.by_line:
            options |= {"bar_format": LINE, "mininterval": SECONDS, "maxinterval": SECONDS, "delay": SECONDS}
        super().__init__(*given, **options)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        if self.by_line:
            print(str(self) if msg is None else msg, file=sys.stderr, flush=True)
        else:
            super().display(msg, pos)

    def close(self) -> None:
        self.disable = self.disable or self.by_line  # a bar is wiped out here, and lines stay
        super().close()
