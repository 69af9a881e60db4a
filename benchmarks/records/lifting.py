"""What a run's identity may hold, by schema, and what of it makes the run's name.

An option that came later has the value in LATER that all runs before it had. Older identities get that value when they are read,
and at that value the option is no part of a run's name. So a new option renames no run and parts no table.

To add an option to the trainer, to scenarios, or to the base class of methods, networks, optimisers or schedules: give it a line
in LATER under the next number. An option of a single method needs none: its code is new, and with it the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FIRST = {  # the options of the parts that everybody shares, of schema 1; other parts have the options of what was chosen
    "trainer": frozenset(
        {"rounds", "local_epochs", "local_steps", "batch", "lr", "clip", "server_rule", "corrupt", "common_start"}
        | {"participation", "flip", "zoom", "validate_every", "precision", "deterministic", "threads", "device"}
    ),
    "scenario": frozenset({"name", "sites", "tasks", "adapt", "adapt_steps"}),  # adapt* only with newcomers
    "code": frozenset({"method", "network", "dataset", "optimizer", "schedule"}),
}
RETIRED = {  # options that only identities of schema 1 have
    "trainer": frozenset({"betas", "optimizer", "optimizer_state", "checkpoint_every"}),
    "scenario": frozenset({"spare_sites"}),
}
LATER: dict[int, dict[str, dict[str, Any]]] = {  # schema -> part -> option that came with it -> what runs before it had
    2: {
        "trainer": {"execution": "eager", "serve_training": False},
        "scenario": {
            **{"fail": 0.0, "lose": 0.0, "straggle": 0.0, "joins": {}, "poisoned": [], "asks": {}, "across": False},
            **{"newcomers": {}, "train_subjects": {}, "shift": {}, "normalise": {}, "cohort": None},
        },
    },
    3: {"scenario": {"absent": {}}},
}
NEWEST = max(LATER)  # the schema of the identities that this version writes; those without a number have schema 1
CHOSEN = ("method", "network", "dataset")
PARTS = frozenset({"schema", "seed", "data", "test", "numerics", "optimizer", "schedule", *CHOSEN, *FIRST})
# Data sets whose fingerprints are those of images that lie there: which code reads them, and from where, changes nothing.
STORED = frozenset({"prepared", "layout", "side_by_side"})


class IdentityError(ValueError):
    """An identity that this version cannot read; the message names the key."""


def lifted(identity: Mapping[str, Any]) -> dict[str, Any]:
    """An identity of any schema as today's would be. Raises IdentityError."""
    check_keys(identity)
    found = dict(identity) | {"schema": NEWEST}
    for part in found.keys() & {part for came in LATER.values() for part in came}:
        found[part] = before(part) | found[part]
    found.setdefault("test", found["data"])
    found["dataset"] = told_of_dataset(found["dataset"])
    if found["dataset"]["name"] in STORED:
        found["code"] = {kind: digest for kind, digest in found["code"].items() if kind != "dataset"}
    return found


def check_keys(identity: Mapping[str, Any]) -> None:
    """Raises IdentityError for a newer schema, for a key that no schema knows, and for a part that is missing or no mapping."""
    schema = identity.get("schema", 1)
    if type(schema) is not int or not 1 <= schema <= NEWEST:
        raise IdentityError(
            f"its identity has schema {schema!r}, and this version reads 1 to {NEWEST}; update FedSynth"
        )
    for part in (*CHOSEN, *FIRST):
        if not isinstance(identity.get(part), Mapping):
            raise IdentityError(f"its identity has no options of a {part}")
    if missing := [key for key in ("data", "seed", "numerics") if key not in identity]:
        raise IdentityError(f"its identity has no {missing[0]}")
    if missing := [part for part in CHOSEN if not isinstance(identity[part].get("name"), str)]:
        raise IdentityError(f"its identity has no {missing[0]}.name")
    unknown = sorted(identity.keys() - PARTS)
    for part, first in FIRST.items():
        retired = RETIRED.get(part, frozenset()) if schema == 1 else frozenset()
        unknown += [
            f"{part}.{option}" for option in sorted(identity[part].keys() - first - retired - before(part).keys())
        ]
    if unknown:
        raise IdentityError(f"its identity has {unknown[0]!r}, which no schema up to {NEWEST} knows")


def before(part: str) -> dict[str, Any]:
    """The options of a part that came later, with the values that runs before them had."""
    return {option: value for came in LATER.values() for option, value in came.get(part, {}).items()}


def counted(identity: Mapping[str, Any]) -> dict[str, Any]:
    """What the hash of a run's name covers: all but the number of the schema, the name of the data set, and later options at the
    value that runs before them had. Of schema 1 it is the whole identity."""
    if "schema" not in identity:
        return dict(identity)
    found = {part: value for part, value in identity.items() if part != "schema"}
    for part in found.keys() & {part for came in LATER.values() for part in came}:
        own = before(part)
        found[part] = {name: value for name, value in found[part].items() if name not in own or own[name] != value}
    found["dataset"] = {option: value for option, value in found["dataset"].items() if option != "name"}
    return found


def told_of_dataset(options: Mapping[str, Any]) -> dict[str, Any]:
    """What an identity says of a data set: its name, and where the images are computed its numbers and switches. A fingerprint
    says the rest; no path, and no name of a subject, is a number."""
    own = {} if options["name"] in STORED else options
    return {"name": options["name"]} | {option: value for option, value in own.items() if not _has_text(value)}


def _has_text(value: Any) -> bool:
    if isinstance(value, Mapping):
        return bool(value)
    return any(map(_has_text, value)) if isinstance(value, list | tuple) else isinstance(value, str)
