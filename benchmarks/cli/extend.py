"""The verbs for what there is and for what you add."""

from __future__ import annotations

from .arguments import flag, words
from .verb import Verb

LIST = Verb(
    "list",
    "config.list",
    "the methods, networks, data sets, scenarios and experiments there are",
    [words("kinds", "[KIND]...", "methods, networks, datasets, scenarios, experiments (default: all).")],
    examples=["fedsynth list methods"],
)
CHECK = Verb(
    "check",
    "contract.check",
    "does a method keep the contract? seconds on a CPU",
    [words("methods", "[METHOD]...", "Names of methods."), flag(["--all"], "Every registered method.")],
    examples=["fedsynth check fedbn", "fedsynth check --all"],
)
