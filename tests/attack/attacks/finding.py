"""What an attack has found, and how it says so."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """`tried` how often is `times`; `held` whether the daemon did as it should, and `found` what was measured."""

    tried: str
    times: str
    held: bool
    found: str


def tell(attack: Callable[[], Coroutine[None, None, Finding]]) -> None:
    """Run an attack and print what it has found."""
    print(json.dumps(asdict(asyncio.run(attack()))), flush=True)
