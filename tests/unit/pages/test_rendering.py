"""A page is made at most once in its period, in a thread, for all who ask; and its text is that of the whole report."""

import asyncio
import json
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from http import HTTPStatus

import pytest
from support.report import Fixed, a_device, a_report

from qatdp.core.status.report import Report, plain
from qatdp.pages.http import Answer
from qatdp.pages.metrics import Metrics
from qatdp.pages.pages import pages
from qatdp.pages.rendering import Rendering, render_thread
from qatdp.pages.text import StatusText


class Making:
    """Makes pages with numbers in them, and waits in between where it is told to."""

    def __init__(self) -> None:
        self.taken: list[int] = []  # by which threads
        self.made: list[int] = []
        self.may_end = threading.Event()
        self.may_end.set()

    def take(self) -> Callable[[], Answer]:
        self.taken.append(threading.get_ident())
        return self._make

    def _make(self) -> Answer:
        self.made.append(threading.get_ident())
        self.may_end.wait()
        return Answer(str(len(self.made)).encode())


@pytest.fixture
def thread() -> Executor:
    return render_thread()


async def test_rendering_is_shared_by_all_who_wait(thread: Executor) -> None:
    making = Making()
    making.may_end.clear()
    page = Rendering(making.take, thread, period_s=0.0)
    asking = [asyncio.create_task(page()) for _ in range(10)]
    leaves = asyncio.create_task(page())
    await asyncio.sleep(0)
    leaves.cancel()
    making.may_end.set()
    assert {(await one).body for one in asking} == {b"1"}
    assert making.taken == [threading.get_ident()]
    assert len(making.made) == 1 and making.made != making.taken


async def test_rendering_is_made_once_in_its_period(thread: Executor) -> None:
    making = Making()
    page = Rendering(making.take, thread, period_s=3600)
    assert {(await page()).body for _ in range(5)} == {b"1"}
    page = Rendering(making.take, thread, period_s=0.0)
    assert [(await page()).body for _ in range(3)] == [b"2", b"3", b"4"]


async def test_rendering_that_fails_is_not_tried_again_at_once(thread: Executor) -> None:
    tries = []

    def fails() -> Callable[[], Answer]:
        tries.append(1)
        raise ValueError("broken")

    page = Rendering(fails, thread, period_s=3600)
    for _ in range(3):
        with pytest.raises(ValueError, match="broken"):
            await page()
    assert len(tries) == 1


async def test_probes_are_answered_without_a_report() -> None:
    class Seen(Fixed):
        def freeze(self) -> Callable[[], Report]:
            raise AssertionError("a probe asks for no report")

    of = pages(Seen(a_report()), Metrics())
    assert (await of["/healthz"]()).status is HTTPStatus.OK
    assert (await of["/readyz"]()).body == b"ready\n"


def test_status_text_is_the_whole_report_whatever_it_was_before() -> None:
    text, report = StatusText(), a_report()
    many = tuple(a_device(f"0000:6b:{n:02x}.1", reason=f'"{n}" é') for n in range(20))
    for now in (report, replace(report, devices=many), replace(report, devices=many[::-2], history=()), report):
        assert text.of(now) == json.dumps(plain(now))
