"""What an admission does with devices (dm/manager.go: Allocate, devicesToAllocate, GetDeviceRunContainerOptions)."""

from collections.abc import Collection
from dataclasses import dataclass

from qatdp.api import deviceplugin_v1beta1_pb2 as api
from qatdp.simulator.kubelet import checkpoint
from qatdp.simulator.kubelet.answers import ContainerLike, DeviceNode, Mount, PodLike, RefusedError, RunOptions
from qatdp.simulator.kubelet.connection import Plugin, PluginError, ask
from qatdp.simulator.kubelet.holds import Call
from qatdp.simulator.kubelet.ledger import NO_NUMA_NODE, Given, Ledger
from qatdp.simulator.kubelet.plugins import Plugins
from qatdp.simulator.kubelet.setting import Setting

PRE_START_S = 30.0


class PanicError(Exception):
    """The kubelet follows a nil pointer."""


@dataclass(slots=True)
class _Reusable:
    """What the plain init containers of one pod had, by resource: later containers get it first."""

    uid: str
    ids: dict[str, frozenset[str]]


class Allocation:
    """Chooses devices for the containers of pods, and asks plugins for what comes with them."""

    def __init__(self, setting: Setting, ledger: Ledger, plugins: Plugins) -> None:
        self._setting, self._ledger, self._plugins = setting, ledger, plugins
        self._reusable = _Reusable("", {})

    async def allocate(self, pod: PodLike, container: ContainerLike) -> None:
        """Give a container what its limits say, resource by resource. Raises RefusedError, PanicError.

        One that is refused half-way keeps what it has by then, until somebody prunes.
        """
        if self._reusable.uid != pod.uid:
            self._reusable = _Reusable(pod.uid, {})
        reusable = self._reusable.ids
        await self._give(pod, container, reusable)
        plain_init = not container.restartable and any(one.name == container.name for one in pod.init)
        for resource, given in self._ledger.of_container(pod.uid, container.name).items():
            had = reusable.get(resource, frozenset())
            reusable[resource] = had | given.ids if plain_init else had - given.ids

    async def _give(self, pod: PodLike, container: ContainerLike, reusable: dict[str, frozenset[str]]) -> None:
        pruned = changed = False
        for resource, count in self._setting.shuffled(container.limits.items()):
            if not self._ledger.knows(resource):
                continue
            if not pruned:
                self._ledger.prune()
                pruned = True
            chosen = await self._choose(pod.uid, container.name, resource, count, reusable.get(resource, frozenset()))
            if chosen:
                given = await self._ask(resource, chosen)
                self._ledger.give(pod.uid, container.name, resource, given)
                changed = True
        if changed:
            checkpoint.write(self._setting.plugins, self._ledger)

    async def _choose(
        self, uid: str, container: str, resource: str, count: int, reusable: Collection[str]
    ) -> frozenset[str]:
        """Return what is to be asked for; nothing where it was given before."""
        had = self._ledger.of_container(uid, container).get(resource)
        if had and len(had.ids) != count:
            problem = f'changed request for resource "{resource}" from {len(had.ids)} to {count}'
            raise RefusedError(f'pod "{uid}" container "{container}" {problem}')
        if not self._ledger.sources_ready and (uid, container) in self._ledger.running:
            return frozenset()
        if resource not in self._ledger.healthy:
            raise RefusedError(f"cannot allocate unregistered device {resource}")
        healthy = self._ledger.healthy[resource]
        if not healthy:
            raise RefusedError(f"no healthy devices present; cannot allocate unhealthy devices {resource}")
        if had and not had.ids <= healthy:
            problem = "previously allocated devices are no longer healthy"
            raise RefusedError(f"{problem}; cannot allocate unhealthy devices {resource}")
        if had or not count:
            return frozenset()
        return await self._pick(resource, count, frozenset(reusable))

    async def _pick(self, resource: str, count: int, reusable: frozenset[str]) -> frozenset[str]:
        """Pick what can be used again, whatever its health; then of what the plugin prefers; then of the rest."""
        taken: set[str] = set()

        def take(ids: frozenset[str]) -> bool:
            for text in self._setting.shuffled(ids - taken):
                self._ledger.in_use.setdefault(resource, set()).add(text)
                taken.add(text)
                if len(taken) == count:
                    return True
            return False

        if take(reusable):
            return frozenset(taken)
        available = frozenset(self._ledger.healthy[resource] - self._ledger.in_use.get(resource, set()))
        if len(available) < count - len(taken):
            asked = f"Requested: {count - len(taken)}, Available: {len(available)}"
            raise RefusedError(f"requested number of devices unavailable for {resource}. {asked}")
        preferred = await self._preferred(resource, available | taken, taken, count)
        if not take(preferred & available):
            take(available)
        return frozenset(taken)

    async def _preferred(
        self, resource: str, available: Collection[str], must_include: Collection[str], size: int
    ) -> frozenset[str]:
        """Ask for the plugin's preference, with the size of the whole request. Only an error of it does any harm."""
        plugin = self._plugins.of(resource)
        if plugin is None:
            raise RefusedError(f"endpoint not found in cache for a registered resource: {resource}")
        if not plugin.options or not plugin.options.get_preferred_allocation_available:
            return frozenset()
        request = api.PreferredAllocationRequest(
            container_requests=[
                api.ContainerPreferredAllocationRequest(
                    available_deviceIDs=self._setting.shuffled(available),
                    must_include_deviceIDs=self._setting.shuffled(must_include),
                    allocation_size=size,
                )
            ]
        )
        await self._setting.holds.passes(Call.PREFERRED, resource)
        self._setting.history.note(Call.PREFERRED, resource, request)
        try:
            answer = await ask(lambda: plugin.stub.GetPreferredAllocation(request))
        except PluginError as error:
            raise RefusedError(f"device plugin GetPreferredAllocation rpc failed with err: {error}") from error
        return frozenset(answer.container_responses[0].deviceIDs) if answer.container_responses else frozenset()

    async def _ask(self, resource: str, chosen: frozenset[str]) -> Given:
        """Call Allocate for one container: without a deadline, the IDs in any order."""
        plugin = self._plugins.of(resource)
        if plugin is None:
            self._ledger.recount()
            raise RefusedError(f"unknown Device Plugin {resource}")
        ids = self._setting.shuffled(chosen)
        request = api.AllocateRequest(container_requests=[api.ContainerAllocateRequest(devices_ids=ids)])
        await self._setting.holds.passes(Call.ALLOCATE, resource)
        self._setting.history.note(Call.ALLOCATE, resource, request)
        try:
            answer = await ask(lambda: plugin.stub.Allocate(request))
        except PluginError as error:
            self._ledger.recount()
            raise RefusedError(str(error)) from error
        if not answer.container_responses:  # what was chosen stays in use
            raise RefusedError(f"no containers return in allocation response {answer}")
        return Given(self._by_numa_node(resource, ids), answer.container_responses[0])

    def _by_numa_node(self, resource: str, ids: Collection[str]) -> dict[int, tuple[str, ...]]:
        by_node: dict[int, list[str]] = {}
        devices = self._ledger.devices.get(resource, {})
        for text in ids:
            if text not in devices and self._setting.version.crashes_on_vanished_devices:
                raise PanicError(
                    "panic: runtime error: invalid memory address or nil pointer dereference\n"
                    f"allocateContainerResources: {text} has left the list of {resource} while it was being allocated"
                )
            nodes = [node.ID for node in devices[text].topology.nodes] if text in devices else []
            for node in nodes or [NO_NUMA_NODE]:
                by_node.setdefault(node, []).append(text)
        return {node: tuple(of_node) for node, of_node in by_node.items()}

    # What a start of a container is told

    async def options(self, pod: PodLike, container: ContainerLike) -> RunOptions:
        """Merge the answers for a container, in any order, what comes first winning. Raises RefusedError."""
        missing = False
        for resource, count in container.limits.items():
            if self._ledger.knows(resource) and count:
                await self._pre_start(pod, container, resource)
                missing |= resource not in self._ledger.of_container(pod.uid, container.name)
        if missing:
            await self.allocate(pod, container)
        given = self._ledger.of_container(pod.uid, container.name)
        return _merge([given[resource].answer for resource in self._setting.shuffled(given)])

    async def _pre_start(self, pod: PodLike, container: ContainerLike, resource: str) -> None:
        plugin = self._plugins.of(resource)
        if plugin is None:
            raise RefusedError(f"endpoint not found in cache for a registered resource: {resource}")
        if not plugin.options or not plugin.options.pre_start_required:
            return
        given = self._ledger.of_container(pod.uid, container.name).get(resource)
        if given is None:
            where = f"pod {pod.uid}, container {container.name}, resource {resource}"
            raise RefusedError(f"no devices found allocated in local cache for {where}")
        await self._call_pre_start(plugin, self._setting.shuffled(given.ids))

    async def _call_pre_start(self, plugin: Plugin, ids: Collection[str]) -> None:
        request = api.PreStartContainerRequest(devices_ids=ids)
        try:
            await ask(lambda: plugin.stub.PreStartContainer(request, timeout=PRE_START_S))
        except PluginError as error:
            raise RefusedError(f"device plugin PreStartContainer rpc failed with err: {error}") from error


def _merge(answers: list[api.ContainerAllocateResponse]) -> RunOptions:
    envs: dict[str, str] = {}
    annotations: dict[str, str] = {}
    devices: dict[str, DeviceNode] = {}
    mounts: dict[str, Mount] = {}
    cdi: dict[str, None] = {}
    for answer in answers:
        envs = {**answer.envs, **envs}
        annotations = {**answer.annotations, **annotations}
        for spec in answer.devices:
            devices.setdefault(spec.container_path, DeviceNode(spec.host_path, spec.container_path, spec.permissions))
        for mount in answer.mounts:
            mounts.setdefault(mount.container_path, Mount(mount.host_path, mount.container_path, mount.read_only))
        cdi |= dict.fromkeys(device.name for device in answer.cdi_devices)
    return RunOptions(envs, tuple(devices.values()), tuple(mounts.values()), annotations, tuple(cdi))
