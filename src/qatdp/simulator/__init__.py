"""A simulated node and kubelet: what `qatdp simulate` shows, and what tests are written with.

host     folders that look as /sys and /dev do, and writes that are answered as unkindly as the kernel answers them
kubelet  a device manager on real sockets, as unkind as the real one
demo     the story that `qatdp simulate` tells
"""
