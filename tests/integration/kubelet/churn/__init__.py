"""Pods that come and go without pause on the kubelet's real device manager, with the daemon as a process of its own.

It counts what must never be: one VF in two pods that live. What it knows of the daemon is its command line, its sockets
and the files of a simulated node, so that any version of it can be tried. Run it by tests/integration/kubelet/hammer.
"""
