"""Pods that come and go without pause, for seconds: what brings a double booking about is not there.

Not whether one happened, which is luck, but its cause is asserted. CHURN_S is for how long, in seconds.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from churn.run import Churn, Plan
from churn.tally import Cause
from ground.kubelets import minor

from qatdp.simulator.kubelet import VERSIONS

SEED = 17
SECONDS = float(os.environ.get("CHURN_S", "15"))
FEWEST = 50  # admissions: with fewer nothing was tried

NEVER = ("lists_by_daemon_near_calls", "double_bookings", "open_in_two_living_pods", "innocent")


async def test_churn_beside_clients_has_no_list_near_calls(
    manager_binary: Path, manager_log: Path, folder: Path
) -> None:
    plan = Plan(seed=SEED, seconds=SECONDS, status=2, metrics=1, devices_every_s=2.0)
    result = await Churn(plan, manager_binary, folder, manager_log).run()
    counts = _counts(result, "lists_by_daemon", *NEVER)
    assert counts == dict.fromkeys(counts, 0), result
    assert result["clients"]["status"]["answered"] and result["clients"]["metrics"]["answered"]


async def test_churn_during_release_has_no_list_near_calls(
    manager_binary: Path, manager_log: Path, folder: Path
) -> None:
    plan = Plan(seed=SEED, seconds=SECONDS, vfs=32, status=2, metrics=1, move_every_s=3.0)
    result = await Churn(plan, manager_binary, folder, manager_log).run()
    counts = _counts(result, *NEVER)
    assert counts == dict.fromkeys(counts, 0), result


async def test_churn_beside_agent_gives_no_vf_that_is_open(
    manager_binary: Path, manager_log: Path, folder: Path
) -> None:
    """An agent that calls List has the kubelet forget what it has chosen; a force-deleted pod's VF is free to it.

    The plugin refuses nobody innocent; the manager's own refusals, for which it calls no plugin, are not the plugin's.
    Up to 1.36 the manager refuses pods for one moment: the plugin registers again, to be asked before containers start.
    """
    plan = Plan(seed=SEED, seconds=SECONDS, lists_per_s=48.0)
    result = await Churn(plan, manager_binary, folder, manager_log).run()
    given = result["given_while_open"]
    assert {cause: given.get(cause, 0) for cause in (Cause.LIVING, Cause.FORCED)} == {
        Cause.LIVING: 0,
        Cause.FORCED: 0,
    }, result
    assert _counts(result, "innocent_by_plugin") == {"innocent_by_plugin": 0}, result["refusal_texts"]
    assert len(result["absences_s"]) <= (0 if VERSIONS[minor()].plugins_by_path else 1), result


def _counts(result: Mapping[str, Any], *names: str) -> dict[str, int]:
    assert result["admissions"] >= FEWEST, result
    return {name: result[name] for name in names}
