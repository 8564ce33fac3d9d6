"""Those who look at the daemon, and an agent that calls PodResources List, in a process of their own.

    python -m churn.clients --socket PATH --status 8 --port N --metrics 1 --agent SOCKET --lists-per-s 48

It goes on until standard input ends, and then says how often each was answered, as JSON.
"""

import argparse
import http.client
import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from churn.tally import quantile
from qatdp.api import podresources_v1_pb2 as api
from qatdp.api.podresources_v1_pb2_grpc import PodResourcesListerStub

TIMEOUT_S = 10.0
METRICS_EVERY_S = 1.0
PAUSE_S = 0.05  # after a failure, lest a daemon that is away cost a processor


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, *, timeout_s: float = TIMEOUT_S) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass(slots=True)
class Asked:
    """How often one kind of client was answered, how long that took, and how often it was not."""

    failed: int = 0
    durations_s: list[float] = field(default_factory=list)

    def to_json(self) -> dict[str, float]:
        worst_s = max(self.durations_s, default=0.0)
        return {
            "answered": len(self.durations_s),
            "failed": self.failed,
            "p99_ms": round(1e3 * quantile(self.durations_s, 0.99), 1),
            "max_ms": round(1e3 * worst_s, 1),
        }


def get(connection: http.client.HTTPConnection, page: str) -> None:
    """Get a page whole. Raises OSError or HTTPException."""
    try:
        connection.request("GET", page)
        answer = connection.getresponse()
        answer.read()
        if answer.status != http.HTTPStatus.OK:
            raise http.client.HTTPException(f"{page}: {answer.status}")
    finally:
        connection.close()


def call_list(stub: PodResourcesListerStub) -> None:
    stub.List(api.ListPodResourcesRequest(), timeout=TIMEOUT_S)


def repeat(ask: Callable[[], None], every_s: float, over: threading.Event, asked: Asked) -> None:
    """Ask over and over, each `every_s` by the clock: whoever is late does not wait."""
    due_s = time.monotonic()
    while not over.wait(max(0.0, due_s - time.monotonic())):
        due_s = max(due_s + every_s, time.monotonic() - every_s)
        began_s = time.monotonic()
        try:
            ask()
        except (OSError, http.client.HTTPException, grpc.RpcError):
            asked.failed += 1
            over.wait(PAUSE_S)
        else:
            asked.durations_s.append(time.monotonic() - began_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--socket")
    parser.add_argument("--status", type=int, default=0)
    parser.add_argument("--port", type=int)
    parser.add_argument("--metrics", type=int, default=0)
    parser.add_argument("--agent", type=Path)
    parser.add_argument("--lists-per-s", type=float, default=0.0)
    options = parser.parse_args()
    over, asked = threading.Event(), {"status": Asked(), "metrics": Asked(), "agent": Asked()}
    kinds: list[tuple[str, int, float, Callable[[], None]]] = [
        ("status", options.status, 0.0, lambda: get(UnixConnection(options.socket), "/status")),
        (
            "metrics",
            options.metrics,
            METRICS_EVERY_S,
            lambda: get(http.client.HTTPConnection("127.0.0.1", options.port, timeout=TIMEOUT_S), "/metrics"),
        ),
    ]
    if options.lists_per_s:
        stub = PodResourcesListerStub(grpc.insecure_channel(f"unix:{options.agent}"))
        kinds.append(("agent", 1, 1 / options.lists_per_s, lambda: call_list(stub)))
    threads = [
        threading.Thread(target=repeat, args=(ask, every_s, over, asked[kind]), daemon=True)
        for kind, count, every_s, ask in kinds
        for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    over.set()
    for thread in threads:
        thread.join(TIMEOUT_S)
    print(json.dumps({kind: one.to_json() for kind, one in asked.items()}))


if __name__ == "__main__":
    main()
