"""What is wrong with a command, in words: the option, the value that was found, and the nearest names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

from hydra.errors import MissingConfigException, OverrideParseException

PUBLISHED = "of_"  # network=of_<method> is the network that the method was published with


class OptionError(ValueError):
    """An option that does not exist, or a value that it cannot have."""


def explain(error: Exception) -> str:
    """What an override got wrong, with the nearest names, from Hydra's or OmegaConf's error."""
    cause = error.__cause__ or error.__context__ or error
    if isinstance(error, OverrideParseException):
        return f"cannot read {error.override!r}; a text with special characters needs quotes of its own: 'key=[\"T1->T2\"]'"
    if isinstance(error, MissingConfigException) and error.options:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        choices = [option for option in error.options if not option.startswith(PUBLISHED)]
        return f"no {group} {choice!r}; {spelling_hint(choice, choices, 'there are')}"
    if found := re.search(r"Key '(.*?)' not in '(.*?)'", str(cause)):
        parent = getattr(cause, "parent_node", None)
        key, owner = getattr(cause, "full_key", found[1]), "a run" if found[2] == "Schema" else found[2]
        keys = [str(key) for key in parent or ()]
        file = re.match("In '(.*?)'", str(error))
        by = f", which {file[1]} sets" if file else ""
        return f"{key}{by}: {owner} has no option {found[1]!r}{'; ' if keys else ''}{spelling_hint(found[1], keys, 'it has')}"
    if "is not in struct" in str(cause):
        key = getattr(cause, "full_key", "")
        return f"{key}: there is no such entry; to add it, write +{key}=..."
    lines = [line.strip() for line in f"{error}\n{cause}".splitlines() if line.strip()]
    return "\n  ".join(dict.fromkeys(line for line in lines if not re.match("(object|reference)_type=", line)))


def spelling_hint(text: str, choices: Iterable[str], else_all: str) -> str:
    """The choices that are spelt like the text, or all of them."""
    choices = list(choices)
    near = get_close_matches(text, choices, cutoff=0.5)
    return f"the nearest: {', '.join(near)}" if near else f"{else_all}: {', '.join(choices)}" if choices else ""
