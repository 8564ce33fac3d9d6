"""What two resources set differently is told, as a container that asks for both gets one of the two."""

import pytest
from hypothesis import given
from support.strategies import configs

from qatdp.core.config.model import Config, parse_config
from qatdp.core.config.warnings import config_warnings


def warned(one: dict[str, object], two: dict[str, object], second: str = "b") -> list[str]:
    """Return the keys that are warned about."""
    rules = [{"name": "a", **one}, {"name": second, **two}]
    return [line.partition(":")[0] for line in config_warnings(parse_config({"version": 1, "resources": rules}))]


INDEX: dict[str, object] = {"addressVariables": ["index"]}


@pytest.mark.parametrize(
    ("one", "two", "keys"),
    [
        (INDEX, INDEX, ["resources[1].addressVariables"]),
        (INDEX, {"addressVariables": ["qat", "index"]}, ["resources[1].addressVariables"]),
        (INDEX, {}, []),
        ({"qatPolicy": 1}, {"qatPolicy": 2}, ["resources[1].qatPolicy"]),
        ({"qatPolicy": 1}, {"qatPolicy": 1}, []),
        ({"qatPolicy": 1}, {}, []),
        ({"env": {"A": "1", "B": "1"}}, {"env": {"A": "2", "B": "1"}}, ["resources[1].env.A"]),
    ],
)
def test_warning_names_the_key_of_the_second(one: dict[str, object], two: dict[str, object], keys: list[str]) -> None:
    assert warned(one, two) == keys


def test_entries_of_one_name_are_one_resource() -> None:
    assert warned(INDEX, {"services": ["dc"], **INDEX}, second="a") == []


def test_three_resources_with_index_are_three_pairs() -> None:
    config = parse_config({"version": 1, "resources": [{"name": name, **INDEX} for name in "abc"]})
    assert len(list(config_warnings(config))) == 3


@given(configs())
def test_each_warning_begins_with_a_key_of_the_file(config: Config) -> None:
    for line in config_warnings(config):
        assert line.startswith("resources[")
