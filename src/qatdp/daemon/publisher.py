"""Publisher: one feed per resource, each with the pool that was published last."""

from collections.abc import Callable
from dataclasses import replace

from qatdp.core.pools.pools import Pools, ResourcePool
from qatdp.daemon.change_log import ChangeLog
from qatdp.feed import Feed


class Publisher:
    """`on_resource` is called with the feed of a resource that had none."""

    def __init__(self, on_resource: Callable[[Feed[ResourcePool]], None], change_log: ChangeLog) -> None:
        self._on_resource, self._change_log = on_resource, change_log
        self.feeds: dict[str, Feed[ResourcePool]] = {}

    def publish(self, pools: Pools, revision: int) -> None:
        """Publish each pool with the revision of the ledger, to which all of them belong now.

        A resource that has no pool any more has an empty one: its endpoint stays, and tells the kubelet so.
        """
        for resource in sorted(self.feeds.keys() | pools.pools.keys()):
            self._publish(replace(pools.pools.get(resource, ResourcePool(resource)), revision=revision))

    def _publish(self, pool: ResourcePool) -> None:
        feed = self.feeds.get(pool.resource)
        if feed and feed.value.devices is pool.devices:
            feed.replace(pool)
            return
        self._change_log.devices(feed.value if feed else ResourcePool(pool.resource), pool)
        if feed is None:
            self.feeds[pool.resource] = feed = Feed(pool)
            self._on_resource(feed)
        elif (feed.value.listed, feed.value.pre_start_required) == (pool.listed, pool.pre_start_required):
            feed.replace(pool)  # a list that says nothing new makes the kubelet write its checkpoint for nothing
        else:
            feed.set(pool)
