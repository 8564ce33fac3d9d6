"""A feed has the latest value; readers that are slow skip, and none misses that there is something new."""

import asyncio

import pytest

from qatdp.feed import Feed


async def read(feed: Feed[str], times: int, seen: list[str]) -> None:
    """Read as a stream does: what there is now, then each new version."""
    for _ in range(times):
        version = feed.version
        seen.append(feed.value)
        await feed.after(version)


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_reader_is_woken_by_each_value_that_it_keeps_up_with() -> None:
    feed, seen = Feed("a"), list[str]()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(read(feed, 3, seen))
        for value in ("b", "c", "d"):
            await settle()
            feed.set(value)
    assert seen == ["a", "b", "c"]


async def test_a_slow_reader_skips_to_the_latest_value() -> None:
    feed = Feed("a")
    for value in ("b", "c", "d"):
        feed.set(value)
    assert await feed.after(1) == 4
    assert feed.value == "d"


async def test_an_equal_value_is_not_published() -> None:
    feed = Feed("a")
    feed.set("a")
    assert feed.version == 1
    waiting = asyncio.ensure_future(feed.after(1))
    feed.set("a")
    await settle()
    assert not waiting.done()
    feed.set("b")
    assert await waiting == 2


async def test_again_wakes_every_reader_with_the_same_value() -> None:
    feed = Feed("a")
    waiting = [asyncio.ensure_future(feed.after(1)) for _ in range(3)]
    await settle()
    feed.again()
    assert await asyncio.gather(*waiting) == [2, 2, 2]
    assert feed.value == "a"


async def test_replace_wakes_nobody() -> None:
    feed = Feed("a")
    waiting = asyncio.ensure_future(feed.after(1))
    await settle()
    feed.replace("b")
    await settle()
    assert (waiting.done(), feed.version, feed.value) == (False, 1, "b")
    feed.again()
    assert await waiting == 2


async def test_a_reader_that_is_cancelled_takes_nothing_from_the_others() -> None:
    feed = Feed("a")
    first, second = (asyncio.ensure_future(feed.after(1)) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    feed.set("b")
    assert await second == 2
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_any_other_version_returns_at_once() -> None:
    feed = Feed("a")
    assert await feed.after(0) == 1
