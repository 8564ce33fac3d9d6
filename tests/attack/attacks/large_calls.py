"""Allocate of 10^5 containers and GetPreferredAllocation of 2 x 10^5 IDs, in one call each, on the plugin's socket.

Only root on the node can reach that socket; what it must not do is to hold up everybody else.
"""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc

from attacks.finding import Finding, tell
from attacks.ground import Ground, Probes, plugin_socket, served
from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.api.deviceplugin_v1beta1_pb2_grpc import DevicePluginStub

CONTAINERS = 100_000
IDS = 200_000
TIMES = 3
TIMEOUT_S = 10.0


async def attack() -> Finding:
    async with served() as ground:
        probes = Probes(ground.daemon)
        async with probes.meanwhile():
            codes = [await asyncio.to_thread(call) for _ in range(TIMES) for call in calls(ground)]
        await probes.during(1.0)
        held = not probes.slow and ground.daemon.status() is None
    return Finding(
        f"Allocate of {CONTAINERS:,} containers, GetPreferredAllocation of {IDS:,} IDs",
        f"{TIMES} times each",
        held,
        f"{probes}; answered {', '.join(sorted(set(codes)))}",
    )


def calls(ground: Ground) -> Iterator[Callable[[], str]]:
    socket, vf = plugin_socket(ground), str(ground.node.host.vfs(ground.node.pfs[0])[0])
    allocate = api.AllocateRequest(
        container_requests=[api.ContainerAllocateRequest(devices_ids=[vf])] * CONTAINERS,
    )
    preferred = api.PreferredAllocationRequest(
        container_requests=[
            api.ContainerPreferredAllocationRequest(available_deviceIDs=[vf] * IDS, allocation_size=1),
        ],
    )
    yield lambda: code_of(socket, lambda stub: stub.Allocate(allocate, timeout=TIMEOUT_S))
    yield lambda: code_of(socket, lambda stub: stub.GetPreferredAllocation(preferred, timeout=TIMEOUT_S))


def code_of(socket: Path, ask: Callable[[DevicePluginStub], object]) -> str:
    """Return the name of the code with which a call is answered."""
    with grpc.insecure_channel(f"unix:{socket}", options=[("grpc.max_receive_message_length", -1)]) as channel:
        try:
            ask(DevicePluginStub(channel))
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"


if __name__ == "__main__":
    tell(attack)
