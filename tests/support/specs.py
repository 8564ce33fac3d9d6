"""Specs for tests, by Hypothesis: what `provision` may say of a node's PFs."""

from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

from qatdp.core.config.spec import Scope, When
from qatdp.core.config.spec_parser import read_wish
from qatdp.core.model.qat import GENERIC
from qatdp.errors import ConfigError


def specs(pfs: Iterable[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Entries of `provision` without a fault, as plain values; `pfs` are the addresses that they may name."""
    some_pfs = _some(st.sampled_from(tuple(pfs)))
    policy = {
        "nodes": st.lists(st.sampled_from(("qat-*", "gold")), min_size=1, max_size=2),
        "excludePfs": some_pfs,
        "when": st.sampled_from([when.value for when in When]),
        "maxUnavailable": st.integers(1, 4),
        "minAvailable": st.dictionaries(st.sampled_from(("cy", "dc")), st.integers(0, 16)),
    }
    rollout = st.fixed_dictionaries({"percent": st.integers(0, 100)}, optional={"salt": st.sampled_from("ab")})
    staged = st.fixed_dictionaries({"current": _targets(some_pfs), "next": _targets(some_pfs), "rollout": rollout})
    aim = _targets(some_pfs) | _targets(some_pfs) | staged
    return st.builds(lambda a, b: {**a, **b}, aim, st.fixed_dictionaries({}, optional=policy)).flatmap(_drained)


def reachable(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out all but one of the entries that are for any node, which comes last."""
    for_any = [spec for spec in entries if "nodes" not in spec]
    return [*(spec for spec in entries if "nodes" in spec), *for_any[:1]]


def _drained(spec: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    if spec.get("when") != When.CORDON:
        return st.just(spec)
    return st.just(spec) | st.integers(1, 600).map(lambda seconds: {**spec, "cordonTimeoutSeconds": seconds})


def _targets(some_pfs: st.SearchStrategy[list[str]]) -> st.SearchStrategy[dict[str, Any]]:
    split = st.lists(_parts(some_pfs), min_size=1, max_size=3).map(_without_faults)
    optional = {"scope": st.sampled_from([per.value for per in Scope]), "autoReset": st.booleans()}
    return st.fixed_dictionaries({"split": split}, optional=optional)


def _without_faults(split: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out parts that the earlier ones, or all devices, make impossible."""
    good: list[dict[str, Any]] = []
    for part in split:
        good = [*good, part] if _can_be([*good, part]) else good
    return good or [{"services": ["dc"]}]


def _can_be(split: list[dict[str, Any]]) -> bool:
    try:
        read_wish({"split": split}, "")
    except ConfigError:
        return False
    return True


@st.composite
def _parts(draw: st.DrawFn, some_pfs: st.SearchStrategy[list[str]]) -> dict[str, Any]:
    selector = st.fixed_dictionaries(
        {},
        optional={
            "pfs": some_pfs,
            "numaNodes": _some(st.integers(0, 1)),
            "families": _some(st.sampled_from(("4xxx", "6xxx", "c62x"))),
        },
    )
    amounts = st.fixed_dictionaries({"percent": st.sampled_from((0, 25, 33, 50, 75, 100))}) | st.fixed_dictionaries(
        {"count": st.integers(0, 3)}
    )
    services = st.sampled_from((["sym", "asym"], ["dc"], ["sym", "asym"], ["dc"], ["sym", "asym", "dc"], GENERIC))
    narrow = draw(st.sampled_from((False, False, True)))
    return {
        "services": draw(services),
        **(draw(selector) if narrow else {}),
        **draw(amounts | amounts | st.just({})),
    }


def _some(of: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(of, min_size=1, max_size=2)
