"""Registration: Register, the call back, and one stream for each (dm/plugin/v1beta1, dm/manager.go).

The kubelet has two books on plugins that can disagree: the clients of its registration server (`_clients`), and the
endpoints that it asks for devices (`_primary`, `_by_path`). What goes wrong with re-registrations goes wrong between
them.
"""

import asyncio
import os
import re
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeAlias

import grpc

from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.api.deviceplugin_v1beta1_pb2_grpc import RegistrationServicer
from qatdp.simulator.kubelet import checkpoint
from qatdp.simulator.kubelet.connection import CHANNEL, Plugin, PluginError, ask, is_cancelled
from qatdp.simulator.kubelet.holds import Call
from qatdp.simulator.kubelet.ledger import Ledger
from qatdp.simulator.kubelet.setting import Setting

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Spawn: TypeAlias = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]

VERSION = "v1beta1"
ENDPOINT_CHARACTERS = 75  # behind /var/lib/kubelet/device-plugins/ sun_path has no more

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_NAME = re.compile(rf"(?P<prefix>{_LABEL}(\.{_LABEL})*)/(?P<name>[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?)")
_PREFIX_CHARACTERS = 253 - len("requests.")


def is_extended_resource(name: str) -> bool:
    """Return whether a resource can be a plugin's (pkg/apis/core/v1/helper/helpers.go, IsExtendedResourceName)."""
    match = _NAME.fullmatch(name)
    if not match or "kubernetes.io/" in name or name.startswith("requests."):
        return False
    return len(match["prefix"]) <= _PREFIX_CHARACTERS


class RegisterError(Exception):
    """Why a Register came to nothing: a text, for the code is always UNKNOWN."""


class Plugins(RegistrationServicer):
    """The plugins of one kubelet. `spawn` starts what ends with it."""

    def __init__(self, setting: Setting, ledger: Ledger, registered: tuple[str, ...], spawn: Spawn) -> None:
        self._setting, self._ledger, self._spawn = setting, ledger, spawn
        now_s = asyncio.get_running_loop().time()
        self._primary = {name: Plugin(name, setting.plugins, stopped_s=now_s) for name in registered}
        self._by_path: dict[str, dict[Path, Plugin]] = {}
        self._clients: list[Plugin] = []
        self._channels: list[grpc.aio.Channel] = []

    def of(self, resource: str) -> Plugin | None:
        """Return the plugin that is asked for devices of a resource."""
        return self._primary.get(resource)

    def forget_expired(self) -> bool:
        """Drop the resources whose plugin has been away for too long; tell whether there were any."""
        now_s, grace_s = asyncio.get_running_loop().time(), self._setting.stop_grace_s
        gone = [r for r, one in self._primary.items() if one.stopped_s is not None and now_s - one.stopped_s > grace_s]
        for resource in gone:
            del self._primary[resource]
            self._ledger.drop(resource)
        return bool(gone)

    async def close(self) -> None:
        """Close all connections, as the end of the process does."""
        await asyncio.gather(*(channel.close() for channel in self._channels))

    # Register

    async def Register(self, request: api.RegisterRequest, context: Context) -> api.Empty:
        """Connect to the plugin, ask for its options, and only then answer; the request's own options are not read."""
        resource = request.resource_name
        self._setting.history.note(Call.REGISTER, resource, request)
        await self._setting.holds.passes(Call.REGISTER, resource)
        if problem := self._invalid(request):
            await context.abort(grpc.StatusCode.UNKNOWN, problem)
        work = self._spawn(self._connect(resource, request.endpoint))
        try:
            await (work if self._setting.version.register_ends_with_caller else asyncio.shield(work))
        except RegisterError as error:
            await context.abort(grpc.StatusCode.UNKNOWN, str(error))
        return api.Empty()

    def _invalid(self, request: api.RegisterRequest) -> str | None:
        if request.version != VERSION:
            return (
                f'requested API version "{request.version}" is not supported by kubelet. '
                f'Supported version is ["{VERSION}"]'
            )
        if not is_extended_resource(request.resource_name):
            return f'the ResourceName "{request.resource_name}" is invalid'
        return self._setting.refused.get(request.resource_name)

    async def _connect(self, resource: str, endpoint: str) -> None:
        socket = _joined(self._setting.plugins, endpoint)
        channel = grpc.aio.insecure_channel(f"unix:{socket}", options=CHANNEL)
        self._channels.append(channel)
        plugin = Plugin(resource, socket, channel)
        self._track(plugin)
        try:
            await self._dial(channel, endpoint)
            plugin.is_connected = True
            await self._meet(plugin)
        except BaseException:
            self._untrack(plugin)  # up to 1.36 whichever plugin of the resource, from 1.37 whichever of this path
            raise
        self._spawn(self._run(plugin))

    async def _dial(self, channel: grpc.aio.Channel, endpoint: str) -> None:
        try:
            async with asyncio.timeout(self._setting.dial_s):
                if len(endpoint) > ENDPOINT_CHARACTERS:
                    await asyncio.Event().wait()  # each try fails at once
                await channel.channel_ready()
        except TimeoutError as error:
            raise RegisterError("failed to dial device plugin: context deadline exceeded") from error

    async def _meet(self, plugin: Plugin) -> None:
        await self._setting.holds.passes(Call.OPTIONS, plugin.resource)
        try:
            plugin.options = await ask(lambda: plugin.stub.GetDevicePluginOptions(api.Empty()))
        except PluginError as error:
            raise RegisterError(f"failed to get device plugin options: {error}") from error
        if self._setting.version.plugins_by_path:
            known = self._by_path.setdefault(plugin.resource, {})
            if plugin.socket in known:
                raise RegisterError(f"device plugin already connected: {plugin.socket}")
            known[plugin.socket] = plugin
        self._primary[plugin.resource] = plugin

    # The clients of the registration server

    def _same(self, one: Plugin, other: Plugin) -> bool:
        by_path = self._setting.version.plugins_by_path
        return one.resource == other.resource and (not by_path or one.socket == other.socket)

    def _track(self, plugin: Plugin) -> None:
        if not self._setting.version.plugins_by_path:
            self._untrack(plugin)
        self._clients.append(plugin)

    def _untrack(self, plugin: Plugin) -> None:
        self._clients = [client for client in self._clients if not self._same(client, plugin)]

    def _tracked(self, plugin: Plugin) -> Plugin | None:
        return next((client for client in self._clients if self._same(client, plugin)), None)

    # Streams

    async def _run(self, plugin: Plugin) -> None:
        """Read lists until they end, whatever the reason; then the plugin is disconnected, if it is still known."""
        await self._setting.holds.passes(Call.LIST_AND_WATCH, plugin.resource)
        open_stream = (plugin.resource, plugin.socket.name)
        self._setting.history.streams.append(open_stream)
        self._setting.history.changed()
        try:
            await self._read(plugin)
        finally:
            self._setting.history.streams.remove(open_stream)
            self._setting.history.changed()
        client = self._tracked(plugin)
        if client:
            await self.disconnect(client)

    async def _read(self, plugin: Plugin) -> None:
        try:
            plugin.stream = plugin.stub.ListAndWatch(api.Empty())
            async for message in plugin.stream:
                await self._setting.holds.passes(Call.READ, plugin.resource)
                self._receive(plugin.resource, message)
                await self._setting.holds.passes(Call.CHECKPOINT, plugin.resource)
                checkpoint.write(self._setting.plugins, self._ledger)
                self._setting.history.changed()
        except (grpc.aio.AioRpcError, PluginError):
            pass
        except asyncio.CancelledError:
            if is_cancelled():
                raise

    def _receive(self, resource: str, message: api.ListAndWatchResponse) -> None:
        before = self._ledger.devices.get(resource, {})
        self._ledger.replace(resource, message.devices)
        if self._setting.version.shows_health:
            scope = resource if self._setting.version.health_by_resource else None
            changed = [d.ID for d in message.devices if d.ID not in before or before[d.ID].health != d.health]
            holders = {uid for text in changed if (uid := self._ledger.holder(text, scope))}
            self._setting.history.updates += [frozenset(holders)] if holders else []
        self._setting.history.note(Call.LIST_AND_WATCH, resource, message)

    async def disconnect(self, plugin: Plugin) -> None:
        """Close a plugin's connection. Its devices are unhealthy at once, unless another plugin takes its place."""
        self._untrack(plugin)
        self._disconnected(plugin)
        self._setting.history.changed()
        await plugin.close()

    def _disconnected(self, plugin: Plugin) -> None:
        now_s = asyncio.get_running_loop().time()
        resource = plugin.resource
        if not self._setting.version.plugins_by_path:
            if resource in self._primary:  # whichever plugin that is now
                self._primary[resource].stopped_s = now_s
                self._ledger.disconnect(resource)
            return
        known = self._by_path.get(resource, {})
        if plugin.socket not in known:
            return
        known.pop(plugin.socket).stopped_s = now_s
        if known:
            self._primary[resource] = self._setting.chance.choice(list(known.values()))
        else:
            self._ledger.disconnect(resource)

    async def disconnect_all(self, resource: str | None = None) -> None:
        """Close the connections to the plugins of a resource, or to all."""
        for client in [client for client in self._clients if resource in (None, client.resource)]:
            await self.disconnect(client)


def _joined(folder: Path, endpoint: str) -> Path:
    """Return the path of an endpoint, which nobody checks: it may lead out of the folder."""
    return Path(os.path.normpath(folder / endpoint))
