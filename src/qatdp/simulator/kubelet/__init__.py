"""FakeKubelet: a kubelet's device manager on real sockets, as unkind as the real one, for tests that have none.

What it does is read from the real one (k8s.io/kubernetes pkg/kubelet/cm/devicemanager, dm/ below) and follows it step
by step, so that what goes wrong there goes wrong here as well, and one scenario can run on both. Topology hints, CDI
annotations and the rate limit of PodResources are not here: it is a kubelet with the topology policy `none`.

versions.py    what differs from minor version to minor version: one table
fake.py        FakeKubelet, which tests hold; it outlives the kubelets that it starts and ends
life.py        one kubelet from its start to its end: its sockets and its tasks
setting.py     what its parts share, and what has happened
plugins.py     registration: Register, the call back, one stream for each
connection.py  one connection to a plugin
allocation.py  what an admission does: choice, GetPreferredAllocation, Allocate
ledger.py      what it keeps in memory of devices and pods
checkpoint.py  what it writes down of that
books.py       the PodResources server
holds.py       how a test stops it before a call
answers.py     pods on paper, and what it answers about them
"""

from qatdp.simulator.kubelet.answers import Container, KubeletEndedError, Pod, RefusedError
from qatdp.simulator.kubelet.fake import FakeKubelet
from qatdp.simulator.kubelet.holds import Call, Hold
from qatdp.simulator.kubelet.versions import KINDS, VERSIONS, Version

__all__ = [
    "KINDS",
    "VERSIONS",
    "Call",
    "Container",
    "FakeKubelet",
    "Hold",
    "KubeletEndedError",
    "Pod",
    "RefusedError",
    "Version",
]
