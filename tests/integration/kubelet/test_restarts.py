"""Restarts of the kubelet, a hundred of them, each followed by a change of the node: none is lost.

After each, what the kubelet offers must be what qatdp's pools say, and what the node has. No gates here: qatdp has the
kubelet's own folder. SEED=<number> in the environment takes another seed than the usual one, RESTARTS=<number> so many.
"""

import os
import random

from ground import record
from ground.changes import Changes
from ground.stage import Stage
from ground.two_resources import DEFAULT_NAMES
from ground.waiting import now_s, until_equal

RESTARTS = int(os.environ.get("RESTARTS", "100"))
VFS = 4
SEED = int(os.environ.get("SEED", "1"))

# A restart and a change take 0.2 s on an idle machine.
ALL_S = 120.0


async def test_no_restart_of_the_kubelet_and_no_change_of_the_node_is_lost(open_stage: Stage) -> None:
    stage = open_stage
    stage.configure(DEFAULT_NAMES)
    pfs = stage.host.fill(pfs=4, vfs=VFS)
    chance, done = random.Random(SEED), []
    changes = Changes(stage.host, pfs, VFS, chance)
    async with stage:
        begun_s = now_s()
        for number in range(RESTARTS):
            kill = number % 2 == 0
            await stage.restart_kubelet(kill=kill)
            done.append(f"{number}: {'killed' if kill else 'stopped'}, then {changes.one()}")
            try:
                await until_equal("the kubelet offers what there is", stage.offered, changes.there_is())
                await stage.settle()
            except AssertionError as error:
                raise AssertionError(f"SEED={SEED}, after\n" + "\n".join(done)) from error
        took_s = now_s() - begun_s
    print(f"{RESTARTS} restarts of the kubelet, each with a change of the node: {took_s:.1f} s")
    record.note_restarts(RESTARTS)
    assert took_s < ALL_S
