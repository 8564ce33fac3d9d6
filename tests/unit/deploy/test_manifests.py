"""What deploy/ says fits this qatdp. What each mode asks for: test_modes.py."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from manifests import Tree, load
from support.report import Fixed, a_report

from qatdp.cli.options import DEFAULT_SOCKET
from qatdp.cli.run import run
from qatdp.configfile import parse
from qatdp.core.config.model import Config
from qatdp.core.model.qat import FAMILIES
from qatdp.host.calls.portable import dev_cfg
from qatdp.pages.metrics import Metrics
from qatdp.pages.pages import pages

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
BASE = DEPLOY / "base"
MANIFESTS = sorted(path for path in DEPLOY.rglob("*.yaml") if path.name != "kustomization.yaml")
PODS = sorted((DEPLOY / "pods").glob("*.yaml"))
VERSIONS = {"DaemonSet": "apps/v1", "ConfigMap": "v1", "NetworkPolicy": "networking.k8s.io/v1", "Pod": "v1"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture
def pod() -> Tree:
    found: Tree = load(BASE / "daemonset.yaml")["spec"]["template"]["spec"]
    return found


@pytest.fixture
def container(pod: Tree) -> Tree:
    (found,) = pod["containers"]
    return dict(found)


def configuration() -> str:
    return str(load(BASE / "configmap.yaml")["data"]["config.yaml"])


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_a_manifest_is_one_object_with_a_name(path: Path) -> None:
    manifest = load(path)
    assert manifest["apiVersion"] == VERSIONS[manifest["kind"]]
    assert re.fullmatch(r"[a-z0-9-]+", manifest["metadata"]["name"])


@pytest.mark.parametrize("path", PODS, ids=lambda path: path.name)
def test_a_pod_asks_for_resources_that_the_readme_names(path: Path) -> None:
    table = (ROOT / "README.md").read_text().partition("## Resources")[2].partition("\n## ")[0]
    named = set(re.findall(r"qat\.intel\.com/[a-z-]+", table))
    asked = [name for container in load(path)["spec"]["containers"] for name in container["resources"]["limits"]]
    assert asked and set(asked) <= named


def test_the_configuration_is_right_and_means_the_default_names() -> None:
    assert parse(configuration().encode()) == Config()


def test_the_configuration_that_is_commented_out_is_right_as_well() -> None:
    text, found, example = configuration().partition("# To choose yourself, for example:\n")
    assert found
    config = parse(text.encode() + re.sub(r"^# ?", "", example, flags=re.M).encode())
    assert [rule.name for rule in config.resources] == ["cy", "dc-node0"]


def test_the_arguments_are_those_of_the_command(container: Tree) -> None:
    name, *arguments = container["args"]
    assert name == run.name
    assert run.make_context(name, arguments).params
    assert not container.get("env"), "options stand among the arguments, where this test sees them"


def test_the_configuration_file_is_where_the_argument_says(pod: Tree, container: Tree) -> None:
    file = run.make_context("run", container["args"][1:]).params["config_file"]
    (mount,) = [mount for mount in container["volumeMounts"] if mount["mountPath"] == str(file.parent)]
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == mount["name"]]
    config_map = load(BASE / "configmap.yaml")
    assert volume["configMap"]["name"] == config_map["metadata"]["name"]
    assert file.name in config_map["data"]
    assert config_map["metadata"]["namespace"] == load(BASE / "daemonset.yaml")["metadata"]["namespace"]


def test_the_probes_ask_where_the_daemon_listens(container: Tree) -> None:
    options = run.make_context("run", container["args"][1:]).params
    listen = options["listen"]
    assert not options["listen_status"]  # it names pods, and all pods can reach this port
    (port,) = container["ports"]
    assert (listen.host, listen.port) == (None, port["containerPort"])
    of = pages(Fixed(a_report()), Metrics())
    for probe in ("livenessProbe", "readinessProbe"):
        ask = container[probe]["httpGet"]
        assert ask["port"] == port["name"] and ask["path"] in of


def test_the_sockets_folder_is_writable(container: Tree) -> None:
    (mount,) = [mount for mount in container["volumeMounts"] if mount["mountPath"] == str(DEFAULT_SOCKET.parent)]
    assert not mount.get("readOnly")


def test_debugfs_is_added_where_the_command_looks_for_it_and_read_only() -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```", (DEPLOY / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    added: Tree = yaml.safe_load(block)
    (mount,), (volume,) = added["volumeMounts"], added["volumes"]
    assert mount == {"name": volume["name"], "mountPath": volume["hostPath"]["path"], "readOnly": True}
    assert Path(dev_cfg("/sys", FAMILIES[0], "0000:6b:00.0")).is_relative_to(mount["mountPath"])


def test_a_service_named_qatdp_does_not_set_options(pod: Tree) -> None:
    assert pod["enableServiceLinks"] is False


def test_an_update_never_has_two_plugins_on_a_node() -> None:
    strategy = load(BASE / "daemonset.yaml")["spec"]["updateStrategy"]
    assert (strategy["type"], strategy["rollingUpdate"]["maxSurge"]) == ("RollingUpdate", 0)


def test_the_selector_finds_the_pods() -> None:
    spec = load(BASE / "daemonset.yaml")["spec"]
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()


def test_the_image_is_of_this_version(container: Tree) -> None:
    name = f"localhost/qatdp:{PROJECT['version']}"
    assert container["image"] == name
    assert f"-t {name} " in (DEPLOY / "Containerfile").read_text()


def test_the_containerfile_copies_what_is_there_and_starts_the_command() -> None:
    lines = (DEPLOY / "Containerfile").read_text().splitlines()
    copied = {name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]}
    assert copied and all((ROOT / name).exists() for name in copied)
    ignored = (ROOT / ".containerignore").read_text().split()
    assert copied == {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert lines[-1] == 'ENTRYPOINT ["qatdp"]' and "qatdp" in PROJECT["scripts"]
