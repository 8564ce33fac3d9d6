"""A daemon that may open few files, on a node with many VFs."""

from attacks.finding import Finding, tell
from attacks.ground import Probes, ground, until_offered
from qatdp.simulator.kubelet import FakeKubelet

CASES = ((64, 128), (256, 1024))
SECONDS = 5.0


async def attack() -> Finding:
    results = [await case(limit, vfs) for limit, vfs in CASES]
    return Finding(
        "RLIMIT_NOFILE of " + ", ".join(f"{limit} with {vfs:,} VFs" for limit, vfs in CASES),
        "once each",
        all(held for held, _ in results),
        "; ".join(found for _, found in results),
    )


async def case(limit: int, vfs: int) -> tuple[bool, str]:
    async with (
        ground(vfs, within=("prlimit", f"--nofile={limit}:{limit}")) as one,
        FakeKubelet(one.folder / "kubelet") as kubelet,
        one.daemon,
    ):
        probes = Probes(one.daemon)
        try:
            await until_offered(kubelet, vfs)
            await probes.during(SECONDS)
        except TimeoutError:
            return False, f"{limit}: not all offered; status {one.daemon.status()}"
        return not probes.slow and one.daemon.status() is None, f"{limit}: all offered, {probes}"


if __name__ == "__main__":
    tell(attack)
