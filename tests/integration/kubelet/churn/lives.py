"""What becomes of each pod, decided by a seed and the pod's number alone. Pure: no clock, no file."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

FORCED_SHARE = 0.1
RESTART_SHARE = 0.2
OPEN_AFTER_S = (0.1, 5.0)  # from the admission; an image that is pulled takes longer
CLOSE_AFTER_S = (0.0, 0.05)  # from the end
FORCED_CLOSE_AFTER_S = (0.2, 3.0)  # a container's grace is 30 s by default: enough to meet the next pods
SHORT_SHARE = (0.1, 1.9)


@dataclass(frozen=True, slots=True)
class Ages:
    """How long pods live, in seconds: most of them `short_s` at the mean, the others between the two of `long_s`."""

    short_s: float = 0.1
    long_s: tuple[float, float] = (1.0, 8.0)
    long_share: float = 0.02


@dataclass(frozen=True, slots=True)
class Life:
    """In seconds: `open_after_s` from the admission, `close_after_s` from the end.

    A pod lives for `long_s`, or where that is None for `short_share` of what short lives last at the time.
    """

    number: int
    short_share: float
    long_s: float | None
    open_after_s: float
    close_after_s: float
    forced: bool
    restart_share: float | None  # of its life, after which a container starts once more
    leaves_one_free: bool  # whether this pod waits until one more VF than its own is free


def lives(seed: int, ages: Ages) -> Iterator[Life]:
    """Yield one life after the other, without end."""
    number = 0
    while True:
        yield life(seed, number, ages)
        number += 1


def life(seed: int, number: int, ages: Ages) -> Life:
    chance = random.Random(f"{seed}/{number}")
    forced = chance.random() < FORCED_SHARE
    return Life(
        number,
        chance.uniform(*SHORT_SHARE),
        chance.uniform(*ages.long_s) if chance.random() < ages.long_share else None,
        chance.uniform(*OPEN_AFTER_S),
        chance.uniform(*(FORCED_CLOSE_AFTER_S if forced else CLOSE_AFTER_S)),
        forced,
        chance.random() if chance.random() < RESTART_SHARE else None,
        chance.random() < 0.5,
    )
