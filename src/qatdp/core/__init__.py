"""The decisions of qatdp, as functions of values: no file, no clock, no network, no thread.

A node is a frozen `Snapshot`; `build_pools` turns it, the configuration and the books into one `ResourcePool` per
resource. Everything here can be tried without a machine.
"""
