"""Whatever text comes, what is shown of it is of one line, of bounded length, and nothing a terminal obeys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qatdp.core.text import cut, printable, shown

ANY_TEXT = st.text(st.characters())  # surrogates as well: so Python writes bytes that are no UTF-8


@given(ANY_TEXT)
def test_printable_leaves_only_printable_characters(text: str) -> None:
    found = printable(text)
    assert found.isprintable()
    assert found.encode() is not None
    assert found == text or not text.isprintable()


@given(st.text(min_size=101) | st.lists(st.text(), min_size=60) | st.binary(min_size=101))
def test_shown_is_cut_however_long_the_value(value: object) -> None:
    assert len(shown(value)) == 100
    assert shown(value).endswith("...")


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("sym;asym", "sym;asym"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("two\nlines\r", r"two\nlines\r"),
        ("\x9b31m", r"\x9b31m"),
        ("a\u202eb", r"a\u202eb"),
        ("\udcff", r"\udcff"),
        ("größe", "größe"),
    ],
)
def test_printable_escapes_what_a_terminal_obeys(text: str, escaped: str) -> None:
    assert printable(text) == escaped


def test_cut_leaves_what_is_short_enough() -> None:
    assert (cut("x" * 100), cut("x" * 101)) == ("x" * 100, "x" * 97 + "...")
