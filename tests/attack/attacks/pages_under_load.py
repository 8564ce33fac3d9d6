"""Eight clients that read /status without pause, on a node of 1,024 VFs, while pods are given devices."""

import asyncio
import time
from pathlib import Path

import grpc
from churn.looking import looking
from churn.tally import quantile

from attacks.finding import Finding, tell
from attacks.ground import plugin_socket, served
from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.api.deviceplugin_v1beta1_pb2_grpc import DevicePluginStub

VFS = 1024
CLIENTS = 8
SECONDS = 15.0  # calm, and as many under load
EVERY_S = 0.02
MOST = 2.0  # times the calm value
NOISE_S = 0.002  # which a machine of two processors shares out as it likes


async def attack() -> Finding:
    async with served(VFS) as ground:
        socket, vf = plugin_socket(ground), str(ground.node.host.vfs(ground.node.pfs[0])[0])
        calm_s, calls = await asyncio.to_thread(p99_of, socket, vf)
        # Behind the daemon in the queue for a processor: clients elsewhere take none of it.
        async with looking("--socket", ground.daemon.socket, "--status", CLIENTS, within=("nice",)):
            loaded_s, loaded_calls = await asyncio.to_thread(p99_of, socket, vf)
        held = loaded_s <= MOST * calm_s + NOISE_S and ground.daemon.status() is None
    return Finding(
        f"{CLIENTS} clients on /status without pause, {VFS:,} VFs, during Allocate",
        f"{calls} calls calm, {loaded_calls} under load",
        held,
        f"p99 of Allocate {1e3 * calm_s:.1f} ms calm, {1e3 * loaded_s:.1f} ms under load",
    )


def p99_of(socket: Path, vf: str) -> tuple[float, int]:
    """Return the 99th percentile of what Allocate takes, in seconds, and how often it was called."""
    request = api.AllocateRequest(container_requests=[api.ContainerAllocateRequest(devices_ids=[vf])])
    durations_s, end_s = [], time.monotonic() + SECONDS
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        stub = DevicePluginStub(channel)
        while (began_s := time.monotonic()) < end_s:
            stub.Allocate(request)
            durations_s.append(time.monotonic() - began_s)
            time.sleep(EVERY_S)
    return quantile(durations_s, 0.99), len(durations_s)


if __name__ == "__main__":
    tell(attack)
