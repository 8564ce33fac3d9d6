"""StandIn: registers provisional lists (core/pools/provisional.py) where the daemon has not come up in time.

A kubelet that has just started gets its plugins back one by one, and a plugin that is replaced is away for a moment. So
nothing is registered before the same kubelet has been there for as long as the daemon itself was waited for.
"""

import asyncio
import logging
from collections.abc import Callable

from qatdp.core.pools.provisional import provisional
from qatdp.core.reasons import Reason, defect
from qatdp.daemon.kubelet_state import KubeletState
from qatdp.daemon.settings import Settings
from qatdp.daemon.state import DeviceState
from qatdp.errors import KubeletStateError
from qatdp.kubelet import watch

log = logging.getLogger(__name__)


class StandIn:
    """`obstacle` tells why the daemon has not come up, None once it has."""

    def __init__(
        self,
        settings: Settings,
        node: DeviceState,
        kubelet: KubeletState,
        obstacle: Callable[[], str | None],
    ) -> None:
        self._plugins, self._after_s = settings.plugins, settings.stand_in_s
        self._node, self._kubelet = node, kubelet
        self._obstacle = obstacle
        self._said: dict[str, str] = {}

    async def run(self) -> None:
        """Register what can be, again and again until the daemon has come up: another plugin can have gone since."""
        while True:
            before = watch.identity(self._plugins)
            await asyncio.sleep(self._after_s)
            why = self._obstacle()
            if why is None:
                return
            if (now := watch.identity(self._plugins)) is None:
                self._say("kubelet", "there is no kubelet to register with")
            elif now == before:
                await self._register(why)

    async def _register(self, why: str) -> None:
        try:
            read = await self._kubelet.checkpoint()
            # Not List, which makes the kubelet forget what it has just chosen for a pod.
            found = provisional(read.known, await self._kubelet.allocatable())
        except KubeletStateError as error:
            self._say("kubelet", str(error))
            return
        for resource, reason in found.refused.items():
            if resource not in self._node.feeds:
                self._say(resource, reason)
        if new := sorted(found.lists.keys() - self._node.feeds.keys()):
            log.warning("registered provisionally resources=%s", ",".join(new))
        elif not found.refused and not self._node.feeds:
            self._say("kubelet", "its checkpoint knows no resource of ours")
        self._node.stand_in(found.lists, read.pod_entries, defect(Reason.PLUGIN_NOT_READY, problem=why))

    def _say(self, what: str, reason: str) -> None:
        if self._said.get(what) != reason:
            log.warning("provisional registration skipped resource=%s reason=%r", what, reason)
        self._said[what] = reason
