"""The spec is read as it is written, and what can never be is refused with its key and the reason."""

from typing import Any

import pytest
from hypothesis import given
from support.strategies import a_pf, services

from qatdp.core.config.model import parse_config
from qatdp.core.config.spec import EMPTY_SPEC, Partition, ProvisionSpec, Scope, spec_for_node
from qatdp.core.model.qat import Service, Services, as_written, parse_services
from qatdp.errors import ConfigError

CY = frozenset({Service.SYM, Service.ASYM})
DC = frozenset({Service.DC})
FIRST, SECOND = a_pf("0000:6b:00.0"), a_pf("0000:70:00.0", "6xxx", numa_node=1)


def read(*entries: dict[str, Any]) -> tuple[ProvisionSpec, ...]:
    return parse_config({"version": 1, "provision": list(entries)}).provision


def fault(*split: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        read({"split": list(split)})
    return str(caught.value)


def test_all_that_can_be_said_is_read() -> None:
    split = [
        {"services": ["dc"], "pfs": ["0000:6b:00.0"]},
        {"services": ["asym", "sym"], "percent": 50, "families": ["4xxx"]},
        {"services": ["dc"], "count": 1, "numaNodes": [1]},
        {"services": "generic"},
    ]
    entry = {
        "nodes": ["qat-*"],
        "scope": "numaNode",
        "autoReset": True,
        "excludePfs": ["0000:70:00.0"],
        "split": split,
    }
    pf, alone = (a_pf(text).address for text in ("0000:6b:00.0", "0000:70:00.0"))
    parts = (
        Partition(DC, pfs=frozenset({pf})),
        Partition(CY, percent=50, families=frozenset({"4xxx"})),
        Partition(DC, count=1, numa_nodes=frozenset({1})),
        Partition(None),
    )
    assert read(entry) == (
        ProvisionSpec(parts, ("qat-*",), Scope.NUMA_NODE, auto_reset=True, exclude_pfs=frozenset({alone})),
    )


def test_without_more_said_shares_are_of_the_node_and_auto_reset_stays_as_it_is() -> None:
    assert read({"split": [{"services": ["dc"]}]}) == (ProvisionSpec((Partition(DC),)),)
    assert parse_config({"version": 1}).provision == ()


@pytest.mark.parametrize(
    ("wanted", "families", "reason"),
    [
        (["sym", "asym", "dc"], ["4xxx"], "4xxx takes 2 services at most"),
        (["sym", "asym", "dc"], ["402xx", "c62x"], "402xx takes 2 services at most"),
        (["dcc", "sym"], None, "dcc goes with no other service"),
        (["decomp"], ["420xx"], "420xx has no decomp"),
        (["sym", "asym", "dc", "decomp"], None, "6xxx takes 3 services at most"),
        (["dc"], ["c62x"], "c62x has no services to choose from"),
        ("generic", ["4xxx"], "its services can be chosen"),
    ],
)
def test_services_that_no_device_meant_can_do_are_refused(wanted: object, families: object, reason: str) -> None:
    part = {"services": wanted} | ({"families": families} if families else {})
    assert fault(part) == f"provision[0].split[0].services: no device can do this: {reason}"


def test_three_services_are_no_fault_where_gen6_may_be_meant() -> None:
    read({"split": [{"services": ["sym", "asym", "dc"]}]})


def test_the_first_entry_whose_pattern_matches_holds() -> None:
    entries = [
        {"nodes": ["qat-*", "x"], "split": [{"services": ["dc"]}]},
        {"nodes": ["qat-1"], "split": [{"services": ["sym"]}]},
    ]
    first, second = specs = read(*entries)
    assert spec_for_node(specs, "qat-1") is first
    assert spec_for_node(specs, "QAT-1") is EMPTY_SPEC
    assert spec_for_node((second,), "qat-1") is second
    assert spec_for_node((*specs, ProvisionSpec((Partition(DC),))), "other").parts == (Partition(DC),)


def test_an_entry_that_no_node_can_take_is_refused() -> None:
    split = {"split": [{"services": ["dc"]}]}
    with pytest.raises(ConfigError, match=r"provision\[1\]: no node can take it: provision\[0\] is for any node"):
        read(split, {"nodes": ["qat-1"], **split})
    read({"nodes": ["qat-1"], **split}, split)


def test_a_node_without_a_name_is_told_of_patterns_only() -> None:
    spec = ProvisionSpec((Partition(DC),))
    assert spec_for_node((spec,), None) is spec
    with pytest.raises(ConfigError, match=r"^provision\[0\]\.nodes: this node's name is not known"):
        spec_for_node((ProvisionSpec((Partition(DC),), nodes=("*",)),), None)


@given(services())
def test_what_is_written_is_read_back_as_the_same_set(some: Services) -> None:
    assert parse_services(as_written(some)) == some


def test_crypto_is_written_in_the_order_that_the_first_kernels_take() -> None:
    assert as_written(CY) == "sym;asym"


@pytest.mark.parametrize(
    ("part", "selects"),
    [
        (Partition(DC), [True, True]),
        (Partition(DC, pfs=frozenset({FIRST.address})), [True, False]),
        (Partition(DC, numa_nodes=frozenset({1})), [False, True]),
        (Partition(DC, families=frozenset({"4xxx"})), [True, False]),
        (Partition(DC, pfs=frozenset({FIRST.address}), numa_nodes=frozenset({1})), [False, False]),
    ],
)
def test_a_part_selects_what_all_of_it_fits(part: Partition, selects: list[bool]) -> None:
    assert [part.selects(pf) for pf in (FIRST, SECOND)] == selects
