"""The real daemon in a test's own event loop, over a simulated node and whichever kubelet, at a hurried pace."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Self

from qatdp.daemon.app import Daemon
from qatdp.daemon.health_loop import HealthTiming
from qatdp.daemon.open_vf_poller import OpenTiming
from qatdp.daemon.settings import Settings
from qatdp.daemon.timing import ReleaseTiming
from qatdp.host.calls.abc import HostCalls
from qatdp.host.calls.choose import host_calls
from qatdp.host.calls.watchdog import WatchdogTiming
from qatdp.kubelet.endpoint import Timing
from qatdp.kubelet.server import CloseTiming

HURRIED = Settings(
    listen_to_uevents=False,
    tick_s=0.02,
    page_s=0.0,
    watch_s=0.02,
    timing=Timing(stream_s=2.0, proof_s=0.1, first_back_off_s=0.02, longest_back_off_s=0.2),
    health=HealthTiming(probe_s=0.02, deadline_s=0.5, hold_s=0.2),
    patience=WatchdogTiming(bulk_s=0.2, single_s=0.5),
    pace=ReleaseTiming(grace_s=0.05, quiet_s=0.05, first_s=0.01, longest_s=0.1, open_s=0.02, write_s=1.0, look_s=0.002),
    opened=OpenTiming(poll_s=0.02, hold_s=0.1, fresh_s=0.3),
    closing=CloseTiming(wait_s=0.2, read_s=0.01),
)


def hurried(host: Path, kubelet: Path, *, config: Path | None = None) -> Settings:
    """Return settings for a tree with `sys` and `dev` in it and a kubelet's folder."""
    return replace(
        HURRIED,
        sysfs=host / "sys",
        dev=host / "dev",
        plugins=kubelet / "device-plugins",
        pod_resources=kubelet / "pod-resources",
        pod_logs=kubelet / "pod-logs",
        config=config,
    )


class RunningDaemon:
    """A daemon that runs while the context is open; `stop` ends it as SIGTERM does."""

    def __init__(self, settings: Settings, calls: HostCalls | None = None) -> None:
        self.daemon = Daemon(settings, calls or host_calls())
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.daemon.run(), name="daemon")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        """End it and raise what it has raised."""
        self.daemon.stop()
        if self._task is not None:
            task, self._task = self._task, None
            await task
