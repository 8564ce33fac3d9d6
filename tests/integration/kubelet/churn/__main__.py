"""Lets pods come and go: see --help. kubelet/hammer starts it where there is a device manager for it."""

import argparse
import asyncio
import json
import os
import secrets
import sys
import tempfile
from pathlib import Path

from ground.manager import FOLDER

from churn.lives import Ages
from churn.run import Churn, Plan


def plan_of(arguments: list[str]) -> Plan:
    ages = Ages()
    parser = argparse.ArgumentParser(prog="tests/integration/kubelet/hammer", description=__doc__)
    parser.add_argument("--seed", type=int, help="decides what becomes of each pod; by chance, and printed")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (60)")
    parser.add_argument("--admissions", type=int, default=0, help="end after so many; 0 for any number (0)")
    parser.add_argument("--vfs", type=int, default=16, help="of the node, 16 to a PF (16)")
    parser.add_argument("--status", type=int, default=0, help="clients of /status, without pause (0)")
    parser.add_argument("--metrics", type=int, default=0, help="clients of /metrics, each second (0)")
    parser.add_argument("--devices-every", type=float, default=0.0, metavar="S", help="run `qatdp devices` (never)")
    parser.add_argument("--lists-per-s", type=float, default=0.0, metavar="N", help="of another agent on the node (0)")
    parser.add_argument("--move-every", type=float, default=0.0, metavar="S", help="change the configuration (never)")
    parser.add_argument("--repartition", action="store_true", help="let that change the services of half of the PFs")
    parser.add_argument(
        "--short",
        type=float,
        default=ages.short_s,
        metavar="S",
        help="most pods' mean life, or what admissions leave (0.1)",
    )
    parser.add_argument(
        "--long-share", type=float, default=ages.long_share, help="of pods that live for seconds (0.02)"
    )
    options = parser.parse_args(arguments)
    return Plan(
        seed=secrets.randbits(32) if options.seed is None else options.seed,
        seconds=options.seconds,
        admissions=options.admissions,
        vfs=options.vfs,
        status=options.status,
        metrics=options.metrics,
        devices_every_s=options.devices_every,
        lists_per_s=options.lists_per_s,
        move_every_s=options.move_every,
        repartition=options.repartition,
        ages=Ages(options.short, ages.long_s, options.long_share),
    )


def main() -> int:
    plan = plan_of(sys.argv[1:])
    if "DEVICEMANAGER" not in os.environ or not FOLDER.is_mount():
        print("churn: it needs the real device manager: run tests/integration/kubelet/hammer", file=sys.stderr)
        return 77
    print(f"churn: seed {plan.seed}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="churn-", dir="/dev/shm") as folder:
        logs = Path(os.environ.get("LOGS", folder))
        logs.mkdir(parents=True, exist_ok=True)
        churn = Churn(plan, Path(os.environ["DEVICEMANAGER"]), Path(folder), logs / "churn.log")
        print(json.dumps(asyncio.run(churn.run())), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
