"""A mode chooses what the plugin may do to a node: each asks for what it uses, and README.md says what that means."""

import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from manifests import DEPLOY, MODES, Tree, daemon_set_pod, in_order, load, manifests

from qatdp.cli.options import DEFAULT_SOCKET
from qatdp.cli.provision import provision
from qatdp.cli.run import run
from qatdp.core.pools.binding import BindMode

LOCKS = DEFAULT_SOCKET.parent
SYSFS = {"/sys/bus/pci", "/sys/devices"}
SOCKETS = "/var/lib/kubelet/device-plugins"
# Which container of a mode writes below /sys. A longer list needs a reason in deploy/README.md.
WRITERS = {"base": None, "bind": "qatdp", "provision-once": "provision", "provision": "qatdp"}
CONFIGURING = ("provision-once", "provision")


def containers(mode: str) -> Iterator[Tree]:
    pod = daemon_set_pod(mode)
    yield from (*pod.get("initContainers", ()), *pod["containers"])


def plugin(mode: str) -> Any:  # noqa: ANN401
    (found,) = daemon_set_pod(mode)["containers"]
    return found


def options(mode: str) -> Any:  # noqa: ANN401
    name, *arguments = plugin(mode)["args"]
    assert name == run.name
    return run.make_context(name, list(arguments)).params


def host_folders(mode: str) -> dict[str, str]:
    volumes = daemon_set_pod(mode)["volumes"]
    return {volume["name"]: volume["hostPath"]["path"] for volume in volumes if "hostPath" in volume}


def writable(mode: str, container: Tree) -> set[str]:
    of_the_host = host_folders(mode)
    mounts = (mount for mount in container["volumeMounts"] if mount["name"] in of_the_host)
    return {of_the_host[mount["name"]] for mount in mounts if not mount.get("readOnly")}


def test_deploy_has_a_folder_for_each_mode_and_no_others() -> None:
    assert {path.parent.name for path in DEPLOY.glob("*/kustomization.yaml")} == set(MODES)
    assert {path.name for path in (DEPLOY / "components").iterdir()} == set(MODES) - {"base"}


@pytest.mark.parametrize("mode", MODES)
def test_mode_binds_and_provisions_what_its_name_says(mode: str) -> None:
    found = options(mode)
    expected = BindMode.FREE if mode == "bind" else BindMode.NEVER
    assert (BindMode(found["bind"]), found["provision"]) == (expected, mode == "provision")


@pytest.mark.parametrize("mode", MODES)
def test_mode_has_folders_where_the_command_looks_for_them(mode: str) -> None:
    of_the_host = host_folders(mode)
    for container in containers(mode):
        places = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert len({*places.values()}) == len(places)
        assert {name: place for name, place in places.items() if name in of_the_host}.items() <= of_the_host.items()
    used = {mount["name"] for container in containers(mode) for mount in container["volumeMounts"]}
    assert used == {volume["name"] for volume in daemon_set_pod(mode)["volumes"]}


@pytest.mark.parametrize("mode", MODES)
def test_mode_has_one_writer_of_sysfs_at_most(mode: str) -> None:
    writers = [container for container in containers(mode) if SYSFS & writable(mode, container)]
    assert [container["name"] for container in writers] == ([WRITERS[mode]] if WRITERS[mode] else [])
    locks = {str(LOCKS)} if mode in CONFIGURING else set()
    for container in containers(mode):
        sockets = {SOCKETS} if container["name"] == "qatdp" else set()
        assert writable(mode, container) - locks - sockets == (SYSFS if container in writers else set())


@pytest.mark.parametrize("mode", MODES)
def test_mode_lifts_apparmor_from_its_writer_alone(mode: str) -> None:
    for container in containers(mode):
        profile = {"appArmorProfile": {"type": "Unconfined"}} if container["name"] == WRITERS[mode] else {}
        assert container["securityContext"] == {
            "runAsUser": 0,
            "runAsGroup": 0,
            "privileged": False,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seLinuxOptions": {"type": "container_device_plugin_t"},
            **profile,
        }


@pytest.mark.parametrize("mode", MODES)
def test_mode_has_no_other_right(mode: str) -> None:
    pod = daemon_set_pod(mode)
    assert not {"hostNetwork", "hostPID", "hostIPC", "serviceAccountName"} & pod.keys()
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"] == {"seccompProfile": {"type": "RuntimeDefault"}}
    assert ("initContainers" in pod) == (mode == "provision-once")


@pytest.mark.parametrize("mode", MODES)
def test_readme_names_what_the_mode_writes_and_what_that_means(mode: str) -> None:
    text = (DEPLOY / "README.md").read_text()
    table = text.partition("## What each mode may do")[2].partition("\n## ")[0]
    (row,) = [line for line in table.splitlines() if line.startswith(f"| `{mode}` |")]
    written = {folder for container in containers(mode) for folder in writable(mode, container)}
    assert all(f"`{folder}`" in row for folder in written)
    assert all((f"`{folder}`" in row) == (folder in written) for folder in SYSFS)
    assert ("root of the node" in row, "AppArmor" in row) == (bool(WRITERS[mode]), bool(WRITERS[mode]))


@pytest.mark.parametrize("mode", CONFIGURING)
def test_locks_are_in_a_folder_of_the_host(mode: str) -> None:
    (volume,) = [volume for volume in daemon_set_pod(mode)["volumes"] if volume["name"] == "run"]
    assert volume == {"name": "run", "hostPath": {"path": str(LOCKS), "type": "DirectoryOrCreate"}}
    for container in containers(mode):
        assert {"name": "run", "mountPath": str(LOCKS)} in container["volumeMounts"]


@pytest.mark.parametrize("mode", CONFIGURING)
def test_the_node_name_is_given_to_whoever_configures(mode: str) -> None:
    container = next(containers(mode))
    (variable,) = container["env"]
    command = {"provision-once": provision, "provision": run}[mode]
    assert variable["name"] in {parameter.envvar for parameter in command.params}
    assert variable["valueFrom"] == {"fieldRef": {"fieldPath": "spec.nodeName"}}


def test_provision_runs_before_a_plugin_that_is_the_base_one() -> None:
    first = next(containers("provision-once"))
    name, *arguments = first["args"]
    found = provision.make_context(name, list(arguments)).params
    assert (name, found["lock_dir"], found["strict"], found["dry_run"]) == ("provision", LOCKS, False, False)
    assert found["config_file"] == options("provision-once")["config_file"]
    assert plugin("provision-once") == plugin("base")
    assert first["image"] == plugin("base")["image"]


def test_network_policy_selects_the_pods_and_their_port() -> None:
    objects = manifests("base")
    policy, daemon_set = objects["NetworkPolicy"], objects["DaemonSet"]
    labels = daemon_set["spec"]["template"]["metadata"]["labels"]
    assert policy["metadata"]["namespace"] == daemon_set["metadata"]["namespace"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    (rule,) = policy["spec"]["ingress"]
    (port,) = plugin("base")["ports"]
    assert rule["ports"] == [{"protocol": "TCP", "port": port["name"]}]
    assert port["containerPort"] == options("base")["listen"].port


def test_network_policy_lets_in_a_namespace_and_nobody_out() -> None:
    spec = manifests("base")["NetworkPolicy"]["spec"]
    assert set(spec["policyTypes"]) == {"Ingress", "Egress"} and "egress" not in spec
    (peer,) = spec["ingress"][0]["from"]
    assert peer.keys() == {"namespaceSelector"} and peer["namespaceSelector"]["matchLabels"]


@pytest.mark.parametrize("mode", MODES)
def test_mode_has_a_network_policy(mode: str) -> None:
    assert manifests(mode)["NetworkPolicy"] == load(DEPLOY / "base/networkpolicy.yaml")


def kustomized(folder: object) -> dict[str, Tree]:
    if not shutil.which("kubectl"):
        pytest.skip("there is no kubectl")
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=True, timeout=60)
    return {manifest["kind"]: manifest for manifest in yaml.safe_load_all(done.stdout)}


@pytest.mark.parametrize("mode", MODES)
def test_kustomize_makes_the_same_of_a_mode(mode: str) -> None:
    assert in_order(kustomized(DEPLOY / mode)) == in_order(manifests(mode))


def test_components_can_be_combined(tmp_path: Any) -> None:  # noqa: ANN401
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    text = "resources: [../bind]\ncomponents: [../components/provision-once]\n"
    (tmp_path / "deploy/both").mkdir()
    (tmp_path / "deploy/both/kustomization.yaml").write_text(text)
    pod = kustomized(tmp_path / "deploy/both")["DaemonSet"]["spec"]["template"]["spec"]
    names = [volume["name"] for volume in pod["volumes"]]
    assert len(names) == len(set(names))
    assert "--bind" in pod["containers"][0]["args"] and len(pod["initContainers"]) == 1
