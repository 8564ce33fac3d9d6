"""An entry of `provision` is read whole, and what it cannot be is refused by its key, with what would mend it."""

from typing import Any

import pytest

from qatdp.core.config.rollout import Rollout
from qatdp.core.config.spec import Partition, ProvisionSpec, Scope, When, canonical
from qatdp.core.config.spec_parser import check_reachable, read_wish
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.qat import Service
from qatdp.errors import ConfigError

CY, DC = frozenset({Service.SYM, Service.ASYM}), frozenset({Service.DC})
SPLIT = [{"services": ["dc"]}]
ENTRY: dict[str, Any] = {"split": SPLIT}
STAGED: dict[str, Any] = {
    "current": ENTRY,
    "next": {"split": [{"services": ["sym", "asym"]}]},
    "rollout": {"percent": 5},
}
AT = "provision[0]"


def refused(entry: object) -> tuple[str, str | None]:
    with pytest.raises(ConfigError) as caught:
        read_wish(entry, AT)
    return caught.value.message, caught.value.hint


def split(*parts: object) -> dict[str, object]:
    return {"split": list(parts)}


def test_what_is_not_said_is_as_it_is() -> None:
    assert read_wish(ENTRY, AT) == ProvisionSpec((Partition(DC),))


def test_all_of_an_entry_is_read() -> None:
    entry = {
        "nodes": ["qat-2", "qat-1"],
        "excludePfs": ["0000:6b:00.0"],
        "when": "cordon",
        "maxUnavailable": 2,
        "minAvailable": {"cy": 8, "dc": 0},
        "cordonTimeoutSeconds": 600,
        "scope": "numaNode",
        "autoReset": False,
        "split": [
            {"services": ["sym", "asym"], "percent": 0, "families": ["4xxx"], "numaNodes": [0]},
            {"services": ["dc"], "count": 1, "pfs": ["0000:70:00.0"]},
        ],
    }
    assert read_wish(entry, AT) == ProvisionSpec(
        parts=(
            Partition(CY, percent=0, families=frozenset({"4xxx"}), numa_nodes=frozenset({0})),
            Partition(DC, count=1, pfs=frozenset({PciAddress(0, 0x70, 0, 0)})),
        ),
        nodes=("qat-1", "qat-2"),
        exclude_pfs=frozenset({PciAddress(0, 0x6B, 0, 0)}),
        when=When.CORDON,
        max_unavailable=2,
        min_available={"cy": 8, "dc": 0},
        cordon_timeout_s=600,
        scope=Scope.NUMA_NODE,
        auto_reset=False,
    )


def test_a_staged_entry_has_one_policy_and_two_targets() -> None:
    spec = read_wish({**STAGED, "nodes": ["a"], "when": "cordon"}, AT)
    assert spec.next == ProvisionSpec((Partition(CY),), nodes=("a",), when=When.CORDON)
    assert spec.rollout == Rollout(5.0, canonical(spec.next))
    assert (spec.parts, spec.nodes, spec.when) == ((Partition(DC),), ("a",), When.CORDON)


@pytest.mark.parametrize(
    ("entry", "message", "hint"),
    [
        ([], f"{AT}: expected keys and values, got []", None),
        ({}, f"{AT}.split: missing", "such as: [{services: [sym, asym], percent: 50}]"),
        (split(), f"{AT}.split: empty", "leave the whole entry out to have nothing changed"),
        ({"split": 5}, f"{AT}.split: expected a list, got 5", None),
        ({**ENTRY, "scope": "pf"}, f"{AT}.scope: expected 'node' or 'numaNode', got 'pf'", None),
        ({**ENTRY, "autoReset": "on"}, f"{AT}.autoReset: expected true or false, got 'on'", None),
        ({**ENTRY, "when": "now"}, f"{AT}.when: expected 'idle' or 'cordon', got 'now'", None),
        ({**ENTRY, "maxUnavailable": 0}, f"{AT}.maxUnavailable: expected a number of 1 or more, got 0", None),
        (
            {**ENTRY, "cordonTimeoutSeconds": 9},
            f"{AT}.cordonTimeoutSeconds: nothing is cordoned",
            "it goes with when: cordon",
        ),
        (
            {**ENTRY, "when": "cordon", "cordonTimeoutSeconds": 0},
            f"{AT}.cordonTimeoutSeconds: expected a number of 1 or more, got 0",
            None,
        ),
        ({**ENTRY, "minAvailable": 5}, f"{AT}.minAvailable: expected keys and values, got 5", None),
        (
            {**ENTRY, "minAvailable": {"cy": -1}},
            f"{AT}.minAvailable.cy: expected a number of 0 or more, got -1",
            None,
        ),
        ({**ENTRY, "nodes": []}, f"{AT}.nodes: empty: this selects nothing", "leave the key out for any"),
        ({**ENTRY, "nodes": [7]}, f"{AT}.nodes[0]: expected a text, got 7", "put it in quotes"),
        ({**ENTRY, "excludePfs": [7]}, f"{AT}.excludePfs[0]: expected a PCI address, got 7", "put it in quotes"),
        (split(5), f"{AT}.split[0]: expected keys and values, got 5", None),
        (split({}), f"{AT}.split[0].services: missing", "such as [sym, asym]; generic before gen4"),
        (
            split({"services": ["dc"], "percent": 50, "count": 1}),
            f"{AT}.split[0]: has both a percent and a count",
            "leave one of them out",
        ),
        (
            split({"services": ["dc"], "percent": 101}),
            f"{AT}.split[0].percent: expected per cent, 100 at most, got 101",
            None,
        ),
        (
            split({"services": ["dc"], "percent": -1}),
            f"{AT}.split[0].percent: expected a number of 0 or more, got -1",
            None,
        ),
        (
            split({"services": ["dc"], "count": -1}),
            f"{AT}.split[0].count: expected a number of 0 or more, got -1",
            None,
        ),
        (split({"services": []}), f"{AT}.split[0].services: empty", ...),
        (split({"services": ["dc"], "pfs": [7]}), f"{AT}.split[0].pfs[0]: expected a PCI address, got 7", ...),
        (split({"services": ["dc"], "numaNodes": ["a"]}), f"{AT}.split[0].numaNodes[0]: expected a number", None),
        (split({"services": ["dc"], "families": ["new"]}), f"{AT}.split[0].families[0]: expected 'dh895xcc', ", None),
        (
            split({"services": ["dc"], "families": ["c62x"]}),
            f"{AT}.split[0].services: no device can do this: c62x has no services to choose from",
            None,
        ),
        (
            split({"services": ["dc"], "percent": 60}, {"services": ["sym"], "percent": 41}),
            f"{AT}.split[1].percent: percentages add up to 101 per cent of the same PFs",
            None,
        ),
        (
            split({"services": ["dc"]}, {"services": ["sym"]}),
            f"{AT}.split[1]: can get nothing: split[0] takes all PFs that are left",
            "put the entry without percent, count or selector last",
        ),
        ({**STAGED, "scope": "node"}, f"{AT}.scope: cannot be combined with a rollout", "put it into current and next"),
        ({"current": ENTRY}, f"{AT}.next: missing", "a rollout leads from current to next"),
        ({**STAGED, "next": 5}, f"{AT}.next: expected keys and values, got 5", None),
        ({**STAGED, "next": {}}, f"{AT}.next.split: missing", ...),
        ({**STAGED, "rollout": 5}, f"{AT}.rollout: expected keys and values, got 5", None),
    ],
)
def test_what_cannot_be_is_refused(entry: object, message: str, hint: object) -> None:
    said, advised = refused(entry)
    assert said.startswith(message)
    assert hint in (..., advised)


@pytest.mark.parametrize(
    ("entry", "key", "known"),
    [
        ({**ENTRY, "x": 1}, f"{AT}.x", "split, scope, autoReset, nodes, excludePfs, when, maxUnavailable"),
        (split({"services": ["dc"], "x": 1}), f"{AT}.split[0].x", "services, percent, count, pfs, numaNodes, families"),
        ({**STAGED, "next": {**ENTRY, "when": "idle"}}, f"{AT}.next.when", "split, scope, autoReset"),
    ],
)
def test_an_unknown_key_is_refused_with_those_that_are_known(entry: object, key: str, known: str) -> None:
    said, advised = refused(entry)
    assert said == f"{key}: unknown key"
    assert str(advised).startswith(f"known here: {known}")


def test_shares_of_just_a_hundred_are_no_fault_nor_those_of_different_pfs() -> None:
    half, more = {"services": ["dc"], "percent": 50}, {"services": ["sym"], "percent": 60}
    assert read_wish(split({"services": ["dc"], "percent": 100}), AT).parts == (Partition(DC, percent=100),)
    assert len(read_wish(split(half, half), AT).parts) == 2
    assert len(read_wish(split({**half, "numaNodes": [0]}, {**more, "numaNodes": [1]}, half), AT).parts) == 3
    assert len(read_wish(split(half, {"services": ["sym"], "count": 1}, half), AT).parts) == 3


def test_what_comes_after_one_that_takes_all_may_be_for_other_families() -> None:
    assert len(read_wish(split({"services": ["dc"]}, {"services": "generic"}), AT).parts) == 2
    all_three = {"services": ["sym", "asym", "dc"]}  # of gen6 alone
    assert len(read_wish(split(all_three, {"services": ["sym"]}, {"services": "generic"}), AT).parts) == 3
    assert len(read_wish(split({"services": ["dc"], "count": 1}, {"services": ["sym"]}), AT).parts) == 2


def test_an_entry_behind_one_for_any_node_is_out_of_reach() -> None:
    some, other, any_node = ProvisionSpec((), nodes=("a",)), ProvisionSpec((), nodes=("b",)), ProvisionSpec(())
    check_reachable([some, other, any_node])
    check_reachable([])
    with pytest.raises(ConfigError) as caught:
        check_reachable([some, any_node, other])
    assert caught.value.message == "provision[2]: no node can take it: provision[1] is for any node"
    assert caught.value.hint == "put the entry without nodes last"
