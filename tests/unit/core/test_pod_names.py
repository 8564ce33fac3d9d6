"""A pod gets the name that its container and devices have alone, or that the folder of its logs has."""

import pytest

from qatdp.core.model.pci import PciAddress
from qatdp.core.pools.stale import CheckpointEntry
from qatdp.core.status.pod_names import ListedDevices, PodName, holders, name_in, names_in_list
from qatdp.core.status.report import Holder

VFS = tuple(map(PciAddress.parse, ("0000:6b:00.1", "0000:6b:00.2")))
CY, GPU = "qat.intel.com/cy", "example.com/gpu"
ONE, TWO = PodName("default", "one"), PodName("default", "two")


def pod_entry(uid: str, *devices: PciAddress, container: str = "main", resource: str = CY) -> CheckpointEntry:
    return CheckpointEntry(resource, devices, uid=uid, container=container)


def listed(pod: PodName, *devices: PciAddress, container: str = "main", resource: str = CY) -> ListedDevices:
    return ListedDevices(pod, container, resource, frozenset(devices))


def test_name_in_list_is_that_of_same_container_and_devices() -> None:
    found = names_in_list([pod_entry("a", VFS[0]), pod_entry("b", VFS[1])], [listed(TWO, VFS[1]), listed(ONE, VFS[0])])
    assert found == {"a": ONE, "b": TWO}


@pytest.mark.parametrize(
    "other",
    [listed(ONE, *VFS), listed(ONE, VFS[0], container="c"), listed(ONE, VFS[0], resource=GPU), listed(ONE)],
)
def test_name_in_list_is_unknown_when_anything_differs(other: ListedDevices) -> None:
    assert names_in_list([pod_entry("a", VFS[0])], [other]) == {}


def test_name_in_list_is_unknown_when_two_have_the_same() -> None:
    assert names_in_list([pod_entry("a", VFS[0]), pod_entry("b", VFS[0])], [listed(ONE, VFS[0])]) == {}
    assert names_in_list([pod_entry("a", VFS[0])], [listed(ONE, VFS[0]), listed(TWO, VFS[0])]) == {}


def test_name_in_list_is_unknown_without_devices() -> None:
    assert names_in_list([pod_entry("a", resource=GPU)], [listed(ONE, resource=GPU)]) == {}


def test_name_in_folder_has_namespace_pod_and_uid() -> None:
    assert name_in("kube-system_etcd-n1_0a1b2c") == ("0a1b2c", PodName("kube-system", "etcd-n1"))
    uid = "5e1d8d4e-3c0f-4b0a-8f77-9f5a1cf0a6f1"
    assert name_in(f"default_pod.a_{uid}") == (uid, PodName("default", "pod.a"))


@pytest.mark.parametrize("folder", ["", "a_b", "a_b_c_d", "a_b\n_c", "A_b_c", "__", "a_" + "b" * 254 + "_c"])
def test_name_in_folder_is_unknown_when_it_is_no_pods(folder: str) -> None:
    assert name_in(folder) is None


def test_holders_are_all_containers_of_ours_by_name_or_uid() -> None:
    pod_entries = [pod_entry("a", *VFS), pod_entry("b", VFS[0], container="init"), pod_entry("c", VFS[0], resource=GPU)]
    assert holders(pod_entries, {"a": ONE}) == {
        VFS[0]: {Holder("default", "one", "main", "a"), Holder(None, None, "init", "b")},
        VFS[1]: {Holder("default", "one", "main", "a")},
    }
