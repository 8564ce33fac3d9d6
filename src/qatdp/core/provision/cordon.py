"""Drain: since when PFs have been draining, and which are given back, as pods have kept them for too long.

One that was given back is waited for as with `when: idle`, until nobody has it or the spec is another: a drain that
began again would take the same VFs from the same pods' neighbours over and over.
"""

from collections.abc import Collection
from dataclasses import dataclass

from qatdp.core.config.spec import ProvisionSpec
from qatdp.core.model.pci import PciAddress


@dataclass(frozen=True, slots=True)
class Drain:
    """PFs that pods keep and that were taken to be drained, with the time (seconds on any one clock) of that."""

    spec: ProvisionSpec
    since_s: tuple[tuple[PciAddress, float], ...] = ()

    def after(
        self, spec: ProvisionSpec, kept: Collection[PciAddress], changing: Collection[PciAddress], now_s: float
    ) -> "Drain":
        """Return what is known after a look: `kept` are PFs that are waited for, `changing` those that drain or go."""
        known = dict(self.since_s) if spec == self.spec else {}
        begun = sorted(pf for pf in kept if pf in known or pf in changing)
        return Drain(spec, tuple((pf, known.get(pf, now_s)) for pf in begun))

    def given_back(self, now_s: float) -> frozenset[PciAddress]:
        """Return the PFs that have drained for too long."""
        limit_s = self.spec.cordon_timeout_s
        return frozenset(pf for pf, since_s in self.since_s if limit_s is not None and now_s - since_s >= limit_s)
