"""What is right in a configuration, and yet perhaps not meant: shown by `qatdp config check`, and in the log.

A fault is a ConfigError (core/config/model.py), for which a file is refused.
"""

from collections.abc import Iterator, Mapping
from itertools import combinations

from qatdp.core.config.model import AddressVariable, Config, ResourceOptions

KEEPS_ONE = "the kubelet keeps one of the two in a container that asks for both resources"


def config_warnings(config: Config) -> Iterator[str]:
    """Yield a line for each variable that two resources set differently, with the key of the latter."""
    first = {rule.name: (index, rule.options) for index, rule in reversed(list(enumerate(config.resources)))}
    for (name, (before, one)), (other, (index, two)) in combinations(sorted(first.items(), key=_index), 2):
        for key, variable in _shared(one, two).items():
            where = f"{name!r} of resources[{before}]"
            yield f"resources[{index}].{key}: {other!r} sets {variable} as {where} does: {KEEPS_ONE}"


def _index(item: tuple[str, tuple[int, ResourceOptions]]) -> int:
    return item[1][0]


def _shared(one: ResourceOptions, two: ResourceOptions) -> Mapping[str, str]:
    """Return the variables that both set, and not to the same value, by the key of the option."""
    found: dict[str, str] = {}
    if AddressVariable.INDEX in one.address_variables & two.address_variables:
        found["addressVariables"] = "QAT0"
    if one.qat_policy and two.qat_policy and one.qat_policy != two.qat_policy:
        found["qatPolicy"] = "QAT_POLICY"
    values = dict(one.env)
    found |= {f"env.{name}": name for name, text in two.env if values.get(name, text) != text}
    return found
