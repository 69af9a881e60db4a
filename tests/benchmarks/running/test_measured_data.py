"""What runs record of their data is measured once for the same data and scenario, and not by every run of a sweep."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.federations import federation

from fedsynth.benchmarks.running.training.execute import measured_data
from fedsynth.evaluation import references
from fedsynth.federation.scenario import with_few

TWO: dict[str, Any] = {"data": {"ixi": "a", "oasis": "b"}, "scenario": {"name": "two", "train_subjects": {}}}


def test_every_slice_is_read_once_for_the_same_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, calls = federation(("ixi",)), []
    measure = references.measured_lines
    monkeypatch.setattr(references, "measured_lines", lambda of: calls.append(1) or measure(of))
    first, again = (measured_data(given, TWO, tmp_path) for _ in range(2))
    assert first == again
    assert len(calls) == 1
    measured_data(given, TWO | {"data": {"ixi": "c", "oasis": "b"}}, tmp_path)
    assert len(calls) == 2


def test_a_damaged_measurement_is_made_again(tmp_path: Path) -> None:
    """A file that was cut failed the run, after its whole training; a changed digit went into the record."""
    first = measured_data(federation(("ixi",)), TWO, tmp_path)
    (path,) = tmp_path.glob("measured-*.json")
    whole = path.read_bytes()
    for damaged in (whole[:40], b"", whole.replace(b"copy_source", b"copy_sourde", 1), b"[]"):
        path.write_bytes(damaged)
        assert measured_data(federation(("ixi",)), TWO, tmp_path) == first
        assert path.read_bytes() == whole


def test_the_floors_of_fewer_training_subjects_are_their_own(tmp_path: Path) -> None:
    """They were those of whichever run came first, so that every number of subjects had the same."""
    whole = federation(("ixi",))
    few = replace(whole, sites={"ixi": with_few(whole.sites["ixi"], 1)})
    scarce = TWO | {"scenario": {"name": "two", "train_subjects": {"ixi": 1}}}
    found = [measured_data(whole, TWO, tmp_path), measured_data(few, scarce, tmp_path)]
    assert found[0]["heterogeneity"][0]["own_table"] != found[1]["heterogeneity"][0]["own_table"]
    assert found[0]["heterogeneity"][0]["copy_source"] == found[1]["heterogeneity"][0]["copy_source"]
