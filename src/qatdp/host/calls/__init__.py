"""HostCalls: everything that qatdp asks of the kernel's files, in two implementations that one suite holds together."""
