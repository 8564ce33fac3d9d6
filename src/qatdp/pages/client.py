"""Asks a running daemon for its /status over its Unix socket."""

import http.client
import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

TIMEOUT_S = 3.0

Status: TypeAlias = Mapping[str, Any]


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def ask(path: Path) -> Status:
    """Return what the daemon that listens there says. OSError where none does, or what answers is no daemon of ours."""
    connection = _Connection(path)
    try:
        connection.request("GET", "/status")
        found = json.loads(connection.getresponse().read())
    except (http.client.HTTPException, ValueError) as error:
        raise OSError(f"no answer that could be understood: {error!r}") from error
    finally:
        connection.close()
    if not isinstance(found, dict) or "devices" not in found:
        raise OSError("no answer that could be understood")
    return found
