"""qatdp: a Kubernetes device plugin for the virtual functions of Intel QuickAssist devices."""
