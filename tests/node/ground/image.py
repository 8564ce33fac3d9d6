"""Writes a container image as an OCI archive, without an engine or a registry.

The format is the OCI image layout: https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path


def write_image(archive: Path, name: str, files: Mapping[str, Path], command: Sequence[str]) -> None:
    """Write an image of one layer that holds these executable files, by their absolute paths in it."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for path, source in files.items():
            _add(tar, path.lstrip("/"), source.read_bytes(), mode=0o755)
    with tarfile.open(archive, "w") as tar:
        filesystem = _blob(tar, layer.getvalue())
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": list(command)},
            "rootfs": {"type": "layers", "diff_ids": [filesystem["digest"]]},
        }
        manifest = {
            "schemaVersion": 2,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **_blob(tar, _json(config))},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", **filesystem}],
        }
        entry = {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "annotations": {"io.containerd.image.name": name},
            **_blob(tar, _json(manifest)),
        }
        _add(tar, "index.json", _json({"schemaVersion": 2, "manifests": [entry]}))
        _add(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))


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
