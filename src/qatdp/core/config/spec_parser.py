"""The configuration's `provision`, read from plain values. What no device can be is refused, with its key."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from qatdp.core.config import readers
from qatdp.core.config.rollout import read_rollout
from qatdp.core.config.spec import WHOLE, Partition, ProvisionSpec, Scope, When, can_do, canonical, refusal
from qatdp.core.model.qat import FAMILIES, Services
from qatdp.errors import ConfigError

# What PFs should be; the other keys tell which nodes are meant, and how they get there.
TARGET_KEYS = ("split", "scope", "autoReset")
STAGED_KEYS = ("current", "next", "rollout")
WISH_KEYS = ("nodes", "excludePfs", "when", "maxUnavailable", "minAvailable", "cordonTimeoutSeconds")


def read_wish(value: object, path: str) -> ProvisionSpec:
    """Read one entry of `provision`; raises ConfigError."""
    entry = readers.a_mapping(value, path)
    readers.only_known(entry, path, *TARGET_KEYS, *WISH_KEYS, *STAGED_KEYS)
    if not any(key in entry for key in STAGED_KEYS):
        return _aimed(_policy(entry, path), entry, path)
    _check_staged(entry, path)
    current, next_ = (
        _aimed(_policy(entry, path), _target(entry[key], f"{path}.{key}"), f"{path}.{key}") for key in STAGED_KEYS[:2]
    )
    return replace(current, next=next_, rollout=read_rollout(entry["rollout"], f"{path}.rollout", canonical(next_)))


def check_reachable(specs: Sequence[ProvisionSpec]) -> None:
    """Refuse an entry that no node can take; raises ConfigError."""
    for index, spec in enumerate(specs[:-1]):
        if spec.nodes is None:
            problem = f"no node can take it: provision[{index}] is for any node"
            raise ConfigError(f"provision[{index + 1}]", problem, hint="put the entry without nodes last")


def _check_staged(entry: Mapping[str, object], path: str) -> None:
    for key in TARGET_KEYS:
        if key in entry:
            raise ConfigError(f"{path}.{key}", "cannot be combined with a rollout", hint="put it into current and next")
    for key in STAGED_KEYS:
        if key not in entry:
            raise ConfigError(f"{path}.{key}", "missing", hint="a rollout leads from current to next")


def _target(value: object, path: str) -> Mapping[str, object]:
    target = readers.a_mapping(value, path)
    readers.only_known(target, path, *TARGET_KEYS)
    return target


def _policy(entry: Mapping[str, object], path: str) -> ProvisionSpec:
    """Read what is about the nodes, and how they are changed."""
    when = When(readers.a_choice(entry.get("when", When.IDLE), f"{path}.when", list(When)))
    if "cordonTimeoutSeconds" in entry and when is not When.CORDON:
        raise ConfigError(f"{path}.cordonTimeoutSeconds", "nothing is cordoned", hint="it goes with when: cordon")
    return ProvisionSpec(
        parts=(),
        nodes=_patterns(entry, path),
        exclude_pfs=readers.a_set(entry, path, "excludePfs", readers.an_address) or frozenset(),
        when=when,
        max_unavailable=readers.a_count(entry.get("maxUnavailable", 1), f"{path}.maxUnavailable", least=1),
        min_available=_least(entry.get("minAvailable", {}), f"{path}.minAvailable"),
        cordon_timeout_s=readers.a_count(entry["cordonTimeoutSeconds"], f"{path}.cordonTimeoutSeconds", least=1)
        if "cordonTimeoutSeconds" in entry
        else None,
    )


def _aimed(policy: ProvisionSpec, target: Mapping[str, object], path: str) -> ProvisionSpec:
    """Read what PFs should be."""
    if "split" not in target:
        raise ConfigError(f"{path}.split", "missing", hint="such as: [{services: [sym, asym], percent: 50}]")
    parts = readers.each(target, path, "split", _part)
    _check_parts(parts, f"{path}.split")
    return replace(
        policy,
        parts=parts,
        scope=Scope(readers.a_choice(target.get("scope", Scope.NODE), f"{path}.scope", list(Scope))),
        auto_reset=readers.a_flag(target, path, "autoReset", default=False) if "autoReset" in target else None,
    )


def _least(value: object, path: str) -> Mapping[str, int]:
    counts = readers.a_mapping(value, path)
    return {name: readers.a_count(count, readers.join(path, name)) for name, count in counts.items()}


def _patterns(entry: Mapping[str, object], path: str) -> tuple[str, ...] | None:
    found = readers.a_set(entry, path, "nodes", readers.a_text)
    return None if found is None else tuple(sorted(found))


def _part(value: object, path: str) -> Partition:
    part = readers.a_mapping(value, path)
    readers.only_known(part, path, "services", "percent", "count", "pfs", "numaNodes", "families")
    if "services" not in part:
        raise ConfigError(f"{path}.services", "missing", hint="such as [sym, asym]; generic before gen4")
    if "percent" in part and "count" in part:
        raise ConfigError(path, "has both a percent and a count", hint="leave one of them out")
    names = [family.name for family in FAMILIES]
    families = readers.a_set(part, path, "families", lambda of, key: readers.a_choice(of, key, names))
    services = readers.a_service_set(part["services"], f"{path}.services")
    _check_services(services, families, f"{path}.services")
    return Partition(
        services=services,
        percent=_percent(part["percent"], f"{path}.percent") if "percent" in part else None,
        count=readers.a_count(part["count"], f"{path}.count") if "count" in part else None,
        pfs=readers.a_set(part, path, "pfs", readers.an_address),
        numa_nodes=readers.a_set(part, path, "numaNodes", readers.a_count),
        families=families,
    )


def _percent(value: object, path: str) -> int:
    percent = readers.a_count(value, path)
    if percent > WHOLE:
        raise ConfigError(path, f"expected per cent, {WHOLE} at most, got {percent}")
    return percent


def _check_services(services: Services | None, families: frozenset[str] | None, path: str) -> None:
    """Refuse what none of the families can do that could be meant."""
    meant = [family for family in FAMILIES if families is None or family.name in families]
    reasons = [refusal(family, services) for family in meant]
    if all(reasons):
        raise ConfigError(path, f"no device can do this: {reasons[-1]}")


def _check_parts(parts: Sequence[Partition], path: str) -> None:
    """Refuse parts of which one can get nothing, whatever PFs there are."""
    if not parts:
        raise ConfigError(path, "empty", hint="leave the whole entry out to have nothing changed")
    shares: dict[object, int] = {}
    for index, part in enumerate(parts):
        shares[part.selector] = shares.get(part.selector, 0) + (part.percent or 0)
        if shares[part.selector] > WHOLE:
            problem = f"percentages add up to {shares[part.selector]} per cent of the same PFs"
            raise ConfigError(f"{path}[{index}].percent", problem)
        for before in range(index):
            if _takes_all(parts[before]):
                _refuse_shadowed(parts, before, index, path)


def _refuse_shadowed(parts: Sequence[Partition], before: int, index: int, path: str) -> None:
    able = [family for family in FAMILIES if can_do(family, parts[index])]
    if all(can_do(family, parts[before]) for family in able):
        problem = f"can get nothing: split[{before}] takes all PFs that are left"
        raise ConfigError(f"{path}[{index}]", problem, hint="put the entry without percent, count or selector last")


def _takes_all(part: Partition) -> bool:
    return part.percent is None and part.count is None and part.selector == (None, None, None)
