"""The folders of pods' logs tell names; where there are none nothing is known."""

from pathlib import Path

from qatdp.core.status.pod_names import PodName
from qatdp.kubelet.pod_logs import pod_names


def test_pod_names_are_read_from_folders(folder: Path) -> None:
    (folder / "default_pod_0a1b").mkdir()
    (folder / "something-else").mkdir()
    assert pod_names(folder) == {"0a1b": PodName("default", "pod")}


def test_pod_names_are_unknown_without_the_folder(folder: Path) -> None:
    assert pod_names(folder / "nowhere") == {}
