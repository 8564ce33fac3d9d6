"""The daemon from its container image, as the DaemonSet runs it: the same rights and mounts, here as a static pod."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from ground import vfio
from ground.kubelet import NODE_NAME, ListTaken
from ground.node import CY, DC, Node
from ground.pods import Container, Pod
from ground.waiting import until, until_equal

ROOT = Path(__file__).resolve().parents[2]
ALL = {CY: ListTaken(32, 32), DC: ListTaken(32, 32)}


def manifest(config: Path) -> Mapping[str, Any]:
    """Return the DaemonSet's pod, less what a kubelet by itself cannot do.

    It has no ConfigMap, so the folder is the host's; and its pods have no network but the host's, for the probes.
    """
    daemon_set = yaml.safe_load((ROOT / "deploy/daemonset.yaml").read_text())
    spec = daemon_set["spec"]["template"]["spec"]
    del spec["priorityClassName"]
    (volume,) = (volume for volume in spec["volumes"] if "configMap" in volume)
    del volume["configMap"]
    volume["hostPath"] = {"path": str(config), "type": "Directory"}
    (container,) = spec["containers"]
    container["imagePullPolicy"] = "Never"
    metadata = {"name": "qatdp", "namespace": daemon_set["metadata"]["namespace"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {**spec, "hostNetwork": True}}


@pytest.fixture
def plugin(node: Node, tmp_path: Path) -> Iterator[Pod]:
    vfio.load()
    node.containerd.import_image(Path(os.environ["IMAGE"]))
    (tmp_path / "config.yaml").write_text("version: 1\n")
    file = node.kubelet.manifests / "qatdp.json"
    temporary = file.with_name(".qatdp.json")
    temporary.write_text(json.dumps(manifest(tmp_path)))
    temporary.rename(file)
    pod = Pod(node.kubelet, file, f"qatdp-{NODE_NAME}")
    yield pod
    pod.delete()


def is_ready(pod: Pod) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod.status.get("conditions", []))


def test_the_image_serves_the_node_as_the_daemonset_runs_it(node: Node, plugin: Pod) -> None:
    since = len(node.kubelet.log())
    plugin.wait("Running")
    until_equal("the kubelet has taken its lists", lambda: dict(node.kubelet.lists(since)), ALL)
    until("its probes find it ready", lambda: is_ready(plugin))
    pod = node.pods.put(Container(limits={CY: 1, DC: 1}), name="of-the-image")
    pod.wait("Running")
    assert not node.prove(pod).failures
    pod.delete()
    assert "host_calls=c" in plugin.log("qatdp")
