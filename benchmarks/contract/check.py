"""`fedsynth check`: the contract's rules, tried on a method in seconds on a CPU, each with what it is for."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch
from click import UsageError

from fedsynth.registry import METHODS

from .rules import RULES
from .toy import ToyFederation


def check(name: str) -> list[tuple[str, str, list[str]]]:
    """(rule, purpose, what is wrong) for every rule, on the method's published network with its default options."""
    cls = METHODS[name]
    toy = ToyFederation.of(cls)
    results = []
    raised: dict[str, str] = {}  # an error that ended a run -> the first rule that met it
    for title, purpose, function in RULES:
        try:
            wrong = list(function(toy))
        except Exception as error:  # a broken plugin may raise anything: that is a finding, not our failure
            text = f"{type(error).__name__}: {error}"
            met = raised.setdefault(text, title)
            wrong = [text if met == title else f"the error of {met!r} ends its run too"]
        results.append((title, purpose, wrong))
    return results


def main(methods: Sequence[str], all: bool) -> int:
    """Check the named methods, or all; returns 1 if a rule is broken."""
    if bool(methods) == all:
        raise UsageError("name at least one method, or --all")
    torch.set_num_threads(1)
    failed = 0
    for name in METHODS.entries() if all else methods:
        print(name)
        for title, purpose, wrong in check(name):
            print(f"  {'broken' if wrong else 'ok':8}{title}" + (f", so that {purpose}" if wrong else ""))
            for text in wrong:
                print(f"          {text}")
            failed += bool(wrong)
    if failed:
        print(f"{failed} rule{'s' * (failed > 1)} broken", file=sys.stderr)
    return int(failed > 0)
