"""What holds for every test of a method."""

from __future__ import annotations

from collections.abc import Hashable

import pytest

from fedsynth.step import Step


@pytest.fixture(autouse=True)
def _uncounted(monkeypatch: pytest.MonkeyPatch) -> None:
    """No step is run a second time to count its operations: it is undone in any case, and costs a third of a short run."""

    def nothing(self: Step, kind: Hashable, *_: object) -> None:
        self._flops[kind], self._roles[kind] = 0, []  # private: where `count` notes what it found

    monkeypatch.setattr(Step, "count", nothing)
