"""Channels to the kubelet's sockets, a fresh one for each call or incarnation."""

from pathlib import Path

import grpc

# A shared subchannel would sit out its back-off, up to two minutes, after a kubelet restart. The default authority of
# a unix socket is its encoded path, which strict servers refuse. Large nodes' PodResources answers exceed 4 MiB.
OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.default_authority", "localhost"),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", 64 << 20),
)


def channel(socket: Path) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(f"unix:{socket}", options=OPTIONS)
