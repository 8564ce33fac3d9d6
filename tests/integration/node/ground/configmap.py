"""A configuration file as Kubernetes mounts a ConfigMap: behind two symbolic links, one swapped for each change.

See AtomicWriter in k8s.io/kubernetes/pkg/volume/util/atomic_writer.go: FILE -> ..data/FILE, ..data -> ..TIMESTAMP.
"""

import itertools
import shutil
from pathlib import Path


class ConfigMap:
    def __init__(self, folder: Path, text: str, name: str = "config.yaml") -> None:
        self.file = folder / name
        self._folder = folder
        self._versions = itertools.count(1)
        folder.mkdir(parents=True)
        self.write(text)
        self.file.symlink_to(f"..data/{name}")

    def write(self, text: str) -> None:
        """Replace the content as the kubelet does: a new folder, ..data renamed over, the old folder removed."""
        data = self._folder / "..data"
        old = data.resolve() if data.exists() else None
        new = self._folder / f"..version-{next(self._versions)}"
        new.mkdir()
        (new / self.file.name).write_text(text)
        temporary = self._folder / "..data_tmp"
        temporary.symlink_to(new.name)
        temporary.rename(data)
        if old:
            shutil.rmtree(old)
