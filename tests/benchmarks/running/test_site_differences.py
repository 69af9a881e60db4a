"""How much sites differ is found once for the same data and tasks, and not by every run of a sweep."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.federations import federation

from fedsynth.benchmarks.running.training.execute import site_differences
from fedsynth.evaluation import heterogeneity


def test_every_slice_is_read_once_for_the_same_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, calls = federation(("ixi", "oasis")), []
    measure = heterogeneity.heterogeneity
    monkeypatch.setattr(heterogeneity, "heterogeneity", lambda of: calls.append(1) or measure(of))
    data = {"ixi": "a", "oasis": "b"}
    first, again = (site_differences(given, data, tmp_path) for _ in range(2))
    assert first == again
    assert len(calls) == 1
    site_differences(given, data | {"ixi": "c"}, tmp_path)
    site_differences(federation(("ixi",)), {"ixi": "a"}, tmp_path)
    assert len(calls) == 3
