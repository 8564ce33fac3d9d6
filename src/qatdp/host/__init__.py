"""The edge to the kernel: reads sysfs into a Snapshot, binds VFs, listens to uevents, reads the configuration file."""
