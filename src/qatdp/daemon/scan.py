"""ScanAndBind: one scan of the node, and the bindings that follow from it. Runs in the worker's thread."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from qatdp.core.config.model import Config
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.snapshot import Snapshot
from qatdp.core.pools.binding import Binding, BindMode, plan_bindings
from qatdp.core.pools.placement import of_unknown_services, of_unknown_words, placements
from qatdp.core.provision.refusals import Refused, bind_refusal
from qatdp.core.reasons import Defect, Reason, defect
from qatdp.host.calls.abc import BulkCalls, HostCalls
from qatdp.host.pf.binder import Binder
from qatdp.host.scanner import SysfsScanner

log = logging.getLogger(__name__)

SERVICES_HINT = (
    "its VFs are generic: kernel 6.0 or later tells services in qat/cfg_services, an older one at most in debugfs, "
    "if /sys/kernel/debug is mounted and can be read"
)
WORDS_HINT = "its VFs are generic, as this qatdp does not know these words of its services: a newer one may"


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What a scan has shown: `unbound` tells why VFs that were to be bound are not."""

    snapshot: Snapshot
    bound: tuple[Binding, ...]
    unbound: Mapping[PciAddress, Defect]


class ScanAndBind:
    """`sysfs` stands for /sys, `dev` for /dev. `bulk` scans; None for `calls`."""

    def __init__(
        self,
        sysfs: Path,
        dev: Path,
        calls: HostCalls,
        mode: BindMode = BindMode.NEVER,
        bulk: BulkCalls | None = None,
    ) -> None:
        self._scanner = SysfsScanner(sysfs, dev, bulk or calls)
        self._binder = Binder(sysfs, calls)
        self._mode = mode
        self._refused: dict[Binding, Refused] = {}  # those that cost another driver its device for nothing

    def __call__(self, config: Config) -> ScanResult:
        """Scan, bind what is to be bound, and scan again where something was."""
        snapshot = self._scanner.scan()
        plan = plan_bindings(snapshot, config, placements(snapshot, config), self._mode)
        outcome = {binding: self._refused.get(binding) or self._binder.bind(binding) for binding in plan}
        # Tried once: each try unbinds and binds, whose events lead to the next look. Once more after the driver was
        # loaded again, perhaps with other options.
        self._refused = {
            b: error for b, error in outcome.items() if error and b.release and b.driver in snapshot.drivers
        }
        bound = tuple(binding for binding, error in outcome.items() if error is None)
        unbound = {binding.address: _why(snapshot, binding, error) for binding, error in outcome.items() if error}
        return ScanResult(self._scanner.scan() if bound else snapshot, bound, unbound)


def _why(snapshot: Snapshot, binding: Binding, error: Refused) -> Defect:
    vf = snapshot.vf(binding.address)
    if vf is None:
        return defect(Reason.BIND_FAILED, problem=error.text)
    loaded, has_group = binding.driver in snapshot.drivers, vf.iommu_group is not None
    problem = bind_refusal(vf.family, binding.driver, error, loaded=loaded, has_group=has_group)
    return defect(Reason.BIND_FAILED, problem=problem)


def log_scan(seen: ScanResult, before: Snapshot) -> None:
    """Log what a scan has bound, and what cannot be read or known that could be before."""
    for binding in seen.bound:
        log.info("bound vf=%s driver=%s from=%s", binding.address, binding.driver, binding.release)
    for problem in sorted(set(seen.snapshot.problems) - set(before.problems)):
        log.warning("problem where=%s reason=%r", problem.where, problem.reason)
    for pf in sorted(of_unknown_services(seen.snapshot) - of_unknown_services(before)):
        log.warning("services unknown pf=%s hint=%r", pf, SERVICES_HINT)
    for pf, words in sorted(of_unknown_words(seen.snapshot) - of_unknown_words(before)):
        log.warning("services unknown pf=%s words=%r hint=%r", pf, words, WORDS_HINT)
