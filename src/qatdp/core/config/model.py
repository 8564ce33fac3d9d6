"""The configuration: which VFs become which resource, and how each resource behaves.

This is the model and the reading of it from plain values (what a YAML file holds); configfile.py reads the file,
core/config/schema.py says the same as a JSON schema. Every fault is a ConfigError with its key path.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from qatdp.core.config import readers
from qatdp.core.config.spec import ProvisionSpec
from qatdp.core.config.spec_parser import check_reachable, read_wish
from qatdp.core.model.pci import PciAddress
from qatdp.core.model.qat import FAMILIES, GENERIC, VFIO_DRIVERS, Services, default_name, default_names
from qatdp.core.text import cut, shown
from qatdp.errors import ConfigError

VERSION = 1
DOMAIN = "qat.intel.com"

# The part of an extended resource's name behind the domain (kubelet: pkg/apis/core/v1/helper, IsExtendedResourceName).
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
# And its domain (k8s.io/apimachinery, IsQualifiedName: RFC 1123).
SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
DOMAIN_CHARACTERS = 253
SELECTOR_KEYS = ("pfs", "numaNodes", "families", "drivers")
OPTION_KEYS = ("policy", "deviceNode", "qatPolicy", "env", "addressVariables")
RESERVED_PREFIXES = ("PCIDEVICE_", "PCI_RESOURCE_")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Policy(StrEnum):
    """Which of the free VFs a request gets."""

    LOCAL = "local"  # one NUMA node, then as few PFs as needed
    PACKED = "packed"  # one PF is filled before the next
    BALANCED = "balanced"  # spread over the PFs


class DeviceNode(StrEnum):
    """Which device nodes a container gets: the group's (every client knows them), or the device's own (iommufd)."""

    GROUP = "group"
    CDEV = "cdev"


class AddressVariable(StrEnum):
    """Which variables carry the addresses of a container's VFs, so that each program finds the one that it reads."""

    PCIDEVICE = "pcidevice"  # PCIDEVICE_<RESOURCE>, of the SR-IOV device plugin: always there
    QAT = "qat"  # QAT<n> for each VF, where n derives from the address
    INDEX = "index"  # QAT0, QAT1, ..., as Intel's plugin has them
    KUBEVIRT = "kubevirt"  # PCI_RESOURCE_<RESOURCE>, from which KubeVirt takes devices of other plugins


DEFAULT_VARIABLES = frozenset({AddressVariable.PCIDEVICE, AddressVariable.QAT, AddressVariable.KUBEVIRT})


@dataclass(frozen=True, slots=True)
class Selector:
    """Which functions are meant; None means any."""

    pfs: frozenset[PciAddress] | None = None
    numa_nodes: frozenset[int] | None = None
    families: frozenset[str] | None = None
    drivers: frozenset[str] | None = None  # the VFIO driver that has the VF, or would get it


@dataclass(frozen=True, slots=True)
class ResourceOptions:
    """How a resource behaves."""

    policy: Policy = Policy.LOCAL
    device_node: DeviceNode = DeviceNode.GROUP
    qat_policy: int | None = None  # QAT_POLICY for qatlib: how many of the container's VFs one process takes
    env: tuple[tuple[str, str], ...] = ()
    address_variables: frozenset[AddressVariable] = DEFAULT_VARIABLES


@dataclass(frozen=True, slots=True)
class ResourceRule:
    """One entry of `resources`. `services` None means any; in it, None stands for devices of unknown services."""

    name: str
    services: frozenset[Services | None] | None = None
    selector: Selector = Selector()
    limit: int | None = None
    options: ResourceOptions = ResourceOptions()


@dataclass(frozen=True, slots=True)
class HostShare:
    """VFs that stay with the host: the first `vfs` of each PF that is meant."""

    vfs: int
    pfs: frozenset[PciAddress] | None = None


@dataclass(frozen=True, slots=True)
class Config:
    """The whole of it. Without rules, each set of services is a resource of its own, named as Intel's plugin does."""

    resources: tuple[ResourceRule, ...] = ()
    default_resources: bool = True  # VFs that no rule selects get the default names
    host_reserved: tuple[HostShare, ...] = ()
    vfio_driver: str = "vfio-pci"
    allow_no_iommu: bool = False  # offer VFs that no IOMMU keeps apart: whoever has one can reach all memory
    provision: tuple[ProvisionSpec, ...] = ()  # what PFs should be; the first that is about this node holds
    # Of names that are no more: what is held by one is answered as before. No part of what a file says.
    former: tuple[ResourceRule, ...] = field(default=(), compare=False)

    def options(self, resource: str) -> ResourceOptions:
        """Return the options of a resource by its full name."""
        rules = (*self.resources, *self.former)
        return next((rule.options for rule in rules if full_name(rule.name) == resource), ResourceOptions())

    def after(self, other: "Config") -> "Config":
        """Return this configuration as the successor of another."""
        names = {rule.name for rule in self.resources} | (default_names() if self.default_resources else frozenset())
        return replace(self, former=tuple(rule for rule in (*other.resources, *other.former) if rule.name not in names))

    def kept(self, pf: PciAddress | None) -> int:
        """Return how many of the first VFs of a PF stay with the host."""
        shares = (share.vfs for share in self.host_reserved if share.pfs is None or pf in share.pfs)
        return max(shares, default=0)

    def limit(self, resource: str) -> int | None:
        return next((rule.limit for rule in self.resources if full_name(rule.name) == resource), None)


def full_name(name: str) -> str:
    return f"{DOMAIN}/{name}"


def is_extended_resource(name: str) -> bool:
    """Return whether a kubelet can have registered a resource of this name: a domain, a slash and a name."""
    domain, _, rest = name.partition("/")
    return len(domain) <= DOMAIN_CHARACTERS and bool(SUBDOMAIN.fullmatch(domain)) and bool(NAME.fullmatch(rest))


def is_ours(resource: str) -> bool:
    """Return whether a resource is one that qatdp may serve. Other plugins use PCI addresses as IDs as well."""
    return resource.startswith(f"{DOMAIN}/")


def variable_of(resource: str) -> str:
    """Return the environment variable that lists a resource's devices, after the SR-IOV device plugin's convention."""
    return "PCIDEVICE_" + re.sub(r"[^A-Z0-9]", "_", resource.upper())


def kubevirt_variable_of(resource: str) -> str:
    """Return the variable in which KubeVirt looks for a resource's devices; it replaces dots and slashes alone
    (pkg/util, ResourceNameToEnvVar)."""
    return "PCI_RESOURCE_" + resource.upper().replace("/", "_").replace(".", "_")


def parse_config(document: object) -> Config:
    """Return the configuration that plain values describe; raises ConfigError for the first fault."""
    top = readers.a_mapping(document, "")
    readers.only_known(
        top, "", "version", "resources", "defaultResources", "hostReserved", "vfioDriver", "allowNoIommu", "provision"
    )
    if "version" not in top:
        raise ConfigError("version", "missing", hint=f"this qatdp knows version: {VERSION}")
    if top["version"] != VERSION or isinstance(top["version"], bool):
        raise ConfigError(
            "version", f"expected {VERSION}, got {shown(top['version'])}", hint="see: qatdp config schema"
        )
    rules = readers.each(top, "", "resources", _rule)
    defaults = readers.a_flag(top, "", "defaultResources", default=not rules)
    _check_names(rules, default_names() if defaults else ())
    config = Config(
        resources=rules,
        default_resources=defaults,
        host_reserved=readers.each(top, "", "hostReserved", _host_share),
        vfio_driver=readers.a_choice(top.get("vfioDriver", "vfio-pci"), "vfioDriver", sorted(VFIO_DRIVERS)),
        allow_no_iommu=readers.a_flag(top, "", "allowNoIommu", default=False),
        provision=readers.each(top, "", "provision", read_wish),
    )
    check_reachable(config.provision)
    _check_least(config.provision, {*(rule.name for rule in rules), *(default_names() if defaults else ())})
    return config


def _rule(value: object, path: str) -> ResourceRule:
    rule = readers.a_mapping(value, path)
    readers.only_known(rule, path, "name", "services", *SELECTOR_KEYS, "limit", *OPTION_KEYS)
    if "name" not in rule:
        raise ConfigError(f"{path}.name", "missing", hint="the name behind qat.intel.com/, such as cy")
    name = rule["name"]
    if not isinstance(name, str) or not NAME.fullmatch(name):
        hint = "letters, digits, '.', '_', '-', at most 63; qat.intel.com/ is put before it"
        raise ConfigError(f"{path}.name", f"expected a resource's name, got {shown(name)}", hint=hint)
    return ResourceRule(
        name=name,
        services=_services(rule["services"], f"{path}.services") if "services" in rule else None,
        selector=_selector(rule, path),
        limit=readers.a_count(rule["limit"], f"{path}.limit") if "limit" in rule else None,
        options=_options(rule, path),
    )


def _selector(rule: Mapping[str, object], path: str) -> Selector:
    families = [family.name for family in FAMILIES]
    return Selector(
        pfs=readers.a_set(rule, path, "pfs", readers.an_address),
        numa_nodes=readers.a_set(rule, path, "numaNodes", readers.a_count),
        families=readers.a_set(rule, path, "families", lambda value, key: readers.a_choice(value, key, families)),
        drivers=readers.a_set(
            rule, path, "drivers", lambda value, key: readers.a_choice(value, key, sorted(VFIO_DRIVERS))
        ),
    )


def _options(rule: Mapping[str, object], path: str) -> ResourceOptions:
    return ResourceOptions(
        policy=Policy(readers.a_choice(rule.get("policy", Policy.LOCAL), f"{path}.policy", list(Policy))),
        device_node=DeviceNode(
            readers.a_choice(rule.get("deviceNode", DeviceNode.GROUP), f"{path}.deviceNode", list(DeviceNode))
        ),
        qat_policy=readers.a_count(rule["qatPolicy"], f"{path}.qatPolicy", least=1) if "qatPolicy" in rule else None,
        env=_env(rule.get("env", {}), f"{path}.env"),
        address_variables=_address_variables(rule, path),
    )


def _address_variables(rule: Mapping[str, object], path: str) -> frozenset[AddressVariable]:
    if "addressVariables" not in rule:
        return DEFAULT_VARIABLES
    known = list(AddressVariable)
    words = readers.each(rule, path, "addressVariables", lambda word, key: readers.a_choice(word, key, known))
    return frozenset({AddressVariable.PCIDEVICE, *map(AddressVariable, words)})


def _services(value: object, path: str) -> frozenset[Services | None]:
    """Read one set of services, `generic`, or a list of those of which any will do."""
    if isinstance(value, list) and any(isinstance(word, list) or word == GENERIC or _is_set(word) for word in value):
        hint = f"sets of which any will do: [{', '.join(map(_as_set, value))}]"
        return frozenset(readers.a_service_set(word, f"{path}[{index}]", hint) for index, word in enumerate(value))
    return frozenset({readers.a_service_set(value, path, f"one set: {_as_set(value)}")})


def _is_set(word: object) -> bool:
    """Return whether a word is a set as cfg_services writes it."""
    return isinstance(word, str) and ";" in word


def _as_set(word: object) -> str:
    """Return what was perhaps meant by a word that stands where a set of services is due."""
    return GENERIC if word == GENERIC else readers.meant_set(word) or cut(str(word))


def _env(value: object, path: str) -> tuple[tuple[str, str], ...]:
    variables = readers.a_mapping(value, path)
    for name, text in variables.items():
        if not VARIABLE.fullmatch(name):
            raise ConfigError(readers.join(path, name), "not a valid name of an environment variable")
        if name.startswith("QAT"):
            hint = "Intel's DPDK image takes each QAT* value for an address; for QAT_POLICY use qatPolicy"
            raise ConfigError(readers.join(path, name), "names that begin with QAT are taken", hint=hint)
        for prefix in RESERVED_PREFIXES:
            if name.startswith(prefix):
                raise ConfigError(readers.join(path, name), f"names that begin with {prefix} are taken")
        if not isinstance(text, str):
            raise ConfigError(readers.join(path, name), f"expected a text, got {shown(text)}", hint="put it in quotes")
    return tuple(sorted((name, str(text)) for name, text in variables.items()))


def _host_share(value: object, path: str) -> HostShare:
    share = readers.a_mapping(value, path)
    readers.only_known(share, path, "vfs", "pfs")
    if "vfs" not in share:
        raise ConfigError(f"{path}.vfs", "missing", hint="how many VFs of each PF stay with the host")
    vfs = readers.a_count(share["vfs"], f"{path}.vfs", least=1)
    return HostShare(vfs, readers.a_set(share, path, "pfs", readers.an_address))


def _check_names(rules: Sequence[ResourceRule], defaults: Iterable[str]) -> None:
    """Refuse rules that could not both be served: one resource with two behaviours, two with one variable."""
    by_default = {variable_of(full_name(name)): name for name in defaults}
    first: dict[str, tuple[int, ResourceRule]] = {}
    for index, rule in enumerate(rules):
        variable = variable_of(full_name(rule.name))
        other, same = first.setdefault(variable, (index, rule))
        if rule.name != same.name:
            problem = (
                f"{shown(rule.name)} and {shown(same.name)} of resources[{other}] would share an environment variable"
            )
            raise ConfigError(f"resources[{index}].name", problem)
        if rule.name != by_default.get(variable, rule.name):
            problem = (
                f"{shown(rule.name)} and the default name {by_default[variable]!r} would share an environment variable"
            )
            raise ConfigError(f"resources[{index}].name", problem, hint="take that name, or leave out defaultResources")
        if (rule.limit, rule.options) != (same.limit, same.options):
            problem = f"{shown(rule.name)} is merged with resources[{other}], but has other options"
            raise ConfigError(f"resources[{index}]", problem, hint="write the same limit and options at both")


def _check_least(specs: Sequence[ProvisionSpec], names: Collection[str]) -> None:
    """Refuse a minimum of what no VF is called: it would keep nothing."""
    for index, spec in enumerate(specs):
        for name in spec.min_available:
            if name not in names:
                hint = f"the name behind {DOMAIN}/; known here: {cut(', '.join(sorted(names)))}"
                raise ConfigError(
                    readers.join(f"provision[{index}].minAvailable", name), "no resource has this name", hint=hint
                )


def default_resource(services: Services | None) -> str:
    return full_name(default_name(services))
