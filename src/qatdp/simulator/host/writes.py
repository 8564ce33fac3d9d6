"""What writes to a PF's attributes do on a simulated node, as unkindly as QAT's drivers (adf_sriov.c, adf_sysfs.c).

All VFs are enabled whatever number is written; both directions leave the PF up; what takes away a VF that somebody has
open does not fail, it waits. `FakeHost.refusals` makes one of them fail: EBUSY while a PF is in reset, for instance.
"""

import errno
import re
from collections.abc import Callable, Mapping

from qatdp.simulator.host.bus import as_address, kernel_error
from qatdp.simulator.host.node import FakeHost


def _refuse(host: FakeHost, pf: str, attribute: str, text: str) -> None:
    number = host.refusals.get((as_address(pf), f"{attribute} {text}"))
    if number is not None:
        raise kernel_error(number, host.path(pf, attribute))


def _numvfs(host: FakeHost, pf: str, text: str) -> None:
    file = host.path(pf, "sriov_numvfs")
    if not text.isdecimal():
        raise kernel_error(errno.EINVAL, file)
    number, now, total = int(text), len(host.vfs(pf)), int(host.path(pf, "sriov_totalvfs").read_text())
    if number > total:
        raise kernel_error(errno.ERANGE, file)
    if number == now:
        return
    if host.driver(pf) is None:
        raise kernel_error(errno.ENOENT, file)
    if number and now:
        raise kernel_error(errno.EBUSY, file)
    _refuse(host, pf, "sriov_numvfs", text)
    if number:
        _enable(host, pf, total)
    else:
        host.users.wait_for(host.vfs(pf))
        for vf in host.vfs(pf):
            host.remove(vf)
        host.attribute(pf, "sriov_numvfs", "0")
    if host.path(pf, "qat/state").exists():
        host.set_state(pf, "up")


def _enable(host: FakeHost, pf: str, total: int) -> None:
    probes = host.path(pf, "sriov_drivers_autoprobe").read_text() == "1\n"
    for vf in host.add_vfs(pf, total, driver=None):
        if probes:
            host.attach(vf)


def _state(host: FakeHost, pf: str, text: str) -> None:
    _refuse(host, pf, "qat/state", text)
    if text == "down":
        host.users.wait_for(host.vfs(pf))
    host.set_state(pf, text)


def _services(host: FakeHost, pf: str, text: str) -> None:
    _refuse(host, pf, "qat/cfg_services", text)
    host.set_services(pf, text)


def _auto_reset(host: FakeHost, pf: str, text: str) -> None:
    if text not in ("on", "off"):
        raise kernel_error(errno.EINVAL, host.path(pf, "qat/auto_reset"))
    host.attribute(pf, "qat/auto_reset", text)


def _autoprobe(host: FakeHost, pf: str, text: str) -> None:
    host.attribute(pf, "sriov_drivers_autoprobe", text)


PF_WRITES: Mapping[re.Pattern[str], Callable[[FakeHost, str, str], None]] = {
    re.compile(rf"devices/.*/([^/]*)/{attribute}"): act
    for attribute, act in {
        "sriov_numvfs": _numvfs,
        "sriov_drivers_autoprobe": _autoprobe,
        "qat/state": _state,
        "qat/cfg_services": _services,
        "qat/auto_reset": _auto_reset,
    }.items()
}
