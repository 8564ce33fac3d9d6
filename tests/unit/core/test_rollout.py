"""A growing percentage only ever adds nodes, and who takes what is next follows from names alone."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qatdp.core.config.model import parse_config
from qatdp.core.config.rollout import Rollout, drawn, is_chosen
from qatdp.core.config.spec import ProvisionSpec, spec_for_node
from qatdp.errors import ConfigError

NAMES = [f"qat-{number}.example.org" for number in range(1000)]
CY, DC = [{"services": ["sym", "asym"]}], [{"services": ["dc"]}]
CURRENT, NEXT = {"split": CY, "autoReset": True}, {"split": DC, "scope": "numaNode"}

percents = st.floats(0, 100)
texts = st.text(max_size=20)


def read(**more: object) -> tuple[ProvisionSpec, ...]:
    entry = {"current": CURRENT, "next": NEXT, "rollout": {"percent": 30}, "when": "cordon", **more}
    return parse_config({"version": 1, "provision": [entry]}).provision


def alone(target: dict[str, Any]) -> ProvisionSpec:
    (spec,) = parse_config({"version": 1, "provision": [{**target, "when": "cordon"}]}).provision
    return spec


@given(st.text(), texts, texts, percents, percents)
def test_a_growing_percentage_only_ever_adds_nodes(node: str, of: str, salt: str, one: float, other: float) -> None:
    fewer, more = sorted((one, other))
    assert is_chosen(node, Rollout(fewer, of, salt)) <= is_chosen(node, Rollout(more, of, salt))


@given(st.text(), texts, texts)
def test_none_takes_it_at_nothing_and_each_at_a_hundred(node: str, of: str, salt: str) -> None:
    assert not is_chosen(node, Rollout(0, of, salt))
    assert is_chosen(node, Rollout(100, of, salt))


@pytest.mark.parametrize("percent", [1, 10, 50, 90])
def test_about_so_many_nodes_take_it(percent: float) -> None:
    chosen = sum(is_chosen(name, Rollout(percent, "next")) for name in NAMES)
    assert abs(chosen - percent * 10) < 50


@pytest.mark.parametrize("other", [Rollout(50, "next", "more"), Rollout(50, "another")])
def test_another_salt_or_another_wish_draws_anew(other: Rollout) -> None:
    same = sum(is_chosen(name, Rollout(50, "next")) is is_chosen(name, other) for name in NAMES)
    assert 400 < same < 600


def test_the_number_of_a_node_stays_what_it_is_in_all_versions() -> None:
    assert drawn("qat-1", Rollout(50, "next", "a")) == pytest.approx(28.703097)


def test_a_node_takes_the_one_or_the_other_as_if_it_stood_alone() -> None:
    specs = read()
    taken = {name: spec_for_node(specs, name) for name in NAMES}
    assert set(map(repr, taken.values())) == {repr(alone(CURRENT)), repr(alone(NEXT))}
    assert 200 < sum(spec == alone(NEXT) for spec in taken.values()) < 400


@pytest.mark.parametrize(("percent", "takes"), [(0, CURRENT), (100, NEXT)])
def test_at_the_ends_all_nodes_take_the_same(percent: float, takes: dict[str, Any]) -> None:
    assert {repr(spec_for_node(read(rollout={"percent": percent}), name)) for name in NAMES} == {repr(alone(takes))}


PFS = ["0000:6b:00.0", "0000:70:00.0"]
PART = {"services": ["sym", "asym"], "percent": 50, "pfs": PFS, "families": ["4xxx", "6xxx"], "numaNodes": [0, 1]}


def rolled_out(**next_: object) -> str:
    (spec,) = read(next={"split": [PART], **next_})
    assert spec.rollout
    return spec.rollout.next


def test_what_is_drawn_from_stays_what_it_is_in_all_versions() -> None:
    assert rolled_out() == (
        '{"scope": "node", "split": [{"families": ["4xxx", "6xxx"], "numaNodes": [0, 1], "percent": 50, '
        '"pfs": ["0000:6b:00.0", "0000:70:00.0"], "services": ["asym", "sym"]}]}'
    )


def test_what_is_said_of_auto_reset_is_drawn_from_as_well() -> None:
    assert rolled_out(autoReset=True).startswith('{"autoReset": true, "scope": "node", "split": [')


def test_no_salt_is_an_empty_one() -> None:
    (spec,) = read()
    assert spec.rollout
    assert spec.rollout.salt == ""


def test_the_same_in_other_words_is_no_other_wish() -> None:
    turned = {key: value[::-1] if isinstance(value, list) else value for key, value in reversed(PART.items())}
    assert rolled_out(split=[turned], scope="node") == rolled_out()


@pytest.mark.parametrize(
    "other",
    [
        {"scope": "numaNode"},
        {"autoReset": False},
        {"split": [PART, {"services": "generic"}]},
        *(
            {"split": [{name: value for name, value in PART.items() if name != key}]}
            for key in PART
            if key != "services"
        ),
        {"split": [{**PART, "services": ["sym"]}]},
    ],
)
def test_whatever_is_another_wish_draws_anew(other: dict[str, Any]) -> None:
    assert rolled_out(**other) != rolled_out()


def test_a_node_whose_name_is_not_known_takes_neither() -> None:
    with pytest.raises(ConfigError, match=r"provision\[0\]\.rollout: this node's name is not known") as caught:
        spec_for_node(read(), None)
    assert "--node-name" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"next": None}, "next: missing"),
        ({"current": None}, "current: missing"),
        ({"rollout": None}, "rollout: missing"),
        ({"split": CY}, "split: cannot be combined with a rollout"),
        ({"scope": "node"}, "scope: cannot be combined with a rollout"),
        ({"next": {**NEXT, "when": "idle"}}, "next.when: unknown key"),
        ({"next": {"split": []}}, "next.split: empty"),
        ({"next": {}}, "next.split: missing"),
        ({"rollout": 30}, "rollout: expected keys and values, got 30"),
        ({"rollout": {}}, "rollout.percent: missing"),
        ({"rollout": {"percent": 101}}, "rollout.percent: expected per cent, from 0 to 100, got 101"),
        ({"rollout": {"percent": True}}, "rollout.percent: expected per cent, from 0 to 100, got True"),
        ({"rollout": {"percent": 5, "salt": 7}}, "rollout.salt: expected a text"),
        ({"rollout": {"percent": 5, "seed": "a"}}, "rollout.seed: unknown key"),
        ({"cordonTimeoutSeconds": 0}, "cordonTimeoutSeconds: expected a number of 1 or more"),
        ({"when": None, "cordonTimeoutSeconds": 60}, "cordonTimeoutSeconds: nothing is cordoned"),
    ],
)
def test_what_cannot_be_is_refused_with_its_key(change: dict[str, Any], said: str) -> None:
    entry = {"current": CURRENT, "next": NEXT, "rollout": {"percent": 30}, "when": "cordon", **change}
    with pytest.raises(ConfigError) as caught:
        parse_config({"version": 1, "provision": [{key: value for key, value in entry.items() if value is not None}]})
    assert f"provision[0].{said}" in str(caught.value)


def test_a_missing_percentage_is_explained() -> None:
    with pytest.raises(ConfigError) as caught:
        read(rollout={})
    assert "how many per cent" in str(caught.value.hint)


def test_a_node_takes_it_only_once_the_percentage_is_above_its_number() -> None:
    mine = drawn("node-1", Rollout(0.0, "next"))
    assert not is_chosen("node-1", Rollout(mine, "next"))
    assert is_chosen("node-1", Rollout(math.nextafter(mine, 100.0), "next"))
