"""How much one call may ask, so that no caller holds the event loop, on which everybody else's calls are answered.

The kubelet asks for one container a call, and names only IDs of a list that we have sent (devicemanager/manager.go,
1.33 to 1.37). The bounds lie well above: whoever meets them is not a kubelet.
"""

from collections.abc import Iterable, Sequence

from qatdp.core.pools.pools import ResourcePool
from qatdp.core.reasons import Reason, defect
from qatdp.errors import RequestError

MOST_CONTAINERS = 4
SPARE_IDS = 1024  # the kubelet's list can be older, and longer, than the pool
ONE_CONTAINER = "the kubelet asks for one a call"


def most_ids(pool: ResourcePool) -> int:
    """Return how many IDs a call may name: each of the resource's twice, as a preference does, and some more."""
    return 2 * len(pool.devices) + SPARE_IDS


def check_bounds(pool: ResourcePool, containers: int, ids: Iterable[int]) -> None:
    """Raise RequestError where a call is for too many containers, or where these, by their numbers, name too many IDs.

    The numbers are not asked for where the containers are too many.
    """
    if containers > MOST_CONTAINERS:
        why = defect(Reason.TOO_LARGE, count=f"{containers} containers", most=MOST_CONTAINERS)
        raise RequestError(why, why.reason, hint=ONE_CONTAINER)
    if (count := sum(ids)) > most_ids(pool):
        why = defect(Reason.TOO_LARGE, count=f"{count} IDs", most=f"{most_ids(pool)} for {pool.resource}")
        raise RequestError(why, why.reason)


def first_of(must_include: Sequence[str], available: Sequence[str], size: int, most: int) -> list[str]:
    """Return a preference that costs nothing and breaks no rule: what must be included, then what comes first.

    At most `most`: the kubelet itself chooses what is missing from an answer.
    """
    size = max(0, min(size, most))
    return list(dict.fromkeys((*must_include[:size], *available[:size])))[:size]
