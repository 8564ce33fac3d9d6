"""What the kubelet would hand out at this moment (GetAllocatableResources), and how long it takes to follow an event.

The tests' own reader, by a channel that is kept: what is measured is the product, not the making of connections.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

import grpc

from ground.kubelet import FOLDER
from ground.record import Delay, Record
from qatdp.api.podresources_v1_pb2 import AllocatableResourcesRequest
from qatdp.api.podresources_v1_pb2_grpc import PodResourcesListerStub

SOCKET: Path = FOLDER / "pod-resources/kubelet.sock"
LOOK_S = 0.03  # the kubelet lets a hundred through each second
LONGEST_S = 40


def rounds(few: int, *, of: int = 1) -> int:
    """Return how often to do what is measured: a few times, or ROUNDS times where that is said; or one in so many."""
    wanted = os.environ.get("ROUNDS")
    return max(few, int(wanted) // of) if wanted else few


class View:
    def __init__(self, record: Record) -> None:
        self._record = record
        self._channel = grpc.insecure_channel(f"unix:{SOCKET}")
        self._kubelet = PodResourcesListerStub(self._channel)

    def offered(self) -> frozenset[str]:
        """Return the IDs of all resources of ours."""
        answer = self._kubelet.GetAllocatableResources(AllocatableResourcesRequest(), timeout=10, wait_for_ready=True)
        ours = (one for one in answer.devices if one.resource_name.startswith("qat.intel.com/"))
        return frozenset(device for one in ours for device in one.device_ids)

    def follows(
        self,
        what: str,
        act: Callable[[], object],
        wanted: frozenset[str],
        *,
        too: Callable[[], bool] = lambda: True,
        spared: frozenset[str] = frozenset(),
        within_s: float = LONGEST_S,
    ) -> Delay:
        """Do something, wait until the kubelet offers just what is wanted and `too` holds, and put the delay on record.

        What is offered before and is wanted after must be offered all the time from when the kernel is done, but for
        those that are spared, as something was done to them.
        """
        kept = (self.offered() & wanted) - spared
        asked_s = time.monotonic()
        act()
        done_s = time.monotonic()
        while (seen := self.offered()) != wanted or not too():
            assert kept <= seen, f"{what}: nothing has become of {sorted(kept - seen)}"
            assert time.monotonic() - done_s < within_s, (
                f"{what}: not within {within_s:g} s, lacks {sorted(wanted - seen)}, unexpected {sorted(seen - wanted)}"
            )
            time.sleep(LOOK_S)
        now_s = time.monotonic()
        delay = Delay(now_s - asked_s, now_s - done_s)
        self._record.delays.setdefault(what, []).append(delay)
        return delay

    def close(self) -> None:
        self._channel.close()
