"""`qatdp config` says whether a file is right and, if not, where it is wrong and how to mend it."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from click.testing import Result

Qatdp = Callable[..., Result]


@pytest.fixture
def checked(qatdp: Qatdp, folder: Path) -> Callable[[str], Result]:
    def check(text: str) -> Result:
        (folder / "config.yaml").write_text(text)
        return qatdp("config", "check", folder / "config.yaml")

    return check


@pytest.mark.parametrize(
    ("text", "summary"),
    [
        ("version: 1", "valid (default names for all VFs)"),
        ("version: 1\nresources: [{name: a}]", "valid (qat.intel.com/a; other VFs are not offered)"),
        (
            "version: 1\ndefaultResources: true\nresources: [{name: a}, {name: b}, {name: a}]",
            "valid (qat.intel.com/a, qat.intel.com/b; default names for the VFs they leave)",
        ),
    ],
)
def test_a_file_that_is_right_is_status_0_and_told_in_short(
    checked: Callable[[str], Result], text: str, summary: str
) -> None:
    result = checked(text)
    assert result.exit_code == 0
    assert result.stdout.endswith(f"config.yaml: {summary}\n")


def test_config_check_warns_and_is_status_0(checked: Callable[[str], Result]) -> None:
    names = "{name: a, addressVariables: [index]}, {name: b, addressVariables: [index]}"
    result = checked(f"version: 1\nresources: [{names}]")
    assert result.exit_code == 0
    assert result.stderr.startswith("Warning: resources[1].addressVariables: ")
    assert "valid (qat.intel.com/a" in result.stdout


@pytest.mark.parametrize(
    ("text", "error", "hint"),
    [
        ("", "empty", "the least is: version: 1"),
        ("resources: []", "version: missing", "this qatdp knows version: 1"),
        (
            "version: 1\nresources: [{name: a, policy: pakced}]",
            "resources[0].policy: expected 'local', 'packed' or 'balanced', got 'pakced'",
            None,
        ),
        (
            "version: 1\nresources: [{name: a, env: {QAT_X: '1'}}]",
            "resources[0].env.QAT_X: names that begin with QAT are taken",
            "for QAT_POLICY use qatPolicy",
        ),
        ("version: 1\nversion: 1", "no YAML: duplicate key 'version' in line 2, column 1", None),
        ("version: [", "no YAML: ", None),
        ("version: 1\nunknown: 1", "unknown: unknown key", "known here: version, resources"),
    ],
)
def test_a_file_that_is_wrong_is_status_2_with_its_key_and_a_hint(
    checked: Callable[[str], Result], text: str, error: str, hint: str | None
) -> None:
    result = checked(text)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert re.match(rf"Error: \S+/config\.yaml: {re.escape(error)}", result.stderr)
    assert ("\nHint: " in result.stderr) == (hint is not None)
    assert (hint or "") in result.stderr


def test_what_pfs_should_be_is_told_in_words_and_of_a_named_node_what_it_takes(qatdp: Qatdp, folder: Path) -> None:
    file = folder / "config.yaml"
    parts = "current: {split: [{services: [dc]}]}, next: {split: [{services: [sym]}]}, rollout: {percent: 30}"
    file.write_text(f"version: 1\nprovision: [{{{parts}}}]\n")
    first, *words = qatdp("config", "check", file).stdout.splitlines()
    assert words == [
        "provision[0], for any node:",
        "  current:",
        "    dc: all PFs",
        "  next, for 30 per cent of them:",
        "    sym: all PFs",
    ]
    by_name = qatdp("config", "check", file, "--node-name", "a").stdout.splitlines()
    assert by_name[:-1] == [first, *words]
    assert by_name[-1].startswith("node a: takes ")
    assert qatdp("config", "check", file, QATDP_NODE_NAME="a").stdout.splitlines() == by_name


@pytest.mark.parametrize(
    ("name", "error"), [("nowhere", "cannot be read: No such file"), (".", "cannot be read: not a regular file")]
)
def test_a_file_that_cannot_be_read_is_status_2(qatdp: Qatdp, folder: Path, name: str, error: str) -> None:
    result = qatdp("config", "check", folder / name)
    assert result.exit_code == 2
    assert error in result.stderr


def test_the_schema_is_one_that_takes_what_is_right_alone(qatdp: Qatdp) -> None:
    result = qatdp("config", "schema")
    assert result.exit_code == 0
    schema = json.loads(result.stdout)
    jsonschema.validate({"version": 1, "resources": [{"name": "a", "services": ["dc"]}]}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"version": 1, "resource": []}, schema)


@pytest.mark.parametrize("words", [["--nothing"], ["config", "check"], ["config", "check", "a", "b"], ["nothing"]])
def test_wrong_usage_is_status_2(qatdp: Qatdp, words: list[str]) -> None:
    result = qatdp(*words)
    assert result.exit_code == 2
    assert "Usage: qatdp" in result.stderr


def test_help_names_the_commands_and_the_statuses(qatdp: Qatdp) -> None:
    result = qatdp("-h")
    assert result.exit_code == 0
    for word in ("config", "devices", "run", "QATDP_KUBELET_DIR", "Exit status: 0 done, 1 failed, 2 wrong usage"):
        assert word in result.stdout


def test_the_version_is_that_of_the_package(qatdp: Qatdp) -> None:
    assert qatdp("--version").stdout.startswith("qatdp, version 0.")
