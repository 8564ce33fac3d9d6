"""What the kubelet does otherwise from minor version to minor version, in one table."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

FIRST, LAST = 29, 37


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One minor version.

    cleans_sockets_only          at its start it removes sockets from the device-plugins folder; others remove whatever
                                 is neither a folder nor the checkpoint (CleanupPluginDirectory)
    register_ends_with_caller    a Register that its caller gives up comes to nothing; others go on, and may connect
    plugins_by_path              it tells plugins of one resource apart by their sockets: the end of an old one leaves
                                 the new one alone, but a path that is registered twice is refused and poisoned. Others
                                 know one plugin a resource, and close it when any that came before it ends
    crashes_on_vanished_devices  it follows a nil pointer when a device is being allocated that has left the list
    lists_active_pods_only       PodResources List leaves out pods that have ended; others name them, and what they had
                                 as long as that was not freed
    shows_health                 the status of a pod has the health of its devices (gate ResourceHealthStatus)
    health_by_resource           it finds the pod of a device by resource and ID; others by ID alone, in any resource
    """

    cleans_sockets_only: bool
    register_ends_with_caller: bool
    plugins_by_path: bool
    crashes_on_vanished_devices: bool
    lists_active_pods_only: bool
    shows_health: bool
    health_by_resource: bool


def _version(minor: int) -> Version:
    return Version(
        cleans_sockets_only=minor >= 33,
        crashes_on_vanished_devices=minor >= 34,
        lists_active_pods_only=minor >= 34,
        register_ends_with_caller=minor >= 35,
        shows_health=minor >= 36,
        plugins_by_path=minor >= 37,
        health_by_resource=minor >= 37,
    )


VERSIONS: Mapping[str, Version] = MappingProxyType({f"1.{minor}": _version(minor) for minor in range(FIRST, LAST + 1)})


def since(minor: int) -> tuple[str, ...]:
    return tuple(f"1.{n}" for n in range(minor, LAST + 1))


def up_to(minor: int) -> tuple[str, ...]:
    return tuple(f"1.{n}" for n in range(FIRST, minor + 1))


# One version of each kind: the newest of those that do the same.
KINDS = tuple({version: minor for minor, version in VERSIONS.items()}.values())
