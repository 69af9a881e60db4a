"""What the options of a class are: name, type, default and meaning, as its fields, comments and docstrings say."""

from __future__ import annotations

import inspect
import io
import json
import re
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin, get_type_hints

from .sources import sentences


class Option(NamedTuple):
    """An option as it is shown; the default is empty where a value must be given."""

    name: str
    type: str
    default: str
    meaning: str


def options(cls: type, values: Mapping[str, Any] | None = None) -> Iterator[Option]:
    """The options of a dataclass, its own before those of its parents, with `values` in place of the defaults.

    A field that is itself a dataclass is shown as its options, named `FIELD.NAME`.
    """
    hints = get_type_hints(cls)
    for option in sorted(fields(cls), key=lambda option: owner(cls, option.name) is not cls):
        value = (values or {}).get(option.name, _default(option))
        if isinstance(kind := hints[option.name], type) and is_dataclass(kind):
            inner = value if isinstance(value, Mapping) else vars(value)
            for part in options(kind, inner):
                yield part._replace(name=f"{option.name}.{part.name}")
        else:
            yield Option(option.name, _typed(kind), as_typed(value), meaning(cls, option.name))


def as_typed(value: Any) -> str:
    """A value as it is typed on a command line."""
    if value is MISSING:
        return ""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, str):
        return value or "''"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(as_typed, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {as_typed(item)}" for key, item in value.items()) + "}"
    return f"{value:.6g}" if isinstance(value, float) else json.dumps(value)


def meaning(cls: type, name: str) -> str:
    """What an option is for: the comment at its field, or what a docstring says of it: its class's, a child's, its type's."""
    if comment := _comments(owner(cls, name)).get(name):
        return comment
    if argument := _arguments(owner(cls, name)).get(name):
        return argument
    told = [sentence for parent in cls.__mro__ for sentence in sentences(docstring(parent))]
    about = [re.sub(rf"^`{name}`(:| is)? ", "", sentence) for sentence in told if sentence.startswith(f"`{name}`")]
    kind = get_type_hints(cls)[name]
    about += sentences(docstring(kind))[:1] if isinstance(kind, type) and issubclass(kind, Enum) else []
    # Not from a list of many.
    about += [sentence for sentence in told if f"`{name}`" in sentence and sentence.count("`") <= 4]
    return about[0] if about else ""


def owner(cls: type, name: str) -> type:
    """The class of the hierarchy that declares a field."""
    return next(parent for parent in cls.__mro__ if name in inspect.get_annotations(parent))


def docstring(cls: type) -> str:
    """What the docstring of a class tells somebody who chooses it: without the sections for somebody who calls it. Empty for the
    signature that dataclasses write where there is no docstring."""
    text = inspect.cleandoc(vars(cls).get("__doc__") or "")
    told = re.split(r"^(?:Args|Attributes|Examples?|Raises|Returns):$", text, maxsplit=1, flags=re.MULTILINE)[0]
    return "" if text.startswith(f"{cls.__name__}(") else told


@cache
def _arguments(cls: type) -> dict[str, str]:
    """Field -> what the section `Args:` of the class's docstring says of it."""
    _, _, after = inspect.cleandoc(vars(cls).get("__doc__") or "").partition("\nArgs:\n")
    section = re.split(r"^(?=\S)", after, maxsplit=1, flags=re.MULTILINE)[0]
    return {
        name: " ".join(text.split())
        for name, text in re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", section, re.MULTILINE)
    }


@cache
def _comments(cls: type) -> dict[str, str]:
    """Field -> the comment in its lines."""
    try:
        source = inspect.cleandoc("\n" + inspect.getsource(cls))
    except OSError:  # made in a session, without a file
        return {}
    found: dict[str, str] = {}
    name = ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME and token.start[1] == 4 and re.match(rf" {{4}}{token.string}\s*:", token.line):
            name = token.string
        elif token.type == tokenize.COMMENT and name:
            found[name] = f"{found.get(name, '')} {token.string.lstrip('# ')}".strip()
        elif token.type == tokenize.NEWLINE:
            name = ""
    return found


def _default(option: Field[Any]) -> Any:
    return option.default if option.default_factory is MISSING else option.default_factory()


def _typed(kind: Any) -> str:
    """A type in the words of a command line: an enumeration is its choices."""
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "|".join(each.name for each in kind)
    if kind is NoneType:
        return "null"
    if get_origin(kind) in (Union, UnionType):
        return "|".join(map(_typed, get_args(kind)))
    if inner := get_args(kind):
        return f"{get_origin(kind).__name__}[{', '.join(map(_typed, inner))}]"
    return getattr(kind, "__name__", str(kind))
