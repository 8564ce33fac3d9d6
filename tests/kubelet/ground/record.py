"""What the tests really ran on, for tests/kubelet/run to check and print: JSON lines in the file $RECORD."""

import json
import os
from pathlib import Path

from ground.answers import Admission, Ready


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


def _write(**facts: str | int) -> None:
    if file := os.environ.get("RECORD"):
        with Path(file).open("a") as lines:
            lines.write(json.dumps(facts) + "\n")
