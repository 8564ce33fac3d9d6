"""A simulated node is as unkind as QAT's drivers are to whoever configures a PF."""

import errno
import threading

import pytest

from qatdp.core.model.pci import PciAddress
from qatdp.simulator.host.calls import FakeKernelCalls
from qatdp.simulator.host.node import FakeHost

PF = "0000:6b:00.0"


@pytest.fixture
def kernel(host: FakeHost) -> FakeKernelCalls:
    host.add_pf(PF, vfs=0)
    host.attribute(PF, "sriov_totalvfs", "3")
    return FakeKernelCalls(host)


def put(kernel: FakeKernelCalls, host: FakeHost, attribute: str, text: str) -> str:
    """Write an attribute of the PF; return the name of the error, "" for none."""
    try:
        kernel.write(host.path(PF, attribute), f"{text}\n".encode())
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return ""


def test_all_vfs_come_whatever_number_is_written(host: FakeHost, kernel: FakeKernelCalls) -> None:
    assert put(kernel, host, "sriov_numvfs", "1") == ""
    assert len(host.vfs(PF)) == 3
    assert host.path(PF, "sriov_numvfs").read_text() == "3\n"


def test_a_number_of_vfs_is_refused_as_the_pci_core_does(host: FakeHost, kernel: FakeKernelCalls) -> None:
    assert put(kernel, host, "sriov_numvfs", "x") == "EINVAL"
    assert put(kernel, host, "sriov_numvfs", "4") == "ERANGE"
    assert put(kernel, host, "sriov_numvfs", "0") == ""
    put(kernel, host, "sriov_numvfs", "3")
    assert put(kernel, host, "sriov_numvfs", "2") == "EBUSY"
    assert put(kernel, host, "sriov_numvfs", "3") == ""
    host.unbind(PF)
    assert put(kernel, host, "sriov_numvfs", "3") == "ENOENT"


@pytest.mark.parametrize("number", ["0", "3"])
def test_enabling_and_disabling_leave_the_pf_up(host: FakeHost, kernel: FakeKernelCalls, number: str) -> None:
    if number == "0":
        put(kernel, host, "sriov_numvfs", "3")
    else:
        put(kernel, host, "qat/state", "down")
    assert put(kernel, host, "sriov_numvfs", number) == ""
    assert host.path(PF, "qat/state").read_text() == "up\n"


def test_services_are_taken_while_the_pf_is_down_only(host: FakeHost, kernel: FakeKernelCalls) -> None:
    assert put(kernel, host, "qat/cfg_services", "dc") == "EINVAL"
    put(kernel, host, "qat/state", "down")
    assert put(kernel, host, "qat/cfg_services", "dcc;dc") == "EINVAL"
    assert put(kernel, host, "qat/cfg_services", "dc") == ""


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EBUSY])
def test_a_write_fails_where_a_test_wants_it(host: FakeHost, kernel: FakeKernelCalls, number: int) -> None:
    put(kernel, host, "qat/state", "down")
    host.refusals[PciAddress.parse(PF), "qat/state up"] = number
    assert put(kernel, host, "qat/state", "up") == errno.errorcode[number]
    assert host.path(PF, "qat/state").read_text() == "down\n"


@pytest.mark.parametrize(("attribute", "text"), [("sriov_numvfs", "0"), ("qat/state", "down")])
def test_what_takes_an_open_vf_away_waits_until_it_is_closed(
    host: FakeHost, kernel: FakeKernelCalls, attribute: str, text: str
) -> None:
    put(kernel, host, "sriov_numvfs", "3")
    vf = host.vfs(PF)[1]
    host.open_vf(vf)
    writer = threading.Thread(target=put, args=(kernel, host, attribute, text), daemon=True)
    writer.start()
    writer.join(0.05)
    assert len(host.vfs(PF)) == 3
    host.close_vf(vf)
    writer.join()
    assert host.vfs(PF) == ()
