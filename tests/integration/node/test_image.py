"""The daemon from its container image, as the DaemonSet runs it: the same rights and mounts, here as a static pod."""

import copy
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from ground import pfs, vfio
from ground.configmap import ConfigMap
from ground.faults import fault, faults
from ground.kubelet import NODE_NAME, ListTaken
from ground.node import CY, DC, Node
from ground.pods import CGROUPS, Container, Pod
from ground.provisioning import hanging_writer, wish, writers
from ground.waiting import until, until_equal
from manifests import manifests

ALL = {CY: ListTaken(32, 32), DC: ListTaken(32, 32)}


MANAGING = ("--provision", "--deadline=5")


def manifest(config: Path, name: str = "qatdp", options: Sequence[str] = ()) -> Mapping[str, Any]:
    """Return the DaemonSet's pod, less what a kubelet by itself cannot do.

    It has no ConfigMap, so the folder is the host's; and its pods have no network but the host's, for the probes. Locks
    are the host's as well, as all that configure PFs have to share them.
    """
    daemon_set = manifests("bind")["DaemonSet"]
    spec = copy.deepcopy(daemon_set["spec"]["template"]["spec"])
    del spec["priorityClassName"]
    (volume,) = (volume for volume in spec["volumes"] if "configMap" in volume)
    del volume["configMap"]
    volume["hostPath"] = {"path": str(config), "type": "Directory"}
    (volume,) = (volume for volume in spec["volumes"] if volume["name"] == "run")
    del volume["emptyDir"]
    volume["hostPath"] = {"path": "/run/qatdp", "type": "DirectoryOrCreate"}
    (container,) = spec["containers"]
    container["args"] += options
    container["imagePullPolicy"] = "Never"
    metadata = {"name": name, "namespace": daemon_set["metadata"]["namespace"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {**spec, "hostNetwork": True}}


def put(node: Node, config: Path, name: str = "qatdp", options: Sequence[str] = ()) -> Pod:
    file = node.kubelet.manifests / f"{name}.json"
    temporary = file.with_name(f".{name}.json")
    temporary.write_text(json.dumps(manifest(config, name, options)))
    temporary.rename(file)
    return Pod(node.kubelet, file, f"{name}-{NODE_NAME}")


@pytest.fixture(scope="module")
def image(node: Node) -> None:
    vfio.load()
    node.containerd.import_image(Path(os.environ["IMAGE"]))


@pytest.fixture
def plugin(node: Node, image: None, tmp_path: Path) -> Iterator[Pod]:
    (tmp_path / "config.yaml").write_text("version: 1\n")
    pod = put(node, tmp_path)
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


@pytest.fixture
def as_before(node: Node) -> Iterator[None]:
    yield
    node.pods.delete_all()
    for pf in node.services:
        pfs.bring_to_default(pf)
    pfs.configure(node.services)


def test_a_write_that_hangs_costs_its_pf_and_keeps_its_pod_until_it_ends(
    node: Node, image: None, as_before: None, tmp_path: Path
) -> None:
    """The pod that is deleted meanwhile stays, as its process cannot be ended; the next one serves all else."""
    stuck = next(pf for pf, services in node.services.items() if services != "dc")
    config, since = ConfigMap(tmp_path / "config", wish(50)), len(node.kubelet.log())

    def offered() -> dict[str, ListTaken]:
        return dict(node.kubelet.lists(since))

    first = put(node, config.file.parent, "first", MANAGING)
    until_equal("the kubelet has taken its lists", offered, ALL)
    with faults((stuck, "block_down")):
        fault(stuck, "block_down", "Y")
        config.write(wish(0))
        until("all others are for compression", lambda: offered().get(DC) == ListTaken(48, 48))
        writer = until("a write hangs", hanging_writer)
        pod = node.pods.put(Container(limits={DC: 1}), name="meanwhile")
        pod.wait("Running")
        assert not node.prove(pod).failures
        uid, deleted_s = first.uid, time.monotonic()
        (node.kubelet.manifests / "first.json").unlink()
        until("its daemon has ended", lambda: "stopped" in first.log("qatdp"))
        since = len(node.kubelet.log())
        second = put(node, config.file.parent, "second", MANAGING)
        until("the next one serves", lambda: offered().get(DC) == ListTaken(48, 48))
        until("and finds the writer", lambda: "configures it since" in second.log("qatdp"))
        assert writer in writers()
        print(f"image: {time.monotonic() - deleted_s:.0f} s after the pod was deleted its writer is still there")
        print(f"image: cgroups of it: {[str(one) for one in CGROUPS.rglob(f'pod{uid}')]}")
        print(f"image: /proc/{writer}/stack: {Path(f'/proc/{writer}/stack').read_text()}")
        print(f"image: second says: {second.log('qatdp')[-3000:]}")
        assert any(CGROUPS.rglob(f"pod{uid}")), "it is still there"
    until("the deleted pod has gone", lambda: not any(CGROUPS.rglob(f"pod{uid}")))
    print(f"image: {time.monotonic() - deleted_s:.0f} s after it was deleted the pod has gone")
    until("the PF has followed", lambda: offered().get(DC) == ListTaken(64, 64))
    pod.delete()
    second.delete()
