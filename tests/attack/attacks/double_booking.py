"""Whether one VF gets into two pods: pods that come and go without pause on Kubernetes' own device manager.

    python -m attacks.double_booking pages|agent|release|nobody SECONDS [SEED]

`pages`: clients on every page, and `qatdp devices`. `agent`: somebody else on the node calls PodResources List: the
kubelet then gives a VF away twice, of which the plugin can only refuse what is open. `release`: as `pages`,
while half of the VFs go to another resource and back.
"""

import asyncio
import json
import os
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from churn.tally import Cause

from attacks.finding import Finding, tell

HAMMER = Path(__file__).parents[2] / "integration/kubelet/hammer"
PAGES = ("--status", "8", "--metrics", "1", "--devices-every", "5")

Result = Mapping[str, Any]


def none_near(result: Result) -> bool:
    """The cause is gone: no List of ours while a pod may be admitted; so no VF went to two pods."""
    return not result["lists_by_daemon_near_calls"] and not result["double_bookings"] and not result["innocent"]


def none_at_all(result: Result) -> bool:
    return none_near(result) and not result["lists_by_daemon"]


def none_open(result: Result) -> bool:
    """What somebody else brings about ends in a refused pod where the VF is open."""
    given = result["given_while_open"]
    given_open = any(given.get(cause) for cause in (Cause.LIVING, Cause.FORCED))
    return not given_open and not result["innocent_by_plugin"] and not result["absences_s"]


@dataclass(frozen=True, slots=True)
class Variant:
    tried: str
    arguments: Sequence[str]
    held: Callable[[Result], bool]


VARIANTS = {
    "nobody": Variant("pods without pause, nobody looks", (), none_at_all),
    "pages": Variant("pods without pause, 8 clients on /status, 1 on /metrics, qatdp devices", PAGES, none_at_all),
    "agent": Variant(
        "pods without pause, another agent calls List 48 times a second", ("--lists-per-s", "48"), none_open
    ),
    "release": Variant(
        "pods without pause, the same clients, half of the VFs go to another resource and back",
        (*PAGES, "--vfs", "32", "--move-every", "5"),
        none_near,
    ),
}


async def attack(variant: Variant, seconds: str, seed: str) -> Finding:
    words = ("--seed", seed, "--seconds", seconds, *variant.arguments)
    environment = {**os.environ, "QATDP_PYTHON": sys.executable}
    churn = await asyncio.create_subprocess_exec(HAMMER, *words, stdout=asyncio.subprocess.PIPE, env=environment)
    said, _ = await churn.communicate()
    if churn.returncode:
        return Finding(variant.tried, f"seed {seed}", held=False, found=f"the harness ended with {churn.returncode}")
    result = json.loads(said)
    times = f"{result['admissions']:,} admissions, {result['lists_by_agent']:,} Lists by the agent, seed {seed}"
    return Finding(variant.tried, times, variant.held(result), told(result))


def told(result: Result) -> str:
    open_to_two = result["given_while_open"].get(Cause.LIVING, 0)
    refused = ", ".join(f"{count} for {cause}" for cause, count in sorted(result["refused"].items()))
    return (
        f"{result['double_bookings']} double bookings, of {open_to_two} the VF was open;"
        f" Lists by the daemon: {result['lists_by_daemon']}, near a call {result['lists_by_daemon_near_calls']};"
        f" refused: {refused or 'none'}; innocent: {result['innocent']}, by the plugin {result['innocent_by_plugin']}"
    )


if __name__ == "__main__":
    name, seconds, *seeds = sys.argv[1:]
    tell(partial(attack, VARIANTS[name], seconds, seeds[0] if seeds else str(secrets.randbits(32))))
