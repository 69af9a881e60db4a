"""The examples in the docstrings of what a plug-in sees run as they are printed, and none of them is missing."""

from __future__ import annotations

import doctest
import tempfile
from importlib import import_module
from pathlib import Path

import pytest

HAVE_EXAMPLES = {
    "federation.task": ("Task",),
    "federation.site": ("Subject", "Site", "Dataset"),
    "federation.federation": ("Federation",),
    "federation.scenario": ("Scenario",),
    "exchange.messages": ("Message", "Memory"),
    "exchange.places": ("Place",),
    "exchange.plan": ("Plan",),
    "feed": ("Batch",),
    "runtime.options": ("TrainerOptions",),
    "site.site": ("SiteState",),
    "server.server": ("Server",),
    "networks.blocks": ("Norm",),
    "networks.network": ("Role", "Stage", "Generator", "Network"),
    "method": ("Blueprint", "Method"),
    "trainer.trainer": ("Trainer",),
    "registry": ("Registry",),
    "datasets.phantom.dataset": ("Phantom",),
}
EXAMPLES = [f"fedsynth.{module}:{name}" for module, names in HAVE_EXAMPLES.items() for name in names]


@pytest.mark.parametrize("where", EXAMPLES)
def test_the_example_runs(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    module, _, name = where.partition(":")
    known = vars(import_module(module))
    finder = doctest.DocTestFinder(recurse=False)
    [example] = finder.find(known[name], where, globs=dict(known))
    assert example.examples, f"{where} has no example"
    said: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=said.append)
    assert not said, "".join(said)
