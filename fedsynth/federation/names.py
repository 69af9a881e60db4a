"""What a name may be: of a site, a subject, a contrast, a scenario, a method, an option.

Names come from folders, tables, files of options and the records of strangers. They go into the names of files, CSV, Markdown,
HTML, LaTeX, figures and terminals. What would be a formula, a tag, a link, a path or an escape sequence there is refused where a
name enters, so that no writer has to think of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from .task import FederationError

LONGEST = 64  # characters: a UID of DICOM has as many, and names of files are made of names
MARKUP = ("<", "|", "`", "$", "](")  # of HTML, of tables, of code, of formulas in figures and in LaTeX, of links
FORMULAS = ("=", "+", "-", "@")  # a spreadsheet computes a cell that begins so


def check_names(kind: str, names: Iterable[str]) -> None:
    """Raises FederationError for the first that cannot be a name; `kind` says what it is the name of."""
    for name in names:
        if fault := name_fault(name):
            raise FederationError(f"{kind} {name[:80]!r} {fault}; give it another name")


def name_fault(name: str) -> str:
    """Why this cannot be a name; empty if it can.

    Example:
        >>> name_fault("Hôpital Sainte-Anne 2"), name_fault("=cmd"), name_fault("a/b")
        ('', "begins with '='", "has a '/'")
    """
    if name in ("", ".", ".."):
        return "is empty" if not name else "means a folder"
    if len(name) > LONGEST:
        return f"has {len(name)} characters, and a name at most {LONGEST}"
    return next((f"has a {sign!r}" for sign in "/\\" if sign in name), "") or text_fault(name)


@lru_cache(maxsize=10_000)  # thousands of records have the same texts
def text_fault(text: str) -> str:
    """Why this cannot stand in a record, which may hold texts that are longer than a name and have slashes; empty if it can."""
    if bad := next((sign for sign in MARKUP if sign in text), ""):
        return f"has a {bad!r}"
    if bad := next((sign for sign in text if not sign.isprintable()), ""):
        return f"has the unprintable character {bad!a}"
    if text.startswith(FORMULAS) and not _is_number(text):
        return f"begins with {text[0]!r}"
    return "begins or ends with a blank" if text != text.strip() else ""


def _is_number(text: str) -> bool:
    """Whether it is a number as text, such as -inf, which JSON cannot hold otherwise."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def visible(text: str) -> str:
    """The text with its unprintable characters spelt out, for a message about it: a terminal would obey them."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def storable(text: str) -> str:
    """The first line of a text that others wrote, such as torch or a processor, as a record may hold it.

    Example:
        >>> storable("RuntimeError: no `lambda` <here>\\nand there")
        'RuntimeError: no lambda here'
    """
    first = text.partition("\n")[0].replace("](", "] (")
    kept = "".join(sign for sign in first if sign.isprintable() and sign not in MARKUP)
    return " ".join(kept.split()).lstrip("".join(FORMULAS) + " ")
