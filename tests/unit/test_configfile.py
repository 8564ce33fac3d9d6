"""The configuration file: whatever is wrong with it is a ConfigError that says what and where, and nothing hangs."""

import contextlib
import itertools
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from support.strategies import documents

from qatdp.configfile import CONFIG_BYTES, identity, load, parse
from qatdp.core.config.model import Config, parse_config
from qatdp.errors import ConfigError

LEAST = "version: 1\n"


class ConfigMap:
    """A file as Kubernetes mounts a ConfigMap: FILE -> ..data/FILE, ..data -> ..VERSION, which is swapped.

    See AtomicWriter in k8s.io/kubernetes/pkg/volume/util/atomic_writer.go.
    """

    def __init__(self, folder: Path, text: str = LEAST) -> None:
        self.file = folder / "config.yaml"
        self._folder = folder
        self._versions = itertools.count(1)
        folder.mkdir()
        self.write(text)
        self.file.symlink_to("..data/config.yaml")

    def write(self, text: str) -> None:
        """Replace the content as the kubelet does: a new folder, ..data renamed over, the old folder removed."""
        data = self._folder / "..data"
        old = data.resolve() if data.exists() else None
        new = self._folder / f"..version-{next(self._versions)}"
        new.mkdir()
        (new / "config.yaml").write_text(text)
        temporary = self._folder / "..data_tmp"
        temporary.symlink_to(new.name)
        temporary.rename(data)
        if old:
            shutil.rmtree(old)


def problem(content: str | bytes) -> str:
    """Return what is said of a text that is no configuration."""
    with pytest.raises(ConfigError) as caught:
        parse(content.encode() if isinstance(content, str) else content)
    return str(caught.value)


# parse


@given(documents())
def test_what_yaml_writes_of_a_configuration_is_read_back(document: Mapping[str, Any]) -> None:
    unshared = json.loads(json.dumps(document))  # else YAML would write anchors for values that are one object
    assert parse(yaml.safe_dump(unshared).encode()) == parse_config(document)


def test_the_least_is_the_default() -> None:
    assert parse(LEAST.encode()) == Config()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("version: 1\nresources: [\n", "line 3, column 1"),
        ("version: 1\n\tresources: []\n", "line 2, column 1"),
        ("version: 1\nresources: - name: cy\n", "line 2, column 12"),
        ('version: "1\n', "line 2, column 1"),
        ("version: 1\n---\nversion: 1\n", "another document in line 2, column 1"),
        ("[1]: 2\n", "unhashable key in line 1, column 1"),
    ],
    ids=["open list", "tab", "two in one line", "open quote", "two documents", "list as a key"],
)
def test_a_fault_of_the_yaml_is_told_with_its_line(text: str, what: str) -> None:
    said = problem(text)
    assert said.startswith("no YAML: ")
    assert said.endswith(what)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("version: 1\nversion: 1\n", "duplicate key 'version' in line 2, column 1"),
        ("version: 1\n'version': 2\n", "duplicate key 'version' in line 2, column 1"),
        ("version: 1\nresources:\n- name: cy\n  limit: 1\n  name: dc\n", "duplicate key 'name' in line 5, column 3"),
        ("version: 1\nresources: [{name: a, env: {A: b, A: c}}]\n", "duplicate key 'A' in line 2, column 35"),
    ],
)
def test_a_key_that_stands_twice_is_refused_with_its_line(text: str, what: str) -> None:
    assert what in problem(text)


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "---\n", "~\n", "null\n"])
def test_nothing_is_refused_with_a_hint(text: str) -> None:
    assert problem(text) == "empty (the least is: version: 1)"


@pytest.mark.parametrize("text", ["version", "- version", "1", "[]", "1: 2"])
def test_what_is_no_mapping_is_refused(text: str) -> None:
    assert problem(text).startswith("expected keys and values, got ")


@pytest.mark.parametrize("content", [b"version: \xff\n", b"version: \0\n", b"\x80", b"\xff\xfe\x00"])
def test_bytes_that_are_no_text_are_refused(content: bytes) -> None:
    assert problem(content).startswith("no YAML: ")


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.mkdir [{folder}/made]",
        "!!python/name:os.system",
        "!mine 1",
        "!!int ''",
        "!!float ''",
        "!!bool x",
        "!!timestamp x",
        "!!map [1]",
        "!!set {{a}}",
        "! 1",
    ],
)
def test_tags_are_refused_with_their_line_and_do_nothing(tmp_path: Path, value: str) -> None:
    text = f"version: {value.format(folder=tmp_path)}\n"
    assert problem(text) == "no YAML: tags are not supported in line 1, column 10"
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("text", ["version: &a 1", "version: 1\nresources: [&a {name: x}, *a]", "version: &a [*a]"])
def test_anchors_and_aliases_are_refused(text: str) -> None:
    assert problem(text).startswith("no YAML: anchors and aliases are not supported in line ")


@pytest.mark.parametrize(
    "number", ["9" * 5000, "0x" + "f" * 5000, "1" + ":0" * 500_000, "1" + ":0" * 500 + ".5"], ids=len
)
def test_numbers_without_end_are_refused_at_once(number: str) -> None:
    assert "more than 40 characters" in problem(f"version: {number}\n")


@pytest.mark.parametrize("depth", [200, 300, 400, 500, 100_000])
@pytest.mark.parametrize("where", ["version: {}", "version: 1\nresources: [{{name: a, services: {}}}]"])
def test_nesting_without_end_is_refused(depth: int, where: str) -> None:
    problem(where.format("[" * depth + "]" * depth))


@given(st.text() | st.text("versionrcu:1 -[]{}&*!<>|'\"#%@\n\t,?~.0x", max_size=40).map("version: ".__add__))
@example("version: =\n")
@example("version: <<\n")
@example("<<: 1\n")
@example("version: 2001-13-45\n")
@example("version: 0b_\n")
def test_no_text_raises_anything_but_a_config_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        parse(text.encode(errors="surrogatepass"))


@given(st.binary())
def test_no_bytes_raise_anything_but_a_config_error(content: bytes) -> None:
    with contextlib.suppress(ConfigError):
        parse(content)


# load


def test_loads_a_file(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("version: 1\nvfioDriver: qat_vfio_pci\n")
    assert load(file).vfio_driver == "qat_vfio_pci"


def test_loads_a_configmap(tmp_path: Path) -> None:
    config_map = ConfigMap(tmp_path / "config")
    config_map.write("version: 1\nvfioDriver: qat_vfio_pci\n")
    assert load(config_map.file).vfio_driver == "qat_vfio_pci"


def test_what_cannot_be_loaded_is_told_with_its_path(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere")
    reasons = {
        "absent": "cannot be read: No such file or directory",
        "dangling": "cannot be read: No such file or directory",
        "loop": "cannot be read: Too many levels of symbolic links",
        "fifo": "cannot be read: not a regular file",
        "": "cannot be read: not a regular file",
    }
    for name, reason in reasons.items():
        with pytest.raises(ConfigError) as caught:
            load(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name} {reason}"


def test_load_takes_a_file_of_64_kib_and_no_larger(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    comment = "#" * (CONFIG_BYTES - len(LEAST))
    file.write_text(LEAST + comment)
    assert load(file) == Config()
    file.write_text(LEAST + comment + "#")
    with pytest.raises(ConfigError, match=f"is larger than {CONFIG_BYTES} bytes"):
        load(file)


@pytest.mark.parametrize("text", ["version: 9\n", "", "version: [\n", "version: 1\nversion: 1\n", "[]"])
def test_load_names_the_file_whatever_is_wrong(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert caught.value.key_path in ("", "version")


LONG = "x" * 60_000


@pytest.mark.parametrize(
    "text",
    [
        f"version: {LONG}\n",
        f"version: 1\n{LONG}: 1\n",
        f"version: 1\n? {LONG}\n: 1\n? {LONG}\n: 2\n",
        f"version: 1\nresources: {LONG}\n",
        f"version: 1\nresources: [{{name: {LONG}}}]\n",
        f"version: 1\nresources: [{{name: a, {LONG}: 1}}]\n",
        f"version: 1\nresources: [{{name: a, services: {LONG}}}]\n",
        f"version: 1\nresources: [{{name: a, services: [[sym], {LONG}]}}]\n",
        f"version: 1\nresources: [{{name: a, pfs: [{LONG}]}}]\n",
        f"version: 1\nresources: [{{name: a, env: {{? {LONG} : 1}}}}]\n",
        f"version: 1\nresources: [{{name: a, env: {{A: [{LONG}]}}}}]\n",
        f"version: 1\nprovision: [{{split: [{{services: [dc]}}], minAvailable: {{? {LONG} : 1}}}}]\n",
        f"version: 1\nprovision: [{{split: [{{services: [dc]}}], minAvailable: {{? {LONG} : x}}}}]\n",
        f"version: 1\nprovision: [{{split: [{{services: {LONG}}}]}}]\n",
        f"version: *{LONG}\n",
        f"version: !{LONG} 1\n",
        f"%YAML {LONG}\n",
        "- " * 30_000,
    ],
)
def test_problem_is_cut_however_long_the_value(text: str) -> None:
    assert len(problem(text[:CONFIG_BYTES])) < 500


# identity


def test_identity_stays_while_nothing_changes(tmp_path: Path) -> None:
    file = ConfigMap(tmp_path / "config").file
    assert identity(file) == identity(file) is not None


def test_identity_changes_with_a_configmap_even_where_its_text_does_not(tmp_path: Path) -> None:
    config_map = ConfigMap(tmp_path / "config")
    before = identity(config_map.file)
    config_map.write(LEAST)
    assert identity(config_map.file) not in (before, None)


def test_identity_changes_with_an_edit_in_place(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(LEAST)
    before = identity(file)
    with file.open("a") as end:
        end.write("# more\n")
    assert identity(file) not in (before, None)


def test_identity_changes_with_an_edit_that_keeps_the_size(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("version: 1\n")
    os.utime(file, ns=(0, 0))
    before = identity(file)
    file.write_text("version: 2\n")
    assert identity(file) not in (before, None)


def test_identity_changes_with_an_edit_that_keeps_the_time(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(LEAST)
    os.utime(file, ns=(0, 0))
    before = identity(file)
    file.write_text(LEAST + "# more\n")
    os.utime(file, ns=(0, 0))
    assert identity(file) not in (before, None)


def test_identity_changes_with_the_rights_to_a_file(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(LEAST)
    file.chmod(0o000)
    before = identity(file)
    file.chmod(0o644)
    assert identity(file) not in (before, None)


def test_identity_changes_with_a_link_even_to_the_same_inode(tmp_path: Path) -> None:
    # As good as the same: an inode that was freed and taken again.
    file, link = tmp_path / "1", tmp_path / "config.yaml"
    file.write_text(LEAST)
    (tmp_path / "2").hardlink_to(file)
    link.symlink_to("1")
    before = identity(link)
    link.unlink()
    link.symlink_to("2")
    assert identity(link) not in (before, None)


def test_identity_changes_when_another_file_is_renamed_over(tmp_path: Path) -> None:
    file, new = tmp_path / "config.yaml", tmp_path / "new"
    for path in (file, new):
        path.write_text(LEAST)
        os.utime(path, ns=(0, 0))
    before = identity(file)
    new.rename(file)
    assert identity(file) not in (before, None)


def test_identity_of_what_is_not_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere")
    assert [identity(tmp_path / name) for name in ("absent", "loop", "dangling", "absent/below")] == [None] * 4
