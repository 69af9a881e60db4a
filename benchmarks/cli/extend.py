"""The verbs for what there is and for what you add."""

from __future__ import annotations

from .arguments import flag, words
from .completion import choice_names, plural_groups
from .verb import Verb

LIST = Verb(
    "list",
    "contract.list",
    "show the choices that there are, or the options of one",
    [
        words(
            "names",
            "[NAME]...",
            "methods, networks, datasets, scenarios, experiments, optimizers, schedules, metrics: those of one kind (default:"
            " all); any of their names: its options.",
            plural_groups,
            choice_names("method", "network", "dataset", "scenario", "experiment", "optimizer", "schedule", "metric"),
        )
    ],
    examples=["fedsynth list methods", "fedsynth list fedprox resnet common"],
)
CHECK = Verb(
    "check",
    "contract.check",
    "see whether a method keeps the contract, within a minute",
    [
        words("methods", "[METHOD]...", "Names of methods.", choice_names("method")),
        flag(["--all"], "Every registered method."),
    ],
    examples=["fedsynth check fedbn", "fedsynth check --all"],
)
