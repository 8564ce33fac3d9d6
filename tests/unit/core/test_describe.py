"""A spec is told in words, and which of it a node takes is what that node's daemon would take."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.specs import reachable, specs
from support.strategies import SLOTS

from qatdp.core.config.describe import describe_specs
from qatdp.core.config.model import parse_config
from qatdp.core.config.spec import spec_for_node

PARTS = [
    {"services": ["asym", "sym"], "percent": 50, "families": ["4xxx"]},
    {"services": ["dc"], "count": 1, "numaNodes": [1, 0], "pfs": ["0000:6b:00.0"]},
    {"services": "generic"},
]
ENTRY = {"split": PARTS, "scope": "numaNode", "autoReset": True, "excludePfs": ["0000:6b:00.0"]}
STAGED = {
    "nodes": ["qat-*"],
    "current": {"split": [{"services": ["dc"]}]},
    "next": {"split": [{"services": ["sym"], "count": 2}, {"services": ["dc"]}]},
    "rollout": {"percent": 30, "salt": "a"},
    "when": "cordon",
    "cordonTimeoutSeconds": 600,
    "maxUnavailable": 2,
    "minAvailable": {"cy": 8},
}


def told(*entries: object, node: str | None = None) -> list[str]:
    return list(describe_specs(parse_config({"version": 1, "provision": list(entries)}).provision, node))


def test_each_part_says_what_how_many_and_which() -> None:
    assert told(ENTRY) == [
        "provision[0], for any node; left alone: 0000:6b:00.0:",
        "  asym;sym: 50 per cent of the PFs of each NUMA node of 4xxx",
        "  dc: 1 PF of each NUMA node on NUMA node 0, 1 among 0000:6b:00.0",
        "  generic: all PFs that are left of each NUMA node",
        "  autoReset: on",
    ]


def test_a_rollout_says_from_what_to_what_and_for_whom() -> None:
    assert told(STAGED) == [
        (
            "provision[0], for nodes qat-*; PFs in use are cordoned, for 600 s at most; 2 PFs at once; "
            "at least 8 of cy stay:"
        ),
        "  current:",
        "    dc: all PFs",
        "  next, for 30 per cent of them, salt a:",
        "    sym: 2 PFs",
        "    dc: all PFs that are left",
    ]


def test_several_of_a_kind_are_told_with_commas() -> None:
    part = {"services": ["dc"], "families": ["6xxx", "4xxx"], "pfs": ["0000:70:00.0", "0000:6b:00.0"]}
    assert told({"nodes": ["a", "b-*"], "split": [part], "minAvailable": {"dc": 2, "cy": 8}, "autoReset": False}) == [
        "provision[0], for nodes a, b-*; at least 8 of cy stay; at least 2 of dc stay:",
        "  dc: all PFs of 4xxx, 6xxx among 0000:6b:00.0, 0000:70:00.0",
        "  autoReset: off",
    ]


def test_a_rollout_without_a_salt_says_none() -> None:
    assert told({**STAGED, "rollout": {"percent": 30}})[3] == "  next, for 30 per cent of them:"


@pytest.mark.parametrize(
    ("node", "says"),
    [
        ("qat-1", "node qat-1: takes current of provision[0] (its number is 64.4824, and those below 30 take next)"),
        ("qat-8", "node qat-8: takes next of provision[0] (its number is 20.0597, and those below 30 take next)"),
        ("gold", "node gold: takes provision[1]"),
    ],
)
def test_a_node_of_a_known_name_is_told_what_it_takes(node: str, says: str) -> None:
    assert told(STAGED, ENTRY, node=node)[-1] == says
    assert told(STAGED, node="gold")[-1] == "node gold: no entry is about it, so none of its PFs is changed"


ENTRIES = st.lists(specs(map(str, SLOTS[:2])), min_size=1, max_size=3).map(reachable)


@given(ENTRIES, st.sampled_from(["qat-1", "qat-2", "gold", "b"]))
def test_what_is_told_is_what_the_node_takes(entries: list[dict[str, object]], node: str) -> None:
    of = parse_config({"version": 1, "provision": entries}).provision
    *_, last = describe_specs(of, node)
    taken = spec_for_node(of, node)
    assert ("takes next" in last) == any(taken is spec.next for spec in of)
