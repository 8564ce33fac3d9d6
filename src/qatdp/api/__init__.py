"""The kubelet's gRPC messages and stubs, generated from proto/ by `make proto` and committed.

Never edited by hand. Only qatdp.kubelet and qatdp.simulator import them: beyond, a device is a value of qatdp.core.
"""
