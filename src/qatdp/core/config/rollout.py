"""Rollout: which nodes of a fleet take the next spec already, where all of them share one configuration.

Each node decides for itself, by a number that is drawn from its name, the next spec and a salt. How many per cent are
to take it is no part of what is drawn from, so that a growing percentage only ever adds nodes; and there is no state:
a node that has rebooted decides as it did before.
"""

import hashlib
import json
from dataclasses import dataclass

from qatdp.core.config import readers
from qatdp.core.text import shown
from qatdp.errors import ConfigError

WHOLE = 100.0  # per cent


@dataclass(frozen=True, slots=True)
class Rollout:
    """`percent` of all nodes take what is `next`, a text that tells it from any other; another `salt` draws again."""

    percent: float
    next: str
    salt: str = ""


def is_chosen(node: str, rollout: Rollout) -> bool:
    """Return whether the node of this name takes what is next."""
    return drawn(node, rollout) < rollout.percent


def drawn(node: str, rollout: Rollout) -> float:
    """Return a node's number, at least 0 and below 100. SHA-256, as it is the same on each machine and Python."""
    of = json.dumps([node, rollout.next, rollout.salt]).encode()
    return int.from_bytes(hashlib.sha256(of).digest()[:6], "big") / 2**48 * WHOLE


def read_rollout(value: object, path: str, next_: str) -> Rollout:
    """Read `rollout`, as plain values; `next_` tells what it rolls out from anything else. Raises ConfigError."""
    rollout = readers.a_mapping(value, path)
    readers.only_known(rollout, path, "percent", "salt")
    if "percent" not in rollout:
        raise ConfigError(f"{path}.percent", "missing", hint="how many per cent of the nodes take what is next")
    salt = readers.a_text(rollout["salt"], f"{path}.salt") if "salt" in rollout else ""
    return Rollout(_percent(rollout["percent"], f"{path}.percent"), next_, salt)


def _percent(value: object, path: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= WHOLE:
        raise ConfigError(path, f"expected per cent, from 0 to {WHOLE:g}, got {shown(value)}")
    return float(value)
