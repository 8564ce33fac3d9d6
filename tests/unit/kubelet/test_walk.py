"""A walk through a JSON text comes upon what json.loads returns, and takes nothing else for JSON."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qatdp.kubelet.walk import Walk

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda of: st.lists(of, max_size=3) | st.dictionaries(st.text(), of, max_size=3),
    max_leaves=8,
)
INDENTS = st.sampled_from([None, 0, 2])


def members(text: str) -> dict[str, object]:
    walk = Walk(text)
    found = {key: walk.value() for key in walk.members()}
    walk.end()
    return found


def elements(text: str) -> list[object]:
    walk = Walk(text)
    found = list(walk.elements())
    walk.end()
    return found


@given(st.dictionaries(st.text(), VALUES, max_size=4), INDENTS)
def test_members_are_those_of_json(document: dict[str, Any], indent: int | None) -> None:
    assert members(f" {json.dumps(document, indent=indent)}\n") == document


@given(st.lists(VALUES, max_size=4), INDENTS)
def test_elements_are_those_of_json(document: list[Any], indent: int | None) -> None:
    assert elements(f" {json.dumps(document, indent=indent)}\n") == document


@given(st.text(st.sampled_from('{}[]:,"a1 \n'), max_size=12))
def test_walk_takes_no_more_for_json_than_json_does(text: str) -> None:
    for walk, kind in ((members, dict), (elements, list)):
        try:
            right = json.loads(text)
        except ValueError:
            right = None
        if isinstance(right, kind):
            assert walk(text) == right
        else:
            with pytest.raises(ValueError, match=r"\w"):
                walk(text)
