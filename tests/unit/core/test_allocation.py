"""A container is given what was chosen for it, in words that every client of QAT reads, whatever else it is given."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import addresses, configs, snapshots

from qatdp.core.config.model import AddressVariable, Config, DeviceNode, ResourceOptions, parse_config, variable_of
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.snapshot import Snapshot
from qatdp.core.pools import allocation
from qatdp.core.pools.allocation import PERMISSIONS, Allocation, check_closed, check_start, environment
from qatdp.core.pools.pools import PoolDevice, ResourcePool, build_pools
from qatdp.core.reasons import Defect, Reason, defect
from qatdp.core.release.protocol import Step
from qatdp.errors import AllocationError, OpenDeviceError, UnknownDeviceError

CY = "qat.intel.com/cy"
DOWN = defect(Reason.PF_DOWN, evidence="is down", pf="0000:6b:00.0")


def allocate(pool: ResourcePool, ids: Iterable[str], step: Step | None = Step.AVAILABLE) -> Allocation:
    """Ask for IDs that are all at one step of the ledger."""
    return allocation.allocate(pool, ids, lambda _: step)


def device(function: int, *, vf_defect: Defect | None = None, withdrawn: bool = False) -> PoolDevice:
    address = PciAddress(0, 0x6B, 0, function)
    nodes = (f"/dev/vfio/{function}", "/dev/vfio/vfio")
    return PoolDevice(address, nodes=nodes, vf_defect=vf_defect, withdrawn=withdrawn)


def a_pool(*devices: PoolDevice, options: ResourceOptions | None = None) -> ResourcePool:
    return ResourcePool(CY, devices, options or ResourceOptions())


def ids(pool: ResourcePool) -> list[str]:
    return [str(one.address) for one in pool.devices]


def addresses_for_dpdk(env: Mapping[str, str]) -> list[str]:
    """Return what Intel's DPDK image takes for addresses: the value of each variable that begins with QAT."""
    return sorted(value for name, value in env.items() if name.startswith("QAT") and name != "QAT_POLICY")


def merged(answers: Iterable[Allocation]) -> Mapping[str, str]:
    """Return a container's environment as the kubelet puts it together: the first value of a variable wins."""
    env: dict[str, str] = {}
    for answer in answers:
        env = {**answer.env, **env}
    return env


@given(snapshots(), configs(), st.data())
def test_each_device_of_a_container_is_named_once_in_any_order_of_its_resources(
    snapshot: Snapshot, config: Config, data: st.DataObject
) -> None:
    pools = build_pools(snapshot, config, {}, moment=1)[0].pools
    chosen = {name: data.draw(st.sets(st.sampled_from(ids(pool)), min_size=1)) for name, pool in pools.items()}
    order = data.draw(st.permutations(sorted(chosen)))
    env = merged(allocate(pools[name], chosen[name]) for name in order)
    assert addresses_for_dpdk(env) == sorted(text for some in chosen.values() for text in some)
    for name, some in chosen.items():
        assert env[variable_of(name)].split(",") == sorted(some, key=PciAddress.parse)


@given(snapshots(), configs())
def test_each_device_has_its_node_and_the_one_that_all_share_is_there_once(snapshot: Snapshot, config: Config) -> None:
    pools = build_pools(snapshot, config, {}, moment=1)[0].pools
    answers = [allocate(pool, ids(pool)) for pool in pools.values()]
    for answer in answers:
        own = [node for node in answer.nodes if node not in {"/dev/vfio/vfio", "/dev/iommu"}]
        shared = "/dev/iommu" if own[0].startswith("/dev/vfio/devices/") else "/dev/vfio/vfio"
        assert list(answer.nodes) == sorted([*own, shared])
        assert len(set(own)) == len(answer.devices)


@given(snapshots(), configs(), st.data())
def test_the_same_ids_in_any_order_get_the_same_answer(snapshot: Snapshot, config: Config, data: st.DataObject) -> None:
    for pool in build_pools(snapshot, config, {}, moment=1)[0].pools.values():
        some = data.draw(st.lists(st.sampled_from(ids(pool)), min_size=1, unique=True))
        answer = allocate(pool, some)
        again = allocate(pool, [*data.draw(st.permutations(some)), some[0]])
        assert answer == again
        assert list(answer.env.items()) == list(again.env.items())
        assert answer.devices == tuple(sorted(map(PciAddress.parse, some)))


@given(st.lists(addresses(), min_size=1, unique=True))
def test_variables_of_devices_never_collide(some: list[PciAddress]) -> None:
    env = environment(a_pool(), some)
    assert addresses_for_dpdk(env) == sorted(map(str, some))
    assert len(env) == len(some) + 2


@pytest.mark.parametrize(
    ("kinds", "names"),
    [
        ({"pcidevice"}, {"PCIDEVICE_QAT_INTEL_COM_CY"}),
        ({"qat"}, {"QAT27393", "QAT27394"}),
        ({"index"}, {"QAT0", "QAT1"}),
        ({"index", "qat"}, {"QAT0", "QAT1", "QAT27393", "QAT27394"}),
        ({"kubevirt"}, {"PCI_RESOURCE_QAT_INTEL_COM_CY"}),
    ],
)
def test_environment_has_the_variables_that_are_asked_for(kinds: set[str], names: set[str]) -> None:
    config = parse_config({"version": 1, "resources": [{"name": "cy", "addressVariables": sorted(kinds)}]})
    pool = a_pool(options=config.options(CY))
    some = [PciAddress(0, 0x6B, 0, 1), PciAddress(0, 0x6B, 0, 2)]
    env = environment(pool, some)
    assert env.keys() == names | {"PCIDEVICE_QAT_INTEL_COM_CY"}
    assert {text for value in env.values() for text in value.split(",")} == set(map(str, some))


def test_index_counts_in_the_order_of_addresses() -> None:
    pool = a_pool(options=ResourceOptions(address_variables=frozenset({AddressVariable.INDEX})))
    some = [PciAddress(0, 0x6B, 0, 1), PciAddress(0, 0x70, 0, 1)]
    env = environment(pool, some)
    assert [env["QAT0"], env["QAT1"]] == ["0000:6b:00.1", "0000:70:00.1"]


def test_kubevirt_variable_is_named_as_kubevirt_looks_for_it() -> None:
    """It replaces dots and slashes alone, the SR-IOV convention all but letters and digits."""
    pool = ResourcePool("qat.intel.com/asym-dc", ())
    assert set(environment(pool, [])) == {"PCIDEVICE_QAT_INTEL_COM_ASYM_DC", "PCI_RESOURCE_QAT_INTEL_COM_ASYM-DC"}


def test_an_answer_to_the_letter() -> None:
    options = ResourceOptions(qat_policy=2, env=(("LIB_X", "1"),))
    assert allocate(a_pool(device(1), device(2), device(3), options=options), ["0000:6b:00.2", "0000:6b:00.1"]) == (
        Allocation(
            devices=(PciAddress(0, 0x6B, 0, 1), PciAddress(0, 0x6B, 0, 2)),
            nodes=("/dev/vfio/1", "/dev/vfio/2", "/dev/vfio/vfio"),
            env={
                "LIB_X": "1",
                "PCIDEVICE_QAT_INTEL_COM_CY": "0000:6b:00.1,0000:6b:00.2",
                "PCI_RESOURCE_QAT_INTEL_COM_CY": "0000:6b:00.1,0000:6b:00.2",
                "QAT27393": "0000:6b:00.1",
                "QAT27394": "0000:6b:00.2",
                "QAT_POLICY": "2",
            },
        )
    )


def test_nodes_can_be_read_and_written_but_not_made() -> None:
    assert PERMISSIONS == "rw"


def test_an_id_that_is_not_in_the_list_is_refused() -> None:
    with pytest.raises(UnknownDeviceError) as caught:
        allocate(a_pool(device(1)), ["0000:6b:00.1", "0000:6b:00.2"])
    assert (caught.value.grpc_code, caught.value.reason) == ("NOT_FOUND", Reason.NOT_LISTED)
    assert "0000:6b:00.2" in str(caught.value)
    assert "try again" in str(caught.value.hint)


@pytest.mark.parametrize("withdrawn", [True, False])
def test_a_sick_id_that_nobody_has_is_refused_with_the_reason(*, withdrawn: bool) -> None:
    pool = a_pool(device(1, vf_defect=DOWN, withdrawn=withdrawn), device(2))
    with pytest.raises(AllocationError, match=r"0000:6b:00\.1 of qat.*") as caught:
        allocate(pool, ["0000:6b:00.2", "0000:6b:00.1"])
    assert (caught.value.grpc_code, caught.value.reason) == ("FAILED_PRECONDITION", Reason.PF_DOWN)


def test_a_sick_id_that_somebody_may_have_is_answered_as_a_good_one() -> None:
    sick = allocate(a_pool(device(1, vf_defect=DOWN)), ["0000:6b:00.1"], Step.HELD)
    assert sick == allocate(a_pool(device(1)), ["0000:6b:00.1"])


def test_an_id_whose_node_another_pod_has_is_refused_whoever_may_have_it() -> None:
    taken = replace(device(1, vf_defect=defect(Reason.NODE_CLAIMED, node="/dev/vfio/1")), claimed_elsewhere=True)
    with pytest.raises(AllocationError) as caught:
        allocate(a_pool(taken), ["0000:6b:00.1"], Step.HELD)
    assert caught.value.reason is Reason.NODE_CLAIMED


def test_an_id_that_is_being_withdrawn_is_granted() -> None:
    withdrawn = allocate(a_pool(device(1, withdrawn=True)), ["0000:6b:00.1"])
    assert withdrawn == allocate(a_pool(device(1)), ["0000:6b:00.1"])


def test_a_device_whose_nodes_are_not_known_is_refused_whoever_has_it() -> None:
    pool = a_pool(PoolDevice(PciAddress(0, 0x6B, 0, 1)))
    with pytest.raises(AllocationError) as caught:
        allocate(pool, ["0000:6b:00.1"], Step.HELD)
    assert caught.value.reason is Reason.NODES_UNKNOWN


@pytest.mark.parametrize("step", [None, Step.RELEASED, Step.GONE])
def test_allocate_refuses_what_the_ledger_lists_no_more_whatever_the_pool_has(step: Step | None) -> None:
    with pytest.raises(UnknownDeviceError):
        allocate(a_pool(device(1)), ["0000:6b:00.1"], step)


def test_a_pool_of_cdev_nodes_is_answered_with_iommufd() -> None:
    address = PciAddress(0, 0x6B, 0, 1)
    cdev = PoolDevice(address, nodes=("/dev/vfio/devices/vfio3", "/dev/iommu"))
    answer = allocate(a_pool(cdev, options=ResourceOptions(device_node=DeviceNode.CDEV)), [str(address)])
    assert answer.nodes == ("/dev/iommu", "/dev/vfio/devices/vfio3")


def test_a_container_is_not_started_with_what_is_anothers_by_now() -> None:
    pool = a_pool(device(1), replace(device(2), outdated=True))
    with pytest.raises(AllocationError, match=r"0000:6b:00.2 of .*") as caught:
        check_start(pool, ["0000:6b:00.1", "0000:6b:00.2"])
    assert caught.value.reason is Reason.NODE_CHANGED
    assert "delete the pod" in str(caught.value.hint)
    check_start(pool, ["0000:6b:00.1"])
    check_start(pool, ["0000:6b:00.3", "no address"])  # what is not known is let start


def test_starts_are_asked_for_only_while_an_answer_is_outdated() -> None:
    assert not a_pool(device(1), device(2, vf_defect=DOWN)).pre_start_required
    assert a_pool(device(1), replace(device(2), outdated=True)).pre_start_required


def test_check_closed_names_the_function_that_is_open() -> None:
    own, neighbour = PciAddress(0, 0x6B, 0, 1), PciAddress(0, 0x6B, 0, 2)
    allocated = Allocation((own,), ("/dev/vfio/1",), {}, (own, neighbour))
    check_closed(a_pool(device(1)), allocated, ())
    for opened, reason in ((own, Reason.DEVICE_OPEN), (neighbour, Reason.GROUP_OPEN)):
        with pytest.raises(OpenDeviceError) as caught:
            check_closed(a_pool(device(1)), allocated, {opened})
        assert caught.value.reason is reason
        assert str(opened) in str(caught.value)


def test_check_start_refuses_a_vf_of_two_pods_while_it_is_open() -> None:
    shared = replace(device(1), shared=True, functions=(PciAddress(0, 0x6B, 0, 1),))
    check_start(a_pool(shared), ["0000:6b:00.1"])
    with pytest.raises(OpenDeviceError) as caught:
        check_start(a_pool(shared), ["0000:6b:00.1"], shared.functions)
    assert caught.value.reason is Reason.GIVEN_TWICE
