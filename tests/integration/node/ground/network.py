"""The pods' network: a CNI plugin of the tests that can keep a pod waiting for its network."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

# The gate gives a pod an address on paper and no interface: nobody here sends a packet. It waits as long as a certain
# file exists. CNI: https://github.com/containernetworking/cni/blob/main/SPEC.md
GATE = """\
#!/bin/sh
pod=$(echo "$CNI_ARGS" | tr ';' '\\n' | sed -n 's/^K8S_POD_NAME=//p')
case $CNI_COMMAND in
ADD)
	: >"{waiting}/$pod"
	while [ -e "{gate}" ]; do sleep 0.2; done
	rm -f "{waiting}/$pod"
	echo '{{"cniVersion": "0.4.0", "interfaces": [{{"name": "eth0", "sandbox": "'"$CNI_NETNS"'"}}],
		"ips": [{{"version": "4", "address": "192.0.2.1/24", "interface": 0}}]}}'
	;;
VERSION) echo '{{"cniVersion": "0.4.0", "supportedVersions": ["0.3.1", "0.4.0"]}}' ;;
esac
"""


class Network:
    def __init__(self, folder: Path) -> None:
        self.bin, self.conf = folder / "bin", folder / "net.d"
        self._gate, self._waiting = folder / "closed", folder / "waiting"
        for path in (self.bin, self.conf, self._waiting):
            path.mkdir(parents=True)
        plugin = self.bin / "gate"
        plugin.write_text(GATE.format(gate=self._gate, waiting=self._waiting))
        plugin.chmod(0o755)
        # containerd sets up lo by the stock plugin, and knows one folder of plugins.
        (self.bin / "loopback").symlink_to(_stock_plugin("loopback"))
        configuration = {"cniVersion": "0.4.0", "name": "gate", "plugins": [{"type": "gate"}]}
        (self.conf / "10-gate.conflist").write_text(json.dumps(configuration))

    @contextmanager
    def closed(self) -> Iterator[Callable[[str], bool]]:
        """Keep every new pod that is not on the host's network waiting for one.

        Gives a function that tells, by the kubelet's name of a pod, whether it waits now.
        """
        self._gate.touch()
        try:
            yield lambda pod: (self._waiting / pod).exists()
        finally:
            self._gate.unlink()


def _stock_plugin(name: str) -> str:
    found = shutil.which(name, path="/usr/lib/cni:/opt/cni/bin:/usr/libexec/cni")
    assert found, f"the CNI plugin {name} is not installed (PATH {os.environ['PATH']})"
    return found
