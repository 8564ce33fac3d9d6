"""Clients in a process of their own (clients.py), for as long as a context is open."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1]
END_S = 30.0


@asynccontextmanager
async def looking(*arguments: object, within: tuple[str, ...] = ()) -> AsyncIterator[dict[str, Any]]:
    """Run clients; what they were answered is in the dictionary once the context has been left.

    `within` is a command that runs the one behind it.
    """
    pipe, answered = asyncio.subprocess.PIPE, dict[str, Any]()
    command = (*within, sys.executable, "-m", "churn.clients", *map(str, arguments))
    environment = {**os.environ, "PYTHONPATH": str(FOLDER)}
    clients = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, env=environment)
    try:
        yield answered
        async with asyncio.timeout(END_S):
            said, _ = await clients.communicate(b"")  # which closes their input: they end by that
        answered.update(json.loads(said))
    finally:
        if clients.returncode is None:
            clients.kill()
            await clients.wait()
