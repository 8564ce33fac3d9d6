"""Writes a container image of one layer as an OCI archive, without an engine or a registry.

The format is the OCI image layout: https://github.com/opencontainers/image-spec/blob/main/image-layout.md
The same content makes the same bytes: no clock, owner or order of a folder goes into it.
"""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}  # uname's names and the format's


def layer_of_files(files: Mapping[str, Path]) -> bytes:
    """Return a layer that holds these executable files, by their absolute paths in it."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for path, source in files.items():
            _add(tar, path.lstrip("/"), source.read_bytes(), mode=0o755)
    return layer.getvalue()


def layer_of_tree(root: Path) -> bytes:
    """Return a layer that holds a whole tree, all of it root's."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(root.rglob("*")):
            tar.add(path, str(path.relative_to(root)), recursive=False, filter=_plain)
    return layer.getvalue()


def write_image(archive: Path, name: str, layer: bytes, config: Mapping[str, object], machine: str = "x86_64") -> None:
    """Write the archive. `config` is what a container runs by default: Entrypoint, Cmd, Env, Labels."""
    with tarfile.open(archive, "w") as tar:
        packed = _blob(tar, gzip.compress(layer, 6, mtime=0))
        content = {
            "architecture": ARCHITECTURES[machine],
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **_blob(tar, _json(content))},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", **packed}],
        }
        entry = {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            # containerd goes by the first, other tools by the second.
            "annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name},
            **_blob(tar, _json(manifest)),
        }
        _add(tar, "index.json", _json({"schemaVersion": 2, "manifests": [entry]}))
        _add(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = 0
    return info


def _blob(tar: tarfile.TarFile, content: bytes) -> dict[str, object]:
    digest = hashlib.sha256(content).hexdigest()
    _add(tar, f"blobs/sha256/{digest}", content)
    return {"digest": f"sha256:{digest}", "size": len(content)}


def _add(tar: tarfile.TarFile, name: str, content: bytes, *, mode: int = 0o644) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    tar.addfile(info, io.BytesIO(content))


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
