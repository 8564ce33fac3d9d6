"""Reads deploy/ as kustomize does: the base with the components of a mode. For tests, which so need no kubectl.

Of kustomize it knows what deploy/ uses: resources, components, JSON patches that append, strategic merge patches. Where
there is a kubectl, tests/unit/deploy compares it with the real one.
"""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
MODES = ("base", "bind", "provision-once", "provision")

# By which key the API merges the entries of a list (patchMergeKey in k8s.io/api/core/v1). Other lists are replaced.
MERGE_KEYS = {
    "containers": "name",
    "env": "name",
    "initContainers": "name",
    "volumeMounts": "mountPath",
    "volumes": "name",
}

Tree = Mapping[str, Any]


def load(path: Path) -> Any:  # noqa: ANN401
    return yaml.safe_load(path.read_text())


def manifests(mode: str) -> Mapping[str, Tree]:
    """Return the objects of a mode, by their kind."""
    return rendered(DEPLOY / mode)


def daemon_set_pod(mode: str) -> Any:  # noqa: ANN401
    """Return the `spec` of a mode's pods."""
    return manifests(mode)["DaemonSet"]["spec"]["template"]["spec"]


def rendered(folder: Path) -> Mapping[str, Tree]:
    """Return what the kustomization in a folder makes, by kind."""
    content = load(folder / "kustomization.yaml")
    found: dict[str, Tree] = {}
    for name in content["resources"]:
        path = folder / name
        made = rendered(path) if path.is_dir() else {(manifest := load(path))["kind"]: manifest}
        assert not found.keys() & made.keys(), f"two of a kind in {folder}"
        found |= made
    for name in content.get("components", ()):
        for patch in load(folder / name / "kustomization.yaml")["patches"]:
            _patch(found, patch)
    return found


def _patch(found: dict[str, Tree], patch: Mapping[str, Any]) -> None:
    kind = patch["target"]["kind"]
    assert patch["target"] == {"kind": kind, "name": found[kind]["metadata"]["name"]}
    change = yaml.safe_load(patch["patch"])
    found[kind] = appended(found[kind], change) if isinstance(change, list) else merged(found[kind], change)


def appended(tree: Tree, operations: list[Mapping[str, Any]]) -> Tree:
    """Do the operations of a JSON patch (RFC 6902), each of which appends to a list."""
    found = copy.deepcopy(tree)
    for operation in operations:
        *keys, last = operation["path"].split("/")[1:]
        assert (operation["op"], last) == ("add", "-")
        place: Any = found
        for key in keys:
            place = place[int(key) if isinstance(place, list) else key]
        place.append(operation["value"])
    return found


def merged(tree: Tree, patch: Tree) -> Tree:
    """Do a strategic merge patch."""
    found = dict(tree)
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        elif isinstance(value, Mapping):
            found[key] = merged(found.get(key, {}), value)
        elif key in MERGE_KEYS:
            found[key] = _merged_list(found.get(key, []), value, MERGE_KEYS[key])
        else:
            found[key] = value
    return found


def _merged_list(entries: list[Tree], patches: list[Tree], key: str) -> list[Tree]:
    found = {entry[key]: entry for entry in entries}
    for patch in patches:
        found[patch[key]] = merged(found.get(patch[key], {}), patch)
    return list(found.values())


def in_order(value: Any) -> Any:  # noqa: ANN401
    """Return a tree whose merged lists are sorted: kustomize puts what it adds first, the API goes by the key."""
    if isinstance(value, Mapping):
        return {name: _sorted(name, in_order(part)) for name, part in value.items()}
    return [in_order(part) for part in value] if isinstance(value, list) else value


def _sorted(name: str, value: Any) -> Any:  # noqa: ANN401
    key = MERGE_KEYS.get(name)
    return sorted(value, key=lambda entry: entry[key]) if key else value
