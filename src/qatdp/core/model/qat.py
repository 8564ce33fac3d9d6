"""QAT itself: its device families, their generations, the services a PF can be configured for.

Ids and driver names are those of drivers/crypto/intel/qat/qat_*/adf_drv.c; families that never came into the kernel's
tree (D15xx, 200xx, C4xxx) have out-of-tree drivers only.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from typing import TypeAlias

VENDOR = 0x8086

# Drivers that hand a function to VFIO. qat_vfio_pci (6.10) adds live migration; its nodes and ioctls are vfio-pci's.
VFIO_DRIVERS = frozenset({"vfio-pci", "qat_vfio_pci"})
# Whose VFs the latter has ids of (drivers/vfio/pci/qat/main.c: 6.10, 6xxx 6.17).
QAT_VFIO_PCI_FAMILIES = frozenset({"4xxx", "401xx", "402xx", "6xxx"})


class Service(StrEnum):
    """What a PF can offer, in the order that names and the kernel (6.16 and later) list them in."""

    ASYM = "asym"
    SYM = "sym"
    DC = "dc"  # compression and decompression
    DECOMP = "decomp"  # decompression only, 6.17
    DCC = "dcc"  # chaining of hash and compression


Services: TypeAlias = frozenset[Service]
FIRST_SELECTABLE = 4  # generation; before it every function does crypto and compression alike
GEN6 = 6
MOST_SERVICES = {4: 2, GEN6: 3}  # of a PF at a time, by its generation (adf_cfg_services.c)
CRYPTO: Services = frozenset({Service.SYM, Service.ASYM})
GENERIC = "generic"
# `cy` is the out-of-tree driver's, of its ServicesEnabled, which its dev_cfg shows.
WORDS: Mapping[str, Services] = {**{service.value: frozenset({service}) for service in Service}, "cy": CRYPTO}


@dataclass(frozen=True, slots=True)
class Family:
    """Devices of one make. `selectable` tells whether a PF's services can be chosen (gen4 and later)."""

    name: str
    pf_device: int
    vf_device: int
    pf_driver: str
    vf_driver: str  # of the host's kernel; there is none in tree for gen4 and later
    generation: int
    denylisted: bool = False  # vfio-pci refuses it unless disable_denylist=1 (drivers/vfio/pci/vfio_pci.c, 5.9)

    @property
    def selectable(self) -> bool:
        return self.generation >= FIRST_SELECTABLE

    @property
    def module(self) -> str:
        """The kernel module of the PF's driver."""
        return "qat_c62x" if self.pf_driver == "c6xx" else f"qat_{self.pf_driver}"


FAMILIES = (
    Family("dh895xcc", 0x0435, 0x0443, "dh895xcc", "dh895xccvf", 2, denylisted=True),
    Family("c62x", 0x37C8, 0x37C9, "c6xx", "c6xxvf", 2, denylisted=True),
    Family("c3xxx", 0x19E2, 0x19E3, "c3xxx", "c3xxxvf", 2, denylisted=True),
    Family("d15xx", 0x6F54, 0x6F55, "d15xx", "d15xxvf", 2),
    Family("200xx", 0x18EE, 0x18EF, "200xx", "200xxvf", 2),
    Family("c4xxx", 0x18A0, 0x18A1, "c4xxx", "c4xxxvf", 3),
    Family("4xxx", 0x4940, 0x4941, "4xxx", "4xxxvf", 4),
    Family("401xx", 0x4942, 0x4943, "4xxx", "4xxxvf", 4),
    Family("402xx", 0x4944, 0x4945, "4xxx", "4xxxvf", 4),
    Family("420xx", 0x4946, 0x4947, "420xx", "420xxvf", 4),
    Family("6xxx", 0x4948, 0x4949, "6xxx", "6xxxvf", 6),
)
FAMILY_OF_PF = {family.pf_device: family for family in FAMILIES}
FAMILY_OF_VF = {family.vf_device: family for family in FAMILIES}


def parse_services(text: str) -> Services | None:
    """Return the services that `cfg_services` or `ServicesEnabled` names; None where one is unknown or there is none.

    A set, because kernels differ in order: 6.16 and later write back in an order of their own what was written in any.
    """
    words = _words(text)
    if not words or unknown_words(text):
        return None
    return frozenset(service for word in words for service in WORDS[word])


def unknown_words(text: str) -> tuple[str, ...]:
    """Return the words in it that are no services known here."""
    return tuple(word for word in _words(text) if word not in WORDS)


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(";") if word.strip()]


def in_order(services: Iterable[Service]) -> tuple[Service, ...]:
    """Return services in the one order that qatdp writes them in."""
    order = tuple(Service)
    return tuple(sorted(services, key=order.index))


def refused_services(family: Family, services: Services) -> str | None:
    """Return why a PF of a family can never be configured for these services; None where it can.

    What a kernel knows of them is another matter: decomp is new in 6.17, three services are in 6.16.
    """
    if not family.selectable:
        return f"{family.name} has no services to choose from"
    if Service.DCC in services and len(services) > 1:
        return "dcc goes with no other service"
    if Service.DECOMP in services and family.generation < GEN6:
        return f"{family.name} has no decomp"
    most = MOST_SERVICES[family.generation]
    return f"{family.name} takes {most} services at most" if len(services) > most else None


def as_written(services: Services) -> str:
    """Return the text that cfg_services is given: of two orders the one that kernels before 6.5 take as well."""
    return "sym;asym" if services == CRYPTO else ";".join(in_order(services))


def default_name(services: Services | None) -> str:
    """Return the name, without its domain, of the resource for a set of services, as Intel's plugin calls it.

    {sym, asym} is `cy`; other sets are their services joined by `-`. None, which stands for devices whose services
    cannot be chosen or are not known, is `generic`.
    """
    if services is None:
        return GENERIC
    return "cy" if services == CRYPTO else "-".join(in_order(services))


def default_names() -> frozenset[str]:
    """Return every name that default_name can give."""
    sets = (frozenset(some) for size in range(1, len(Service) + 1) for some in combinations(Service, size))
    return frozenset(map(default_name, (None, *sets)))
