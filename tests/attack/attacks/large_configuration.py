"""A wrong configuration of 1 MiB, as anybody can write who may write the ConfigMap."""

from attacks.finding import Finding, tell
from attacks.ground import Probes, served

BYTES = 1 << 20
SECONDS = 15.0
MOST_BYTES = 16 << 20
TEXTS = {
    "many entries": "version: 1\nresources: [" + "1, " * ((BYTES - 64) // 3) + "]\n",
    "one long value": "version: 1\nresources: '" + "x" * (BYTES - 64) + "'\n",
}


async def attack() -> Finding:
    results = [await case(name, text) for name, text in TEXTS.items()]
    return Finding(
        f"a wrong configuration of 1 MiB: {', '.join(TEXTS)}",
        "once each",
        all(held for held, _ in results),
        "; ".join(found for _, found in results),
    )


async def case(name: str, text: str) -> tuple[bool, str]:
    async with served() as ground:
        before_bytes, probes = ground.daemon.resident_bytes(), Probes(ground.daemon)
        ground.node.config.write_text(text)
        await probes.during(SECONDS)
        if ground.daemon.status() is not None:
            return False, f"{name}: the daemon ended with status {ground.daemon.status()}"
        grown_bytes = ground.daemon.resident_bytes() - before_bytes
    held = not probes.slow and grown_bytes <= MOST_BYTES
    return held, f"{name}: {grown_bytes >> 20} MiB more memory, {probes}"


if __name__ == "__main__":
    tell(attack)
