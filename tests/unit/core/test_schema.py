"""The JSON schema and the reader accept the same documents, but for what no schema can say."""

import json
from pathlib import Path
from typing import Any, TypeAlias, cast

import jsonschema
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from support.strategies import documents

from qatdp.core.config.model import parse_config
from qatdp.core.config.schema import config_schema
from qatdp.errors import ConfigError

PUBLISHED = Path(__file__).parents[3] / "docs/config.schema.json"
VALIDATOR = jsonschema.Draft202012Validator(config_schema())

# What a fault is about that the schema cannot see: it looks at one value at a time.
BEYOND_A_SCHEMA = (
    "would share an environment variable",
    "but has other options",
    "no device can do this",
    "percentages add up to",
    "can get nothing",
    "no resource has this name",
    "no node can take it",
)

Json: TypeAlias = bool | int | str | list["Json"] | dict[str, "Json"] | None

# No numbers such as 1.0 (JSON knows one kind of number, so a schema takes it for an integer), and no text that ends in
# a line feed (in a schema `$` is the end of the text, for Python's re it can be before a line feed).
WORDS = ("", "cy", "CY", "generic", "sym", "vfio-pci", "0000:6b:00.0", "4xxx", "local", "QAT_X", "A", "x" * 64, "a b")
KEYS = (
    "version",
    "name",
    "services",
    "pfs",
    "limit",
    "env",
    "vfs",
    "defaultResources",
    "QAT_X",
    "PCIDEVICE_X",
    "A",
    "A B",
    "percent",
    "count",
    "scope",
    "split",
    "next",
    "rollout",
    "percent",
    "when",
    "cordonTimeoutSeconds",
)
JUNK: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2) | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=2),
    max_leaves=4,
)


@st.composite
def changed(draw: st.DrawFn) -> Json:
    """A good document with one value replaced, removed or added at any depth."""
    return _changed(draw, cast(Json, draw(documents())))


def _changed(draw: st.DrawFn, value: Json) -> Json:
    if not isinstance(value, dict | list) or not value or draw(st.integers(0, 5)) == 0:
        return draw(JUNK)
    if isinstance(value, list):
        at = draw(st.integers(0, len(value)))
        return [*value[:at], *([_changed(draw, value[at])] if at < len(value) else [draw(JUNK)]), *value[at + 1 :]]
    key = draw(st.sampled_from(sorted(value)) | st.sampled_from(KEYS))
    if key not in value:
        return {**value, key: draw(JUNK)}
    if draw(st.integers(0, 5)) == 0:
        return {name: of for name, of in value.items() if name != key}
    return {**value, key: _changed(draw, value[key])}


def fault(document: object) -> str | None:
    """Return what the reader says against a document; None where it takes it."""
    try:
        parse_config(document)
    except ConfigError as error:
        return str(error)
    return None


@given(documents())
def test_every_good_document_is_valid(document: dict[str, Any]) -> None:
    assert fault(document) is None
    VALIDATOR.validate(document)


@settings(max_examples=3 * settings().max_examples)
@given(changed() | JUNK)
def test_reader_and_schema_agree_on_any_document(document: Json) -> None:
    said = fault(document)
    if said and any(words in said for words in BEYOND_A_SCHEMA):
        assert VALIDATOR.is_valid(document)
    else:
        assert VALIDATOR.is_valid(document) == (said is None)
    event("good" if said is None else "faulty")


@pytest.mark.parametrize(
    "resources",
    [
        [{"name": "a.b"}, {"name": "a-b"}],
        [{"name": "cy", "limit": 1}, {"name": "cy"}],
        [{"name": "CY"}],
    ],
)
def test_only_the_reader_sees_what_entries_do_to_one_another(resources: list[dict[str, Any]]) -> None:
    document = {"version": 1, "resources": resources, "defaultResources": True}
    assert VALIDATOR.is_valid(document)
    assert any(words in str(fault(document)) for words in BEYOND_A_SCHEMA)


def test_the_published_schema_is_this_one() -> None:
    """Mend it by: qatdp config schema >docs/config.schema.json."""
    assert json.loads(PUBLISHED.read_text()) == config_schema()


def test_the_schema_is_one_and_goes_into_json_unchanged() -> None:
    jsonschema.Draft202012Validator.check_schema(config_schema())
    assert json.loads(json.dumps(config_schema())) == config_schema()
