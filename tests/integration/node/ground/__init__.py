"""The real node: QAT PFs, containerd, a kubelet and pods, in a guest that tests/integration/guest/run boots.

Nothing here is a fake but the PF driver (tests/integration/guest/driver). One noun a module; Node puts them together.
"""
