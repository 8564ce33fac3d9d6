"""A plain value that is not what it should be is refused by its key, with what it is and, where one helps, a hint."""

from collections.abc import Callable

import pytest

from qatdp.core.config import readers
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.qat import Service
from qatdp.errors import ConfigError

Read = Callable[[object, str], object]


def least(value: object, path: str) -> object:
    return readers.a_count(value, path, least=1)


def choice(value: object, path: str) -> object:
    return readers.a_choice(value, path, ["one", "two", "three"])


def either(value: object, path: str) -> object:
    return readers.a_choice(value, path, ["one", "two"])


def only(value: object, path: str) -> object:
    return readers.a_choice(value, path, ["one"])


def flag(value: object, path: str) -> object:
    return readers.a_flag({"on": value}, path, "on", default=False)


def some(value: object, path: str) -> object:
    return readers.a_set({"of": value}, path, "of", readers.a_text)


def service_set(value: object, path: str) -> object:
    return readers.a_service_set(value, path, hint="a list of them")


def refused(read: Read, value: object, path: str = "a.b") -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read(value, path)
    return caught.value


@pytest.mark.parametrize(
    ("read", "value", "is_read_as"),
    [
        (readers.a_mapping, {"a": 1}, {"a": 1}),
        (readers.a_list, [1], [1]),
        (readers.a_count, 0, 0),
        (least, 1, 1),
        (choice, "two", "two"),
        (only, "one", "one"),
        (flag, True, True),
        (some, ["x", "y", "x"], frozenset({"x", "y"})),
        (readers.an_address, "0000:6b:00.1", PciAddress(0, 0x6B, 0, 1)),
        (readers.a_text, "x", "x"),
        (readers.a_service_set, "generic", None),
        (readers.a_service_set, ["asym", "sym"], frozenset({Service.SYM, Service.ASYM})),
    ],
)
def test_what_it_should_be_is_read(read: Read, value: object, is_read_as: object) -> None:
    assert read(value, "a.b") == is_read_as


@pytest.mark.parametrize(
    ("read", "value", "said", "hint"),
    [
        (readers.a_mapping, [1], "a.b: expected keys and values, got [1]", None),
        (readers.a_mapping, {1: "a"}, "a.b: expected keys and values, got {1: 'a'}", None),
        (readers.a_mapping, None, "a.b: expected keys and values, got None", "leave the key out"),
        (readers.a_list, "x", "a.b: expected a list, got 'x'", None),
        (readers.a_list, None, "a.b: expected a list, got None", "leave the key out"),
        (readers.a_count, -1, "a.b: expected a number of 0 or more, got -1", None),
        (readers.a_count, True, "a.b: expected a number of 0 or more, got True", None),
        (readers.a_count, 1.0, "a.b: expected a number of 0 or more, got 1.0", None),
        (least, 0, "a.b: expected a number of 1 or more, got 0", None),
        (choice, "four", "a.b: expected 'one', 'two' or 'three', got 'four'", None),
        (choice, 1, "a.b: expected 'one', 'two' or 'three', got 1", None),
        (either, "x", "a.b: expected 'one' or 'two', got 'x'", None),
        (only, "two", "a.b: expected 'one', got 'two'", None),
        (flag, "yes", "a.b.on: expected true or false, got 'yes'", None),
        (some, [], "a.b.of: empty: this selects nothing", "leave the key out for any"),
        (some, ["x", 2], "a.b.of[1]: expected a text, got 2", "put it in quotes"),
        (some, "x", "a.b.of: expected a list, got 'x'", None),
        (readers.an_address, 7, "a.b: expected a PCI address, got 7", "put it in quotes"),
        (readers.an_address, "6b", "a.b: '6b' is not a valid PCI address", "expected one such as 0000:6b:00.1"),
        (readers.a_text, "", "a.b: expected a text, got ''", "put it in quotes"),
        (readers.a_text, 7, "a.b: expected a text, got 7", "put it in quotes"),
        (service_set, "sym", "a.b: expected a list, got 'sym'", "a list of them"),
        (service_set, "some", "a.b: expected a list, got 'some'", None),
        (service_set, [], "a.b: empty", "leave the key out for any services, or write generic for none known"),
        (service_set, ["sym", "new"], "a.b[1]: expected 'asym', 'sym', 'dc', 'decomp' or 'dcc', got 'new'", None),
    ],
)
def test_what_it_should_not_be_is_refused(read: Read, value: object, said: str, hint: str | None) -> None:
    error = refused(read, value)
    assert (error.message, error.hint) == (said, hint)


def test_an_entry_of_a_list_that_is_empty_cannot_be_left_out_as_a_key() -> None:
    assert refused(readers.a_mapping, None, "a[0]").hint is None


def test_an_unknown_key_is_refused_with_those_that_are_known() -> None:
    readers.only_known({"a": 1}, "x", "a", "b")
    with pytest.raises(ConfigError) as caught:
        readers.only_known({"a": 1, "c": 2}, "x", "a", "b")
    assert caught.value.message == "x.c: unknown key"
    assert caught.value.hint == "known here: a, b"


def test_a_key_at_the_top_has_no_path_before_it() -> None:
    assert readers.join("", "a") == "a"
    assert readers.join("a", "b") == "a.b"


def test_what_is_left_out_is_what_it_is_by_default() -> None:
    assert readers.a_flag({}, "a", "on", default=True) is True
    assert readers.a_set({}, "a", "of", readers.a_text) is None
    assert readers.each({}, "a", "of", readers.a_text) == ()


def test_each_entry_is_read_by_its_own_place() -> None:
    assert readers.each({"of": ["x", "y"]}, "a", "of", lambda value, path: (value, path)) == (
        ("x", "a.of[0]"),
        ("y", "a.of[1]"),
    )
