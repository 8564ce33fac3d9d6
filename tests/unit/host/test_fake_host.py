"""FakeHost is as the kernel is, or tests on it would prove nothing."""

import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from qatdp.simulator.host.groups import Iommu
from qatdp.simulator.host.node import FakeHost, fake_host

PF = "0000:6b:00.0"
GEN2_PF = "0000:3d:00.0"


def listing(host: FakeHost) -> Mapping[str, str]:
    """Return a tree as its files with their text and its links with where they lead; of folders those without any."""
    root = host.sysfs.parent
    found = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            if path.is_symlink():
                found[str(path.relative_to(root))] = f"-> {os.readlink(path)}"
            elif path.is_file():
                found[str(path.relative_to(root))] = path.read_bytes().decode("latin-1")
            elif not os.listdir(path):
                found[str(path.relative_to(root))] = "empty"
    return found


def raises(call: Callable[[], object]) -> str:
    """Return the name of the error that a call raises."""
    with pytest.raises(OSError, match=r".") as caught:
        call()
    return errno.errorcode[caught.value.errno or 0]


# Trees, as real nodes have them

NOTHING = {
    "dev/vfio/vfio": "",
    "sys/bus/pci/devices": "empty",
    "sys/bus/pci/drivers/vfio-pci/bind": "",
    "sys/bus/pci/drivers/vfio-pci/unbind": "",
    "sys/bus/pci/drivers_probe": "",
    "sys/class/misc/vfio/dev": "10:196\n",
    "sys/kernel/iommu_groups": "empty",
    "sys/module/vfio_pci/parameters/disable_denylist": "N\n",
}


def added(host: FakeHost) -> Mapping[str, str]:
    return {path: text for path, text in listing(host).items() if path not in NOTHING}


def test_a_machine_without_devices(host: FakeHost) -> None:
    assert listing(host) == NOTHING


def test_4xxx_with_a_vf_on_vfio() -> None:
    with fake_host(cdevs=True) as host:
        host.add_pf(PF, vfs=1)
        tree = added(host)
    pf, vf = "sys/devices/pci0000:6b/0000:6b:00.0", "sys/devices/pci0000:6b/0000:6b:00.1"
    dev_cfg = (
        "[GENERAL]\nServicesEnabled = sym;asym\nHeartbeatTimer = 200\nSriovEnabled = 1\n"
        "[KERNEL]\nNumberCyInstances = 0\nNumberDcInstances = 0\n"
    )
    assert tree == {
        "dev/iommu": "",
        "dev/vfio/1": "",
        "dev/vfio/devices/vfio0": "",
        "sys/bus/pci/devices/0000:6b:00.0": "-> ../../../devices/pci0000:6b/0000:6b:00.0",
        "sys/bus/pci/devices/0000:6b:00.1": "-> ../../../devices/pci0000:6b/0000:6b:00.1",
        "sys/bus/pci/drivers/4xxx/0000:6b:00.0": "-> ../../../../devices/pci0000:6b/0000:6b:00.0",
        "sys/bus/pci/drivers/4xxx/bind": "",
        "sys/bus/pci/drivers/4xxx/unbind": "",
        "sys/bus/pci/drivers/vfio-pci/0000:6b:00.1": "-> ../../../../devices/pci0000:6b/0000:6b:00.1",
        "sys/class/misc/iommu/dev": "10:123\n",
        "sys/class/vfio/1/dev": "511:1\n",
        f"{pf}/aer_dev_correctable": "RxErr 0\nBadTLP 0\nTOTAL_ERR_COR 0\n",
        f"{pf}/aer_dev_fatal": "RxErr 0\nBadTLP 0\nTOTAL_ERR_FATAL 0\n",
        f"{pf}/aer_dev_nonfatal": "RxErr 0\nBadTLP 0\nTOTAL_ERR_NONFATAL 0\n",
        f"{pf}/class": "0x0b4000\n",
        f"{pf}/config": "\x86\x80@I",
        f"{pf}/device": "0x4940\n",
        f"{pf}/driver": "-> ../../../bus/pci/drivers/4xxx",
        f"{pf}/driver_override": "(null)\n",
        f"{pf}/enable": "0\n",
        f"{pf}/iommu_group": "-> ../../../kernel/iommu_groups/0",
        f"{pf}/numa_node": "0\n",
        f"{pf}/qat/auto_reset": "off\n",
        f"{pf}/qat/cfg_services": "sym;asym\n",
        f"{pf}/qat/num_rps": "64\n",
        f"{pf}/qat/pm_idle_enabled": "1\n",
        f"{pf}/qat/state": "up\n",
        f"{pf}/qat_ras/errors_correctable": "0\n",
        f"{pf}/qat_ras/errors_fatal": "0\n",
        f"{pf}/qat_ras/errors_nonfatal": "0\n",
        f"{pf}/sriov_drivers_autoprobe": "1\n",
        f"{pf}/sriov_numvfs": "1\n",
        f"{pf}/sriov_offset": "1\n",
        f"{pf}/sriov_stride": "1\n",
        f"{pf}/sriov_totalvfs": "16\n",
        f"{pf}/sriov_vf_device": "4941\n",
        f"{pf}/vendor": "0x8086\n",
        f"{pf}/virtfn0": "-> ../0000:6b:00.1",
        f"{vf}/class": "0x0b4000\n",
        f"{vf}/device": "0x4941\n",
        f"{vf}/driver": "-> ../../../bus/pci/drivers/vfio-pci",
        f"{vf}/driver_override": "vfio-pci\n",
        f"{vf}/enable": "0\n",
        f"{vf}/iommu_group": "-> ../../../kernel/iommu_groups/1",
        f"{vf}/numa_node": "0\n",
        f"{vf}/physfn": "-> ../0000:6b:00.0",
        f"{vf}/vendor": "0x8086\n",
        f"{vf}/vfio-dev/vfio0/dev": "510:0\n",
        "sys/kernel/debug/qat_4xxx_0000:6b:00.0/dev_cfg": dev_cfg,
        "sys/kernel/debug/qat_4xxx_0000:6b:00.0/heartbeat/queries_failed": "0\n\0",
        "sys/kernel/debug/qat_4xxx_0000:6b:00.0/heartbeat/queries_sent": "100\n\0",
        "sys/kernel/debug/qat_4xxx_0000:6b:00.0/heartbeat/status": "0\n\0",
        "sys/kernel/iommu_groups/0/devices/0000:6b:00.0": "-> ../../../../devices/pci0000:6b/0000:6b:00.0",
        "sys/kernel/iommu_groups/0/type": "DMA-FQ\n",
        "sys/kernel/iommu_groups/1/devices/0000:6b:00.1": "-> ../../../../devices/pci0000:6b/0000:6b:00.1",
        "sys/kernel/iommu_groups/1/type": "DMA-FQ\n",
    }


def test_c62x_has_no_qat_folder_and_its_dev_cfg_no_services(host: FakeHost) -> None:
    pf = host.add_pf(GEN2_PF, "c62x", vf_driver="c6xxvf")
    assert not host.path(pf, "qat").exists()
    assert host.dev_cfg(pf).parent.name == "qat_c6xx_0000:3d:00.0"
    assert "ServicesEnabled" not in host.dev_cfg(pf).read_text()
    assert [str(vf) for vf in host.vfs(pf)][::15] == ["0000:3d:01.0", "0000:3d:02.7"]


def test_noiommu_group_is_there_while_vfio_has_the_vf() -> None:
    with fake_host(iommu=Iommu.NOIOMMU) as host:
        vf = host.add_lone_vf("0000:00:06.0")
        assert (host.sysfs / "kernel/iommu_groups/0/name").read_text() == "vfio-noiommu\n"
        assert (host.sysfs / "class/vfio/noiommu-0/dev").exists()
        assert host.node(vf) == host.dev / "vfio/noiommu-0"
        host.unbind(vf)
        assert os.listdir(host.sysfs / "kernel/iommu_groups") == []
        assert os.listdir(host.dev / "vfio") == ["vfio"]


def test_every_link_leads_somewhere(host: FakeHost) -> None:
    host.fill(pfs=4, vfs=16)
    links = [path for path in host.sysfs.rglob("*") if path.is_symlink()]
    assert all(path.exists() for path in links)
    assert len(links) == 4 * 5 + 64 * 7


def test_half_of_a_machines_pfs_are_on_each_node_and_of_each_service(host: FakeHost) -> None:
    host.fill(pfs=8, vfs=0)
    assert [(str(pf.address), pf.numa_node, pf.services_text) for pf in host.scan().pfs] == [
        ("0000:6b:00.0", 0, "sym;asym"),
        ("0000:70:00.0", 0, "dc"),
        ("0000:75:00.0", 0, "sym;asym"),
        ("0000:7a:00.0", 0, "dc"),
        ("0000:e8:00.0", 1, "sym;asym"),
        ("0000:ed:00.0", 1, "dc"),
        ("0000:f2:00.0", 1, "sym;asym"),
        ("0000:f7:00.0", 1, "dc"),
    ]


# Changes


def test_what_is_removed_leaves_nothing_behind(host: FakeHost) -> None:
    pf = host.add_pf(PF)
    other = host.add_device("0000:17:00.0", driver="nvme")
    host.share_group(other, *host.vfs(pf)[:2])
    host.remove(pf)
    host.remove(other)
    assert set(listing(host)) - set(NOTHING) == {
        f"sys/bus/pci/drivers/{driver}/{file}" for driver in ("4xxx", "nvme") for file in ("bind", "unbind")
    } | {"sys/class/vfio", "sys/devices/pci0000:17", "sys/devices/pci0000:6b", "sys/kernel/debug"}


def test_a_pf_that_goes_down_loses_its_vfs_and_keeps_its_services(host: FakeHost) -> None:
    pf = host.add_pf(PF, services="dc")
    host.set_state(pf, "down")
    assert host.vfs(pf) == ()
    assert not [name for name in os.listdir(host.path(pf)) if name.startswith("virtfn")]
    assert host.path(pf, "sriov_numvfs").read_text() == "0\n"
    assert host.path(pf, "qat/cfg_services").read_text() == "dc\n"
    assert "ServicesEnabled = dc\n" in host.dev_cfg(pf).read_text()
    assert os.listdir(host.dev / "vfio") == ["vfio"]


def test_up_brings_no_vfs_back_and_new_ones_have_new_groups(host: FakeHost) -> None:
    pf = host.add_pf(PF, vfs=2)
    before = [host.group(vf) for vf in host.vfs(pf)]
    host.set_state(pf, "down")
    host.set_state(pf, "up")
    assert host.vfs(pf) == ()
    host.add_vfs(pf, 2)
    after = [host.group(vf) for vf in host.vfs(pf)]
    assert (before, after) == ([1, 2], [3, 4])


def test_vfs_are_added_to_a_pf_that_has_none_and_no_more_than_it_can_have(host: FakeHost) -> None:
    pf = host.add_pf(PF, vfs=1)
    assert raises(lambda: host.add_vfs(pf, 16)) == "EBUSY"
    host.remove(host.vfs(pf)[0])
    assert raises(lambda: host.add_vfs(pf, 17)) == "ERANGE"


@pytest.mark.parametrize("text", ["", "sym;new", "sym;asym;dc", "decomp", "dcc;sym"])
def test_gen4_refuses_services_that_it_cannot_have(host: FakeHost, text: str) -> None:
    pf = host.add_pf(PF, state="down")
    assert raises(lambda: host.set_services(pf, text)) == "EINVAL"


def test_gen6_takes_three_services_of_four(host: FakeHost) -> None:
    pf = host.add_pf(PF, "6xxx", state="down")
    host.set_services(pf, "decomp;sym;asym")
    assert host.path(pf, "qat/cfg_services").read_text() == "asym;sym;decomp\n"
    assert raises(lambda: host.set_services(pf, "decomp;sym;asym;dc")) == "EINVAL"


def test_services_are_changed_while_the_pf_is_down_only(host: FakeHost) -> None:
    pf = host.add_pf(PF)
    assert raises(lambda: host.set_services(pf, "dc")) == "EINVAL"
    assert raises(lambda: host.set_state(pf, "sideways")) == "EINVAL"
    host.set_state(pf, "down")
    host.set_services(pf, "sym;asym")
    assert host.path(pf, "qat/cfg_services").read_text() == "asym;sym\n"


def test_a_pf_without_its_driver_has_no_vfs_and_comes_back_as_it_is_by_default(host: FakeHost) -> None:
    pf = host.add_pf(PF, services="dc")
    host.unload_driver("4xxx")
    assert (host.driver(pf), host.vfs(pf), host.path(pf, "qat").exists(), host.dev_cfg(pf).exists()) == (
        None,
        (),
        False,
        False,
    )
    host.load_driver("4xxx")
    host.bind(pf, "4xxx")
    assert host.path(pf, "qat/cfg_services").read_text() == "sym;asym\n"


def test_the_node_of_a_group_stays_while_one_of_its_devices_is_on_vfio(host: FakeHost) -> None:
    first, second = host.vfs(host.add_pf(PF, vfs=2))
    number = host.share_group(first, second)
    node = host.dev / f"vfio/{number}"
    assert host.node(first) == host.node(second) == node
    host.unbind(first)
    assert node.exists()
    host.remove(second)
    assert not node.exists()


# Refusals of a driver


def test_bind_fails_as_the_kernels_does(host: FakeHost) -> None:
    (vf,) = host.vfs(host.add_pf(PF, vfs=1))
    assert raises(lambda: host.bind(vf, "qat_vfio_pci")) == "ENOENT"
    assert raises(lambda: host.bind(vf, "vfio-pci")) == "EBUSY"
    assert raises(lambda: host.bind("0000:6b:07.7", "vfio-pci")) == "ENODEV"
    host.unbind(vf)
    assert raises(lambda: host.unbind(vf)) == "ENOENT"


@pytest.mark.parametrize("family", ["c62x", "c3xxx", "dh895xcc"])
def test_vfio_pci_refuses_gen2_unless_its_denylist_is_off(host: FakeHost, family: str) -> None:
    (vf,) = host.vfs(host.add_pf(GEN2_PF, family, vfs=1, vf_driver=None))
    assert raises(lambda: host.bind(vf, "vfio-pci")) == "EINVAL"
    host.load_driver("vfio-pci", disable_denylist=True)
    host.bind(vf, "vfio-pci")
    assert host.node(vf).exists()


def test_qat_vfio_pci_refuses_a_vf_without_its_pf(host: FakeHost) -> None:
    host.load_driver("qat_vfio_pci")
    vf = host.add_lone_vf("0000:00:06.0", driver=None)
    assert raises(lambda: host.bind(vf, "qat_vfio_pci")) == "ENODEV"


def test_vfio_refuses_all_without_an_iommu() -> None:
    with fake_host(iommu=Iommu.OFF) as host:
        vf = host.add_lone_vf("0000:00:06.0", driver=None)
        assert raises(lambda: host.bind(vf, "vfio-pci")) == "EINVAL"
