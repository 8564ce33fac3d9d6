"""What can happen to a node: its VFs come and go, its PFs go down and offer other services."""

import random
from collections.abc import Callable, Sequence
from functools import partial

from qatdp.core.config.model import default_resource
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.qat import parse_services
from qatdp.simulator.host.node import FakeHost

SERVICES = ("sym;asym", "dc", "asym", "sym;dc")


class Changes:
    """Changes a node with some PFs on 4xxx, each with up to `vfs` VFs, as chance has it."""

    def __init__(self, host: FakeHost, pfs: Sequence[PciAddress], vfs: int, chance: random.Random) -> None:
        self._host, self._pfs, self._vfs, self._chance = host, pfs, vfs, chance

    def one(self) -> str:
        """Change one thing; return what it was."""
        pf = self._chance.choice(self._pfs)
        what, do = self._chance.choice(self._possible(pf))
        do()
        return f"{pf} {what}"

    def _possible(self, pf: PciAddress) -> list[tuple[str, Callable[[], object]]]:
        host = self._host
        if host.path(pf, "qat/state").read_text() != "up\n":
            return [("comes up", lambda: self._bring_up(pf))]
        services = self._chance.choice(SERVICES)
        possible: list[tuple[str, Callable[[], object]]] = [
            ("goes down", lambda: host.set_state(pf, "down")),
            (f"offers {services} now", lambda: self._reconfigure(pf, services)),
        ]
        vfs = host.vfs(pf)
        if vfs:
            vf = self._chance.choice(vfs)
            driver = [(f"has {vf} without a driver", lambda: host.unbind(vf))] if host.driver(vf) else []
            possible += [(f"loses {vf}", lambda: host.remove(vf)), *driver]
        possible += [(f"gets its VF {n} back", partial(host.add_vf, pf, n)) for n in self._missing(pf)]
        possible += [(f"has {one} on VFIO again", partial(host.bind, one, "vfio-pci")) for one in self._unbound(pf)]
        return possible

    def _missing(self, pf: PciAddress) -> list[int]:
        return sorted(set(range(self._vfs)) - {vf.number - pf.number - 1 for vf in self._host.vfs(pf)})

    def _unbound(self, pf: PciAddress) -> list[PciAddress]:
        return [vf for vf in self._host.vfs(pf) if self._host.driver(vf) is None]

    def _bring_up(self, pf: PciAddress) -> None:
        self._host.set_state(pf, "up")
        self._host.add_vfs(pf, self._vfs)

    def _reconfigure(self, pf: PciAddress, services: str) -> None:
        self._host.set_state(pf, "down")
        self._host.set_services(pf, services)
        self._bring_up(pf)

    def restore(self, services: Sequence[str]) -> None:
        """Give each PF its services and all its VFs, on VFIO."""
        for pf, text in zip(self._pfs, services, strict=True):
            self._reconfigure(pf, text)

    def there_is(self) -> dict[str, frozenset[str]]:
        """Return the VFs on VFIO by the resource of their services, as it is where no configuration says more."""
        found: dict[str, frozenset[str]] = {}
        for pf in self._pfs:
            name = default_resource(parse_services(self._host.path(pf, "qat/cfg_services").read_text()))
            on_vfio = {str(vf) for vf in self._host.vfs(pf) if self._host.driver(vf)}
            found[name] = found.get(name, frozenset()) | on_vfio
        return {name: vfs for name, vfs in found.items() if vfs}
