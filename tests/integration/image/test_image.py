"""The image holds all that qatdp needs, and a DaemonSet's rights are enough for it."""

import asyncio
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from ground.waiting import until
from manifests import DEPLOY, daemon_set_pod
from runtime import Ground, Mount, Running

from qatdp.simulator.host.node import FakeHost
from qatdp.simulator.kubelet import Container, FakeKubelet, Pod

CY, DC = "qat.intel.com/cy", "qat.intel.com/dc"
STAYS = ("/usr/bin/qatdp", "simulate", "-o", "json")

OPENS = """\
import errno, glob, json, os
def opened(path):
    try:
        os.close(os.open(path, os.O_WRONLY))
    except OSError as error:
        return errno.errorcode[error.errno]
    return "opened"
overrides = glob.glob("/sys/bus/pci/devices/*/driver_override")
print(json.dumps({path: opened(path) for path in ("/sys/bus/pci/drivers_probe", "/sys/power/state", *overrides)}))
"""


@contextmanager
def started(container: Running) -> Iterator[Running]:
    container.start()
    try:
        yield container
    finally:
        container.close()


def mounts(mode: str, host: FakeHost, kubelet: FakeKubelet, config: Path) -> list[Mount]:
    """Return a mode's mounts, with a simulated node in place of the real one."""
    text = yaml.safe_load((DEPLOY / "base/configmap.yaml").read_text())["data"]["config.yaml"]
    (config / "config.yaml").write_text(text)
    places = {"/sys": host.sysfs, "/dev": host.dev, "/var/lib/kubelet": kubelet.folder}
    sources = {"config": config, "run": config}
    for volume in daemon_set_pod(mode)["volumes"]:
        if "hostPath" in volume:
            path = volume["hostPath"]["path"]
            (place,) = [place for place in places if path.startswith(place + "/")]
            sources[volume["name"]] = places[place] / path.removeprefix(place + "/")
    return [
        Mount(host.sysfs, "/sys"),  # read-only: what every container has
        *(
            Mount(sources[mount["name"]], mount["mountPath"], writable=not mount.get("readOnly"))
            for mount in daemon_set_pod(mode)["containers"][0]["volumeMounts"]
        ),
    ]


def test_without_a_command_it_is_qatdp(ground: Ground) -> None:
    done = ground.runtime.run(ground.image, "bare", ())
    assert (done.stdout + done.stderr).startswith("Usage: qatdp [OPTIONS] COMMAND")


def test_the_story_ends_well_and_pods_have_what_they_asked_for(ground: Ground) -> None:
    done = ground.runtime.run(ground.image, "story", ("/usr/bin/qatdp", "simulate", "--once", "-o", "json"))
    assert (done.returncode, done.stderr) == (0, "")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    pods = {event["name"]: event for event in events if event["event"] == "pod"}
    assert pods.keys() == {"two-cy", "two-dc", "one-of-each"}
    for pod in pods.values():
        asked = sum(pod["resources"].values())
        addresses = {value for name, value in pod["env"].items() if name.startswith("QAT")}
        listed = ",".join(value for name, value in pod["env"].items() if name.startswith("PCIDEVICE_")).split(",")
        assert len(addresses) == asked and addresses == set(listed)
        assert len(pod["devices"]) == asked + 1 and "/dev/vfio/vfio" in pod["devices"]
    last = [event for event in events if event["event"] == "resources"][-1]["resources"]
    assert {name: of["allocatable"] for name, of in last.items()} == {CY: 64, DC: 64}


def kernels_files(ground: Ground, name: str, writable: Sequence[str]) -> dict[str, str]:
    """Return what became of opening the kernel's own files to write. Nothing is written to this machine's."""
    where = [Mount(Path(path), path, writable=True) for path in writable]
    with started(ground.runtime.container(ground.image, name, STAYS, where)) as container:
        until("the story is told", lambda: '"end"' in container.log())
        answers: dict[str, str] = json.loads(container.python(OPENS))
        assert container.stop() == 0
    assert len(answers) > 2
    return answers


def test_bind_can_write_the_kernels_files_for_pci_and_no_others(ground: Ground) -> None:
    answers = kernels_files(ground, "sysfs-bind", ("/sys/bus/pci", "/sys/devices"))
    assert answers.pop("/sys/power/state") == "EROFS"
    assert set(answers.values()) == {"opened"}


def test_base_can_write_none_of_the_kernels_files(ground: Ground) -> None:
    assert set(kernels_files(ground, "sysfs-base", ()).values()) == {"EROFS"}


def test_a_container_has_no_capability_and_cannot_write_its_root(ground: Ground) -> None:
    with started(ground.runtime.container(ground.image, "rights", STAYS, ())) as container:
        until("the story is told", lambda: '"end"' in container.log())
        about = container.about()
        assert container.stop() == 0
    ground.record(about)
    assert about["uid"] == 0
    assert {int(value, 16) for value in about["capabilities"].values()} == {0}
    assert (about["root"], about["no_new_privileges"], about["seccomp"]) == ("ro", "1", "2")


@pytest.mark.parametrize("mode", ["base", "bind"])
async def test_the_daemon_serves_pods_with_the_rights_of_a_mode(ground: Ground, mode: str) -> None:
    with tempfile.TemporaryDirectory(prefix="q", dir="/tmp") as name:
        folder = Path(name)
        for part in ("host", "kubelet", "config"):
            (folder / part).mkdir()
        host = FakeHost(folder / "host")
        cy = host.add_pf("0000:6b:00.0", "4xxx", "sym;asym", vfs=4)
        dc = host.add_pf("0000:70:00.0", "4xxx", "dc", vfs=4)
        unbound = host.vfs(host.add_pf("0000:75:00.0", "4xxx", "dc", vfs=4, vf_driver=None))
        async with FakeKubelet(folder / "kubelet") as kubelet:
            command = ("/usr/bin/qatdp", *daemon_set_pod(mode)["containers"][0]["args"])
            where = mounts(mode, host, kubelet, folder / "config")
            with started(ground.runtime.container(ground.image, f"daemon-{mode}", command, where)) as container:
                await kubelet.offers(CY, {str(vf) for vf in host.vfs(cy)}, timeout_s=30)
                await kubelet.offers(DC, {str(vf) for vf in host.vfs(dc)}, timeout_s=30)
                pod = Pod("both", (Container(limits={CY: 2, DC: 1}),))
                assert (await kubelet.admit(pod)).admitted
                devices = (await kubelet.options(pod)).devices
                ground.record(await asyncio.to_thread(container.about))
                assert await asyncio.to_thread(container.stop) == 0
        log = container.log()
        # A simulated tree has no kernel that would take the VFs; that the file could be written is the point.
        written = {host.path(vf, "driver_override").read_text().strip() for vf in unbound}
        assert written == {"vfio-pci" if mode == "bind" else "(null)"}
        assert len(devices) == 4
        assert "host_calls=c" in log, log
        assert "no kernel events" not in log and "Traceback" not in log, log
