"""Who has the DaemonSet configure PFs as well adds a component to it: what each adds fits this qatdp, and no more."""

import copy
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from qatdp.cli.options import DEFAULT_SOCKET
from qatdp.cli.provision import provision
from qatdp.cli.run import run

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
COMPONENTS = ("provision", "manage")
LOCKS = DEFAULT_SOCKET.parent

Tree = Mapping[str, Any]


def load(path: Path) -> Any:  # noqa: ANN401
    return yaml.safe_load(path.read_text())


def patched(component: str) -> Tree:
    """Return the DaemonSet with the operations of a component's patch done to it (RFC 6902)."""
    found = copy.deepcopy(load(DEPLOY / "base/daemonset.yaml"))
    (patch,) = load(DEPLOY / "components" / component / "kustomization.yaml")["patches"]
    assert patch["target"] == {"kind": found["kind"], "name": found["metadata"]["name"]}
    for one in yaml.safe_load(patch["patch"]):
        *folders, last = one["path"].split("/")[1:]
        place: Any = found
        for key in folders:
            place = place[int(key) if isinstance(place, list) else key]
        key = int(last) if isinstance(place, list) and last != "-" else last
        match one["op"]:
            case "test":
                assert place[key] == one["value"]
            case "add" if key == "-":
                place.append(one["value"])
            case "add":
                assert key not in place
                place[key] = one["value"]
            case _:
                assert one["op"] == "replace"
                place[key] = one["value"]
    return dict(found)


def pod(component: str) -> Tree:
    found: Tree = patched(component)["spec"]["template"]["spec"]
    return found


def test_the_kustomization_names_what_is_there_and_no_component_unless_asked() -> None:
    text = (DEPLOY / "kustomization.yaml").read_text()
    assert all((DEPLOY / name).is_file() for name in yaml.safe_load(text)["resources"])
    assert "components" not in yaml.safe_load(text)
    chosen = yaml.safe_load(
        text.replace("# components:", "components:").replace("#   - ", "  - ").split("# images:")[0]
    )
    assert tuple(chosen["components"]) == tuple(f"components/{name}" for name in COMPONENTS)


@pytest.mark.parametrize("component", COMPONENTS)
def test_locks_are_in_a_folder_of_the_hosts_where_the_command_looks_for_it(component: str) -> None:
    found = pod(component)
    (volume,) = [volume for volume in found["volumes"] if volume.get("hostPath", {}).get("path") == str(LOCKS)]
    assert volume["hostPath"]["type"] == "DirectoryOrCreate"
    for container in (*found["containers"], *found.get("initContainers", ())):
        (mount,) = [mount for mount in container["volumeMounts"] if mount["name"] == volume["name"]]
        assert mount == {"name": volume["name"], "mountPath": str(LOCKS)}


@pytest.mark.parametrize("component", COMPONENTS)
def test_the_nodes_name_is_given_to_whoever_configures(component: str) -> None:
    container = pod(component)["initContainers" if component == "provision" else "containers"][0]
    (variable,) = container["env"]
    command = {"provision": provision, "manage": run}[component]
    assert variable["name"] in {parameter.envvar for parameter in command.params}
    assert variable["valueFrom"] == {"fieldRef": {"fieldPath": "spec.nodeName"}}


def test_manage_adds_its_option_and_no_right() -> None:
    (before,), (after,) = (
        load(DEPLOY / "base/daemonset.yaml")["spec"]["template"]["spec"]["containers"],
        pod("manage")["containers"],
    )
    assert after["args"] == [*before["args"], "--manage"]
    options = run.make_context("run", after["args"][1:]).params
    assert options["manage"] and options["lock_dir"] == LOCKS
    assert after["securityContext"] == before["securityContext"]
    assert after["volumeMounts"] == before["volumeMounts"]
    assert "initContainers" not in pod("manage")


def test_provision_runs_before_the_plugin_with_its_rights_and_fewer_folders_to_write() -> None:
    found = pod("provision")
    (first,), (plugin,) = found["initContainers"], found["containers"]
    name, *arguments = first["args"]
    options = provision.make_context(name, arguments).params
    assert (name, options["lock_dir"], options["strict"], options["dry_run"]) == ("provision", LOCKS, False, False)
    assert options["config_file"] == run.make_context("run", plugin["args"][1:]).params["config_file"]
    for key in ("image", "securityContext"):
        assert first[key] == plugin[key]
    ours, theirs = ({mount["name"]: mount for mount in of["volumeMounts"]} for of in (first, plugin))
    assert ours == theirs | {"device-plugins": {**theirs["device-plugins"], "readOnly": True}}


@pytest.mark.parametrize("component", COMPONENTS)
def test_kustomize_makes_the_same_of_it(component: str, tmp_path: Path) -> None:
    if not shutil.which("kubectl"):
        pytest.skip("there is no kubectl")
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    with (tmp_path / "deploy/kustomization.yaml").open("a") as file:
        file.write(f"components: [components/{component}]\n")
    done = subprocess.run(
        ["kubectl", "kustomize", tmp_path / "deploy"], capture_output=True, text=True, check=True, timeout=60
    )
    made = {one["kind"]: one for one in yaml.safe_load_all(done.stdout)}
    assert made == {"ConfigMap": load(DEPLOY / "base/configmap.yaml"), "DaemonSet": patched(component)}
