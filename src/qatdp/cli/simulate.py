"""`qatdp simulate`: the whole of it for whoever has neither QAT nor a cluster, on this machine and without root."""

import asyncio
import contextlib
import json
import logging
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from qatdp.cli.table import print_lines
from qatdp.core.model.qat import FAMILIES, parse_services
from qatdp.descriptors import raise_limit
from qatdp.simulator.demo import Event, Setup, story


def _services(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    for text in value:
        if parse_services(text) is None:
            raise click.BadParameter(f"{text!r} is not a set of services, such as 'sym;asym' or dc", context, parameter)
    return value


@click.command()
@click.option("--pfs", type=click.IntRange(1, 64), default=8, envvar="QATDP_PFS", show_default=True, help="PFs.")
@click.option(
    "--vfs", type=click.IntRange(1, 16), default=16, envvar="QATDP_VFS", show_default=True, help="VFs of each PF."
)
@click.option(
    "--services",
    multiple=True,
    default=("sym;asym", "dc"),
    callback=_services,
    envvar="QATDP_SERVICES",
    show_default=True,
    help="Services of the PFs, in turn; repeat it for more.",
)
@click.option(
    "--family",
    type=click.Choice([family.name for family in FAMILIES if family.selectable]),
    default="4xxx",
    envvar="QATDP_FAMILY",
    show_default=True,
    help="Family of the PFs.",
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    envvar="QATDP_CONFIG",
    help="Configuration file of the daemon.",
)
@click.option("--once", is_flag=True, envvar="QATDP_ONCE", help="Exit after the demo instead of serving on.")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["text", "json"]),
    default="text",
    envvar="QATDP_OUTPUT",
    show_default=True,
    help="Text, or one JSON object per line.",
)
def simulate(
    pfs: int,
    vfs: int,
    services: tuple[str, ...],
    family: str,
    config_file: Path | None,
    *,
    once: bool,
    output: str,
) -> None:
    """Show what qatdp does, on a simulated node with an embedded kubelet.

    The daemon is the real one, and talks to the kubelet over real sockets; what is shown is what the kubelet got. It
    stays until stopped, so that the node's files and sockets can be looked at.
    """
    # The daemon logs what goes wrong on the node, which is what the story tells anyway.
    raise_limit()
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s %(message)s")
    show = _as_json if output == "json" else _as_text
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_tell(Setup(pfs, vfs, services, family, config_file), show, once=once))


async def _tell(setup: Setup, show: Callable[[Event], None], *, once: bool) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with story(setup) as one:
        async with contextlib.aclosing(one.tell()) as events:
            async for event in events:
                if event["event"] != "end":
                    show(event)
                elif not once:
                    show(event)
                    await stop.wait()
                if stop.is_set():
                    break


def _as_json(event: Event) -> None:
    click.echo(json.dumps(event))


def _as_text(event: Event) -> None:
    print_lines(TEXTS[str(event["event"])](event))


def _node(event: Mapping[str, Any]) -> Iterator[str]:
    what = f"{_many(event['pfs'], 'PF')} and {_many(event['vfs'], 'VF')}"
    yield f"A node with {what}, made in {event['sysfs']}; its kubelet is"
    yield f"{event['kubelet_dir']}. The daemon binds the VFs and registers what they offer."
    config = f" --config {event['config']}" if event["config"] else ""
    yield f"Look yourself: qatdp devices --sysfs {event['sysfs']} --dev {event['dev']}{config}"


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _resources(event: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield f"{'the kubelet advertises':32}  capacity  allocatable"
    for name, of in event["resources"].items():
        yield f"  {name:30}  {of['capacity']:8}  {of['allocatable']:11}"
    if not event["resources"]:
        yield "  nothing"


def _pod(event: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield f"pod {event['name']} asks for {_asked(event)}"
    yield from (f"  {name}={value}" for name, value in event["env"].items())
    yield f"  {' '.join(event['devices'])}"


def _refused(event: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield f"pod {event['name']} asks for {_asked(event)} and is refused"
    yield f"  {event['reason']}"


def _asked(event: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in event["resources"].items())


def _pf(event: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    what = "goes down, and its VFs with it" if event["state"] == "down" else "is up again; its VFs are bound again"
    yield f"PF {event['address']} {what}"


def _stale(event: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield f"pod {event['name']} still has {', '.join(event['devices'])}. Its containers would be started with the"
    yield "nodes that these VFs had before, so they are not offered until it has ended. Now it ends."


def _end(event: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield "That is all. The daemon goes on serving until it is stopped (Ctrl-C)."


TEXTS: Mapping[str, Callable[[Event], Iterator[str]]] = {
    "node": _node,
    "resources": _resources,
    "pod": _pod,
    "refused": _refused,
    "pf": _pf,
    "stale": _stale,
    "end": _end,
}
