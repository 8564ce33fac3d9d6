"""The configuration is read whole or refused with the key path of its first fault."""

from typing import Any

import pytest
from hypothesis import given
from support.strategies import documents

from qatdp.core.config.model import (
    AddressVariable,
    Config,
    DeviceNode,
    HostShare,
    Policy,
    ResourceOptions,
    ResourceRule,
    Selector,
    default_resource,
    full_name,
    parse_config,
    variable_of,
)
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.qat import Service, Services
from qatdp.errors import ConfigError

PCIDEVICE, INDEX = AddressVariable.PCIDEVICE, AddressVariable.INDEX
CY = frozenset({Service.SYM, Service.ASYM})
DC = frozenset({Service.DC})


def rule(**keys: object) -> dict[str, Any]:
    """Return a document with one rule, `fast`."""
    return {"version": 1, "resources": [{"name": "fast", **keys}]}


def part(**keys: object) -> dict[str, Any]:
    return {"version": 1, "provision": [{"split": [keys]}]}


def rules(*entries: dict[str, Any], **keys: object) -> dict[str, Any]:
    return {"version": 1, "resources": list(entries), **keys}


def keeping(resource: str) -> dict[str, Any]:
    """Return a part of a document that keeps one VF of a resource available."""
    return {"provision": [{"split": [{"services": ["dc"]}], "minAvailable": {resource: 1}}]}


@given(documents())
def test_good_documents_are_read_rule_by_rule(document: dict[str, Any]) -> None:
    config = parse_config(document)
    assert [one.name for one in config.resources] == [one["name"] for one in document.get("resources", [])]
    assert config.default_resources == document.get("defaultResources", not document.get("resources"))
    for entry in document.get("resources", []):
        name = full_name(entry["name"])
        assert config.limit(name) == entry.get("limit")
        assert config.options(name).policy == entry.get("policy", Policy.LOCAL)
        assert dict(config.options(name).env) == entry.get("env", {})
        assert config.options(name).address_variables >= {"pcidevice", *entry.get("addressVariables", ["qat"])}


def test_nothing_but_the_version_means_the_defaults() -> None:
    assert parse_config({"version": 1}) == Config()
    assert Config().default_resources
    assert Config().vfio_driver == "vfio-pci"
    assert not Config().allow_no_iommu
    assert Config().options("qat.intel.com/cy") == ResourceOptions(Policy.LOCAL, DeviceNode.GROUP, None, ())
    assert Config().limit("qat.intel.com/cy") is None


def test_with_rules_what_no_rule_selects_is_left_out_unless_asked_for() -> None:
    assert not parse_config(rule()).default_resources
    assert parse_config({**rule(), "defaultResources": True}).default_resources


def test_everything_that_can_be_written() -> None:
    document = {
        "version": 1,
        "resources": [
            {
                "name": "fast",
                "services": [["sym", "asym"], "generic"],
                "pfs": ["0000:6b:00.0", "10000:01:00.0"],
                "numaNodes": [0],
                "families": ["4xxx"],
                "drivers": ["qat_vfio_pci"],
                "limit": 0,
                "policy": "packed",
                "deviceNode": "cdev",
                "qatPolicy": 2,
                "env": {"B": "2", "A": "1"},
                "addressVariables": ["index"],
            }
        ],
        "defaultResources": True,
        "hostReserved": [{"vfs": 2}, {"vfs": 4, "pfs": ["0000:6b:00.0"]}],
        "vfioDriver": "qat_vfio_pci",
        "allowNoIommu": True,
    }
    pf = PciAddress.parse("0000:6b:00.0")
    selector = Selector(
        pfs=frozenset({pf, PciAddress.parse("10000:01:00.0")}),
        numa_nodes=frozenset({0}),
        families=frozenset({"4xxx"}),
        drivers=frozenset({"qat_vfio_pci"}),
    )
    options = ResourceOptions(
        Policy.PACKED, DeviceNode.CDEV, 2, (("A", "1"), ("B", "2")), frozenset({PCIDEVICE, INDEX})
    )
    assert parse_config(document) == Config(
        resources=(ResourceRule("fast", frozenset({CY, None}), selector, 0, options),),
        default_resources=True,
        host_reserved=(HostShare(2), HostShare(4, frozenset({pf}))),
        vfio_driver="qat_vfio_pci",
        allow_no_iommu=True,
    )


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("generic", {None}),
        (["sym", "asym"], {CY}),
        (["asym", "sym", "sym"], {CY}),
        ([["sym", "asym"], ["dc"]], {CY, DC}),
        ([["dc"]], {DC}),
        (["generic"], {None}),
        (["generic", ["dc"]], {None, DC}),
    ],
)
def test_services_are_one_set_or_several(written: object, meant: set[Services | None]) -> None:
    assert parse_config(rule(services=written)).resources[0].services == frozenset(meant)


def test_entries_of_one_name_are_one_resource() -> None:
    one = {"name": "all", "limit": 4, "env": {"A": "1", "B": "2"}}
    other = {"name": "all", "services": ["dc"], "env": {"B": "2", "A": "1"}, "limit": 4}
    config = parse_config(rules(one, {"name": "cy"}, other))
    assert [entry.name for entry in config.resources] == ["all", "cy", "all"]
    assert config.limit("qat.intel.com/all") == 4


def test_a_name_that_is_no_more_keeps_its_behaviour_for_those_who_hold_by_it() -> None:
    first = parse_config(rule(policy="packed", limit=1))
    second = parse_config(rules({"name": "other", "qatPolicy": 2}))
    third = Config().after(second.after(first))
    assert third.options("qat.intel.com/fast") == ResourceOptions(policy=Policy.PACKED)
    assert third.options("qat.intel.com/other") == ResourceOptions(qat_policy=2)
    assert third.limit("qat.intel.com/fast") is None
    assert Config().after(third) == third


def test_a_name_that_is_still_there_behaves_as_the_new_configuration_says() -> None:
    before = parse_config(rules({"name": "cy", "deviceNode": "cdev"}, {"name": "fast", "deviceNode": "cdev"}))
    assert parse_config(rule()).after(before).options("qat.intel.com/fast") == ResourceOptions()
    # By default there is a cy.
    assert Config().after(before).options("qat.intel.com/cy") == ResourceOptions()


def test_names_and_variables() -> None:
    assert default_resource(CY) == "qat.intel.com/cy"
    assert default_resource(None) == "qat.intel.com/generic"
    assert variable_of("qat.intel.com/cy") == "PCIDEVICE_QAT_INTEL_COM_CY"
    assert variable_of("qat.intel.com/asym-dc") == "PCIDEVICE_QAT_INTEL_COM_ASYM_DC"


BAD: list[tuple[object, str, str]] = [
    ([], "", "expected keys and values"),
    ({1: 2}, "", "expected keys and values"),
    (None, "", "expected keys and values"),
    ({"version": "1"}, "version", "expected 1"),
    ({"version": True}, "version", "expected 1"),
    ({"version": 1, "resources": None}, "resources", "expected a list"),
    ({"version": 1, "resources": {}}, "resources", "expected a list"),
    ({"version": 1, "resources": ["cy"]}, "resources[0]", "expected keys and values"),
    ({"version": 1, "defaultResources": "yes"}, "defaultResources", "expected true or false"),
    ({"version": 1, "defaultResources": 1}, "defaultResources", "expected true or false"),
    ({"version": 1, "vfioDriver": "vfio"}, "vfioDriver", "expected 'qat_vfio_pci' or 'vfio-pci', got 'vfio'"),
    ({"version": 1, "allowNoIommu": "yes"}, "allowNoIommu", "expected true or false, got 'yes'"),
    ({"version": 1, "vfioDriver": None}, "vfioDriver", "expected 'qat_vfio_pci'"),
    (rules({"name": "cy"}, {"name": "qat.intel.com/cy"}), "resources[1].name", "is put before it"),
    (rules({"name": ""}), "resources[0].name", "expected a resource's name"),
    (rules({"name": 1}), "resources[0].name", "expected a resource's name"),
    (rules({"name": "x" * 64}), "resources[0].name", "at most 63"),
    (rules({"name": "cy-"}), "resources[0].name", "expected a resource's name"),
    (rules({"name": "cy\n"}), "resources[0].name", "expected a resource's name"),
    (rule(polcy="local"), "resources[0].polcy", "unknown key"),
    (rule(selector={}), "resources[0].selector", "known here: name, services, pfs"),
    (rule(policy="pakced"), "resources[0].policy", "expected 'local', 'packed' or 'balanced', got 'pakced'"),
    (rule(deviceNode="both"), "resources[0].deviceNode", "expected 'group' or 'cdev'"),
    (rule(limit=-1), "resources[0].limit", "expected a number of 0 or more"),
    (rule(limit=True), "resources[0].limit", "expected a number"),
    (rule(limit=1.0), "resources[0].limit", "expected a number"),
    (rule(limit=None), "resources[0].limit", "expected a number"),
    (rule(qatPolicy=0), "resources[0].qatPolicy", "1 or more"),
    (rule(services="sym"), "resources[0].services", "expected a list"),
    (rule(services=5), "resources[0].services", "expected a list"),
    (rule(services=[]), "resources[0].services", "leave the key out"),
    (rule(services=["sym", "cy"]), "resources[0].services[1]", "'asym', 'sym', 'dc', 'decomp' or 'dcc', got 'cy'"),
    (rule(services=[["sym"], []]), "resources[0].services[1]", "empty"),
    (rule(services=[["sym"], "dc"]), "resources[0].services[1]", "expected a list"),
    (rule(services=[["sym"], ["cy"]]), "resources[0].services[1][0]", "got 'cy'"),
    (rule(services=[["sym", "generic"]]), "resources[0].services[0][1]", "got 'generic'"),
    (rule(services=[[["sym"]]]), "resources[0].services[0][0]", "got ['sym']"),
    (rule(pfs="0000:6b:00.0"), "resources[0].pfs", "expected a list"),
    (rule(pfs=[]), "resources[0].pfs", "selects nothing"),
    (rule(pfs=["6b:00.0"]), "resources[0].pfs[0]", "is not a valid PCI address"),
    (rule(pfs=["0000:6b:00.0", 90]), "resources[0].pfs[1]", "put it in quotes"),
    (rule(numaNodes=[-1]), "resources[0].numaNodes[0]", "0 or more"),
    (rule(families=["c6xx"]), "resources[0].families[0]", "'c62x'"),
    (rule(drivers=["4xxxvf"]), "resources[0].drivers[0]", "'vfio-pci'"),
    (rule(env=["A=1"]), "resources[0].env", "expected keys and values"),
    (rule(env={"A B": ""}), "resources[0].env.A B", "not a valid name of an environment variable"),
    (rule(env={"": ""}), "resources[0].env.", "not a valid name of an environment variable"),
    (rule(env={"QAT_POLICY": "1"}), "resources[0].env.QAT_POLICY", "use qatPolicy"),
    (rule(env={"QATX": "1"}), "resources[0].env.QATX", "begin with QAT"),
    (rule(env={"PCIDEVICE_X": "1"}), "resources[0].env.PCIDEVICE_X", "begin with PCIDEVICE_"),
    (rule(env={"PCI_RESOURCE_X": "1"}), "resources[0].env.PCI_RESOURCE_X", "begin with PCI_RESOURCE_"),
    (rule(addressVariables="qat"), "resources[0].addressVariables", "expected a list"),
    (rule(addressVariables=["qat0"]), "resources[0].addressVariables[0]", "'index'"),
    (rules({"name": "a.b"}, {"name": "c"}, {"name": "A-B"}), "resources[2].name", "'a.b' of resources[0]"),
    (rules({"name": "a", "limit": 1}, {"name": "a"}), "resources[1]", "same limit and options"),
    (rules({"name": "a"}, {"name": "a", "policy": "packed"}), "resources[1]", "merged with resources[0]"),
    (rules({"name": "a"}, {"name": "asym.dc"}, defaultResources=True), "resources[1].name", "'asym-dc'"),
    ({"version": 1, "hostReserved": [{"vfs": 0}]}, "hostReserved[0].vfs", "1 or more"),
    ({"version": 1, "hostReserved": [{"vfs": 1, "pfs": []}]}, "hostReserved[0].pfs", "selects nothing"),
    ({"version": 1, "hostReserved": [{"vfs": 1, "pf": "x"}]}, "hostReserved[0].pf", "unknown key"),
]


@pytest.mark.parametrize(("document", "key_path", "words"), BAD)
def test_a_fault_is_told_with_its_key_path_and_what_was_expected(document: object, key_path: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(document)
    assert caught.value.key_path == key_path
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("document", "said", "hint"),
    [
        ({}, "version: missing", "this qatdp knows version: 1"),
        ({"version": 2}, "version: expected 1, got 2", "see: qatdp config schema"),
        ({"version": 1, "pods": []}, "pods: unknown key", "known here: version, resources, defaultResources, "),
        ({"version": 1, "resource": []}, "resource: unknown key", "did you mean resources?"),
        (rule(numa_nodes=[0]), "resources[0].numa_nodes: unknown key", "did you mean numaNodes?"),
        (rule(**{"x" * 90: 1}), f"resources[0].{'x' * 90}", "known here: name, "),
        ({"version": 1, "resources": 5}, "resources: expected a list, got 5", "None"),
        ({"version": 1, "defaultResources": 5}, "defaultResources: expected true or false, got 5", "None"),
        ({"version": 1, "hostReserved": 5}, "hostReserved: expected a list, got 5", "None"),
        ({"version": 1, "hostReserved": [5]}, "hostReserved[0]: expected keys and values, got 5", "None"),
        ({"version": 1, "provision": 5}, "provision: expected a list, got 5", "None"),
        (rules({}), "resources[0].name: missing", "the name behind qat.intel.com/, such as cy"),
        (rule(env={"A": 1}), "resources[0].env.A: expected a text, got 1", "put it in quotes"),
        (
            rules({"name": "CY"}, defaultResources=True),
            "resources[0].name: 'CY' and the default name 'cy'",
            "take that name, or ",
        ),
        ({"version": 1, "hostReserved": [{}]}, "hostReserved[0].vfs: missing", "how many VFs of each PF stay with "),
        (
            rule(services=["sym", ["asym", "dc"]]),
            "resources[0].services[0]: ",
            "sets of which any will do: [[sym], [asym, dc]]",
        ),
        (
            rules({"name": "b"}, {"name": "a"}, **keeping("cy")),
            "provision[0].minAvailable.cy: no resource has this name",
            "the name behind qat.intel.com/; known here: a, b",
        ),
        (
            {"version": 1, **keeping("qat.intel.com/cy")},
            "provision[0].minAvailable.qat.intel.com/cy: no resource has this name",
            "the name behind qat.intel.com/; known here: ",
        ),
    ],
)
def test_a_fault_is_told_from_its_key_on_with_what_mends_it(document: object, said: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(document)
    assert caught.value.message.startswith(said)
    assert str(caught.value.hint).startswith(hint)


def test_a_default_name_that_is_no_more_is_a_former_one_too() -> None:
    before = parse_config(rules({"name": "cy", "policy": "packed"}))
    after = parse_config(rules({"name": "fast"})).after(before)
    assert after.options("qat.intel.com/cy").policy is Policy.PACKED


def test_a_name_of_another_case_is_no_clash_where_there_are_no_defaults() -> None:
    assert parse_config(rules({"name": "CY"})).resources[0].name == "CY"
    assert parse_config(rules({"name": "cy", "limit": 2}, defaultResources=True)).default_resources


@pytest.mark.parametrize(
    ("document", "path", "hint"),
    [
        (rule(services=["sym", ["asym"]]), "resources[0].services[0]", "sets of which any will do: [[sym], [asym]]"),
        (rule(services=[["sym"], "asym"]), "resources[0].services[1]", "sets of which any will do: [[sym], [asym]]"),
        (rule(services=["generic", "dc"]), "resources[0].services[1]", "sets of which any will do: [generic, [dc]]"),
        (rule(services="dc"), "resources[0].services", "one set: [dc]"),
        (rule(services="sym;asym"), "resources[0].services", "one set: [sym, asym]"),
        (rule(services="sym, dc"), "resources[0].services", "one set: [sym, dc]"),
        (rule(services="cy"), "resources[0].services", "one set: [sym, asym]"),
        (rule(services=["cy"]), "resources[0].services[0]", "one set: [sym, asym]"),
        (rule(services=["cy", "dc"]), "resources[0].services[0]", "one set: [sym, asym, dc]"),
        (rule(services=["sym;asym"]), "resources[0].services[0]", "sets of which any will do: [[sym, asym]]"),
        (
            rule(services=["cy;dc", "dc"]),
            "resources[0].services[0]",
            "sets of which any will do: [[sym, asym, dc], [dc]]",
        ),
        (
            rule(services=[["sym"], ["cy"]]),
            "resources[0].services[1][0]",
            "sets of which any will do: [[sym], [sym, asym]]",
        ),
        (part(services="asym;dc"), "provision[0].split[0].services", "one set: [asym, dc]"),
        (part(services=["cy"]), "provision[0].split[0].services[0]", "one set: [sym, asym]"),
        (rule(services=["sim"]), "resources[0].services[0]", None),
        (part(services="sim;asym"), "provision[0].split[0].services", None),
        ({"version": 1, "resources": None}, "resources", "leave the key out"),
        ({"version": 1, "hostReserved": None}, "hostReserved", "leave the key out"),
        (rule(pfs=None), "resources[0].pfs", "leave the key out"),
        (rule(services=None), "resources[0].services", "leave the key out"),
        (rule(env=None), "resources[0].env", "leave the key out"),
        (rules(None), "resources[0]", None),  # type: ignore[arg-type]
        (rule(services=[["sym"], None]), "resources[0].services[1]", None),
    ],
)
def test_a_value_that_was_written_in_another_form_is_refused_with_the_right_one(
    document: dict[str, Any], path: str, hint: str | None
) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_config(document)
    assert (raised.value.key_path, raised.value.hint) == (path, hint)
