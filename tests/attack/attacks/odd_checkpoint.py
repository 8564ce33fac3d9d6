"""A kubelet's checkpoint that is not what it should be: the daemon has to answer, and to end when it is told."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from attacks.finding import Finding, tell
from attacks.ground import Probes, ground

SECONDS = 4.0
LARGE_BYTES = 100_000_000
ENTRIES = 100_000
MOST_BYTES = 1 << 30  # of memory: /dev/zero has no end


def entries(path: Path) -> None:
    entry = {"PodUID": "1", "ContainerName": "main", "ResourceName": "qat.intel.com/cy", "DeviceIDs": {"0": ["x"]}}
    data = {"PodDeviceEntries": [{**entry, "AllocResp": ""}] * ENTRIES, "RegisteredDevices": {}}
    path.write_text(json.dumps({"Data": data, "Checksum": 0}))


def large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(LARGE_BYTES)


KINDS: Mapping[str, Callable[[Path], None]] = {
    "a FIFO": os.mkfifo,
    "a link to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "a folder": Path.mkdir,
    f"{LARGE_BYTES // 1_000_000} MB": large,
    f"{ENTRIES:,} entries": entries,
}


async def attack() -> Finding:
    results = {name: await case(make) for name, make in KINDS.items()}
    failed = [f"{name}: {found}" for name, found in results.items() if found]
    return Finding(
        f"a checkpoint that is {', '.join(KINDS)}",
        "once each",
        not failed,
        "; ".join(failed) or "each time probes were answered, and SIGTERM ended the daemon",
    )


async def case(make: Callable[[Path], None]) -> str | None:
    """Return what was wrong; None where nothing was."""
    async with ground(within=("prlimit", f"--data={MOST_BYTES}")) as one:
        plugins = one.folder / "kubelet/device-plugins"
        plugins.mkdir(parents=True)
        make(plugins / "kubelet_internal_checkpoint")
        async with one.daemon:
            probes = Probes(one.daemon)
            try:
                await probes.until_answered()
                await probes.during(SECONDS)
            except TimeoutError:
                return "no probe was ever answered"
            if not await one.daemon.stop():
                return "SIGTERM did not end it"
    return str(probes) if probes.slow else None


if __name__ == "__main__":
    tell(attack)
