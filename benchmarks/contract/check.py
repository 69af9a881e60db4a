"""`fedsynth check`: the contract's rules, tried on a method within about a minute on a CPU, each with what it is for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NamedTuple

import torch
from click import UsageError

from fedsynth.registry import METHODS

from ..records.text_table import how_many
from .crossings import CROSSINGS, Refused
from .rules import RULES, Rule
from .toy import ToyFederation


class Verdict(NamedTuple):
    """A rule, what it is for, what is wrong, and why it was refused to try it, if it was."""

    title: str
    purpose: str
    wrong: list[str]
    refusal: str = ""


def check(name: str, rules: Sequence[tuple[str, str, Rule]] = (*RULES, *CROSSINGS)) -> list[Verdict]:
    """A verdict for each rule, on the method's published network with its default options."""
    cls = METHODS[name]
    toy = ToyFederation.of(cls)
    results = []
    raised: dict[str, str] = {}  # an error that ended a run -> the first rule that met it
    for title, purpose, function in rules:
        wrong: list[str] = []
        refusal = ""
        try:
            wrong = list(function(toy))
        except Refused as refused:
            refusal = str(refused)
        except Exception as error:  # a broken plugin may raise anything: that is a finding, not our failure
            text = f"{type(error).__name__}: {error}"
            met = raised.setdefault(text, title)
            wrong = [text if met == title else f"the error of {met!r} ends its run too"]
        results.append(Verdict(title, purpose, wrong, refusal))
    return results


def main(methods: Sequence[str], all: bool) -> int:
    """Check the named methods, or all; returns 1 if a rule is broken."""
    if bool(methods) == all:
        raise UsageError("name at least one method, or --all")
    torch.set_num_threads(1)
    failed = 0
    # Each name is known before one is tried.
    chosen = {name: METHODS[name] for name in (METHODS.entries() if all else methods)}
    for name in chosen:
        print(name)
        for title, purpose, wrong, refusal in check(name):
            said = "broken" if wrong else "refused" if refusal else "ok"
            print(f"  {said:8}{title}" + (f", so that {purpose}" if wrong else f": {refusal}" if refusal else ""))
            for text in wrong:
                print(f"          {text}")
            failed += bool(wrong)
    if failed:
        print(f"{how_many(failed, 'rule')} broken", file=sys.stderr)
    return int(failed > 0)
