"""What the tests really ran on, for kernel/run to check and print: a plugin of pytest, written into the share.

The word goes to the kernel with an event of a PF's, and back comes what the kernel then broadcasts
(lib/kobject_uevent.c, kobject_synth_uevent).
"""

import json
import os
import uuid
from collections import Counter
from pathlib import Path

import pytest

from qatdp.host.calls.choose import host_calls
from qatdp.host.uevents import listen

FILE = Path("/run/guest/record.json")
PFS = Path("/sys/bus/pci/drivers/4xxx")

passed: Counter[str] = Counter()
skipped: Counter[str] = Counter()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    folder = os.path.dirname(report.nodeid.partition("::")[0])
    if report.when == "call" and report.passed:
        passed[folder] += 1
    elif report.skipped:
        skipped[folder] += 1


def pytest_sessionfinish() -> None:
    content = {
        "word": _said_by_the_kernel(os.environ["WORD"]),
        "kernel": os.uname().release,
        "machine": os.environ["MACHINE"],
        "host_calls": host_calls().name,
        "passed": _counts(passed),
        "skipped": _counts(skipped),
    }
    FILE.write_text(json.dumps(content))


def _counts(of: Counter[str]) -> str:
    return ", ".join(f"{count} of {folder}" for folder, count in of.items())


def _said_by_the_kernel(word: str) -> str | None:
    monitor = listen()
    pf = min(PFS.glob("0000:*"))
    (pf / "uevent").write_text(f"change {uuid.uuid4()} WORD={word}")
    while (event := monitor.poll(timeout=5)) is not None:
        if said := event.properties.get("SYNTH_ARG_WORD"):
            return str(said)
    return None
