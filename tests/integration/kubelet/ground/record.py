"""What the tests really ran on, for kubelet/run to check and print: JSON lines in the file $RECORD."""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

import qatdp
from qatdp.host.calls.choose import host_calls
from qatdp.simulator.kubelet.answers import Admission, Ready


def note_start(ready: Ready) -> None:
    _write(
        word=ready.word,
        started=1,
        kernel=os.uname().release,
        kubernetes=ready.kubernetes,
        grpc=ready.grpc,
    )


def note_admission(admission: Admission) -> None:
    if admission.admitted:
        _write(admitted=1, devices=len(admission.ids))


def note_plugin() -> None:
    """Note which qatdp is tested, and where it was found."""
    _write(
        qatdp=f"{version('qatdp')} in {Path(qatdp.__file__).parent}",
        host_calls=host_calls().name,
        python=platform.python_version(),
        grpcio=version("grpcio"),
    )


def note_scenario(kind: str) -> None:
    """Note a test that was run on the real kubelet, or on the fake one."""
    _write(**{f"tests on the {kind} kubelet": 1})


def note_messages(count: int) -> None:
    """Note how many messages have passed the gates between qatdp and a kubelet."""
    _write(messages=count)


def note_restarts(count: int) -> None:
    """Note restarts of a kubelet that were followed by a change."""
    _write(restarts=count)


def note_schedule(*, void: bool) -> None:
    """Note a schedule that was run, or one that proves nothing."""
    _write(**{"void schedules" if void else "schedules": 1})


def _write(**facts: str | int) -> None:
    if file := os.environ.get("RECORD"):
        with Path(file).open("a") as lines:
            lines.write(json.dumps(facts) + "\n")
