"""Readers of plain values, as a YAML file holds them: each takes a value and its key path, for its ConfigError."""

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import TypeVar

from qatdp.core.model.pci import PciAddress
from qatdp.core.model.qat import GENERIC, Service, Services
from qatdp.core.text import cut, shown
from qatdp.errors import AddressError, ConfigError

T = TypeVar("T")

ALIKE = 0.75  # of difflib's ratio: two letters in eight may differ
LONGEST_KEY = 40  # as much of an unknown key is compared

# As cfg_services writes a set, and as people do.
SEPARATOR = re.compile(r"[;,\s]+")
FORMER_NAMES = {"cy": ("sym", "asym")}  # the resource's name, and the out-of-tree driver's word


def a_mapping(value: object, path: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ConfigError(path, f"expected keys and values, got {shown(value)}", hint=_if_empty(value, path))
    return value


def a_list(value: object, path: str, *, hint: str | None = None) -> Sequence[object]:
    if not isinstance(value, list):
        raise ConfigError(path, f"expected a list, got {shown(value)}", hint=hint or _if_empty(value, path))
    return value


def _if_empty(value: object, path: str) -> str | None:
    """Return the hint for a key that has no value, as one whose entries are all commented out."""
    return "leave the key out" if value is None and not path.endswith("]") else None


def only_known(mapping: Mapping[str, object], path: str, *keys: str) -> None:
    """Refuse a key that is not one of these, and suggest the one that it is close to, if any."""
    for key in mapping:
        if key not in keys:
            close = _closest(key, keys)
            hint = f"did you mean {close}?" if close else f"known here: {', '.join(keys)}"
            raise ConfigError(join(path, key), "unknown key", hint=hint)


def _closest(key: str, keys: Sequence[str]) -> str | None:
    """Return the key that differs in a few letters; case, `_` and `-` do not count."""
    folded = {re.sub("[_-]", "", name).lower(): name for name in keys}
    wanted = re.sub("[_-]", "", key[:LONGEST_KEY]).lower()
    return next((folded[name] for name in get_close_matches(wanted, folded, n=1, cutoff=ALIKE)), None)


def join(path: str, key: str) -> str:
    return f"{path}.{cut(key)}" if path else cut(key)


def each(mapping: Mapping[str, object], path: str, key: str, read: Callable[[object, str], T]) -> tuple[T, ...]:
    where = join(path, key)
    values = a_list(mapping.get(key, []), where)
    return tuple(read(value, f"{where}[{index}]") for index, value in enumerate(values))


def a_set(mapping: Mapping[str, object], path: str, key: str, read: Callable[[object, str], T]) -> frozenset[T] | None:
    if key not in mapping:
        return None
    found = frozenset(each(mapping, path, key, read))
    if not found:
        raise ConfigError(join(path, key), "empty: this selects nothing", hint="leave the key out for any")
    return found


def a_flag(mapping: Mapping[str, object], path: str, key: str, *, default: bool) -> bool:
    value = mapping.get(key, default)
    if not isinstance(value, bool):
        raise ConfigError(join(path, key), f"expected true or false, got {shown(value)}")
    return value


def a_count(value: object, path: str, *, least: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(path, f"expected a number of {least} or more, got {shown(value)}")
    return value


def a_choice(value: object, path: str, known: Sequence[str], *, hint: str | None = None) -> str:
    if not isinstance(value, str) or value not in known:
        names = [repr(str(word)) for word in known]
        expected = " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
        raise ConfigError(path, f"expected {expected}, got {shown(value)}", hint=hint)
    return value


def an_address(value: object, path: str) -> PciAddress:
    if not isinstance(value, str):
        raise ConfigError(path, f"expected a PCI address, got {shown(value)}", hint="put it in quotes")
    try:
        return PciAddress.parse(value)
    except AddressError as error:
        raise ConfigError(path, error.message, hint=error.hint) from error


def a_text(value: object, path: str) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigError(path, f"expected a text, got {shown(value)}", hint="put it in quotes")
    return value


def a_service_set(value: object, path: str, hint: str | None = None) -> Services | None:
    """Read one set of services; None for `generic`. `hint` helps where it is written in another form."""
    if value == GENERIC:
        return None
    meant = meant_set(value)
    advice = (hint or f"one set: {meant}") if meant else None
    words = a_list(value, path, hint=advice)
    if not words:
        raise ConfigError(path, "empty", hint="leave the key out for any services, or write generic for none known")
    known = list(Service)
    return frozenset(Service(a_choice(word, f"{path}[{i}]", known, hint=advice)) for i, word in enumerate(words))


def meant_set(value: object) -> str | None:
    """Return the set of services that was perhaps meant, as it is to be written; None where that cannot be told."""
    given = value if isinstance(value, list) else [value]
    words = [word for word in given if isinstance(word, str)]
    if not words or len(words) < len(given):
        return None
    names = [name for word in words for name in SEPARATOR.split(word.strip())]
    services = dict.fromkeys(service for name in names for service in FORMER_NAMES.get(name, (name,)))
    return f"[{', '.join(services)}]" if services.keys() <= set(Service) else None
