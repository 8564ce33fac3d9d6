"""A PF for each of two resources, and how their VFs are seen to be offered."""

from collections.abc import Mapping

from ground.stage import CY, DC, Stage
from ground.waiting import until_equal

DEFAULT_NAMES = "version: 1\n"
VFS = 2  # of each PF
ALL = {
    CY: frozenset({"0000:6b:00.1", "0000:6b:00.2"}),
    DC: frozenset({"0000:70:00.1", "0000:70:00.2"}),
}


def furnish(stage: Stage) -> Stage:
    stage.configure(DEFAULT_NAMES)
    stage.host.add_pf("0000:6b:00.0", services="sym;asym", vfs=VFS)
    stage.host.add_pf("0000:70:00.0", services="dc", vfs=VFS)
    return stage


async def check_offered(node: Stage, wanted: Mapping[str, frozenset[str]]) -> None:
    await until_equal("the kubelet's offer", node.offered, dict(wanted))
