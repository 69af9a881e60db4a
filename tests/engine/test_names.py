"""What a name may be: what people call hospitals, subjects and contrasts, and nothing that a reader would take for code."""

from __future__ import annotations

import numpy as np
import pytest

from fedsynth.federation import FederationError, Site, Subject
from fedsynth.federation.names import LONGEST, name_fault, storable, text_fault, visible


@pytest.mark.parametrize(
    "name",
    [
        "ixi",
        "Hôpital Sainte-Anne 2",
        "東京大学",
        "T1->T2",
        "T1+T2->PD",
        "sub-01_ses-1.2",
        "Guy's (3 T)",
        "#1",
        "50%",
        "a=b",
    ],
)
def test_what_people_call_things_is_a_name(name: str) -> None:
    assert name_fault(name) == ""


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "is empty"),
        ("..", "means a folder"),
        ("a/b", "has a '/'"),
        ("a\\b", r"has a '\\'"),
        ("a" * 65, f"has 65 characters, and a name at most {LONGEST}"),
        ("=1+1", "begins with '='"),
        ("+1+1", "begins with '+'"),
        ("-a", "begins with '-'"),
        ("@a", "begins with '@'"),
        ("<b>", "has a '<'"),
        ("a|b", "has a '|'"),
        ("a`b", "has a '`'"),
        ("$x_{$", "has a '$'"),
        ("[a](http://b)", "has a '/'"),
        ("[a](javascript:b)", "has a ']('"),
        ("a\nb", r"has the unprintable character '\n'"),
        ("a\x1b[2J", r"has the unprintable character '\x1b'"),
        ("a\u202eb", r"has the unprintable character '\u202e'"),
        ("a\u200bb", r"has the unprintable character '\u200b'"),
        ("a\ud800", r"has the unprintable character '\ud800'"),
        (" a", "begins or ends with a blank"),
    ],
)
def test_what_a_reader_would_take_for_code_is_none(name: str, reason: str) -> None:
    assert name_fault(name) == reason
    images = np.zeros((1, 1, 16, 16), np.float16)
    for parts in ((name, "T1", "a"), ("site", name, "a"), ("site", "T1", name)):
        with pytest.raises(FederationError, match="give it another name"):
            Site(parts[0], (parts[1],), images, images[:, 0] > -1, (Subject(parts[2], "train", slice(0, 1)),))


def test_a_text_may_be_long_empty_a_path_or_a_number() -> None:
    assert [text_fault(text) for text in ("", "a" * 500, "https://doi.org/10/a", "-inf", "-1.5")] == [""] * 5


def test_a_message_shows_what_a_terminal_would_obey() -> None:
    assert visible("a\x1b[2Jé\u202e\udcff\n") == r"a\x1b[2Jé\u202e\udcff\n"


@pytest.mark.parametrize(
    "text",
    [
        "eager, as it cannot be captured: RuntimeError: `f` of <lambda> | [see](there) for $x\nCUDA kernel errors may follow",
        "Chip(R) CPU @ 2.20GHz   ",
        "- 2 GHz\x1b[2J",
        "",
    ],
)
def test_what_others_wrote_is_stored_without_what_no_record_may_hold(text: str) -> None:
    assert text_fault(text) or not text
    assert text_fault(storable(text)) == ""


def test_of_what_others_wrote_the_first_line_is_stored() -> None:
    assert storable("- 2 GHz\x1b[2J `x`\nand more") == "2 GHz[2J x"


def test_a_plain_text_is_stored_as_it_is() -> None:
    assert storable("compiled; but eagerly: generator has hooks") == "compiled; but eagerly: generator has hooks"
