"""The image says which commit it was built of."""

import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

REVISION = "org.opencontainers.image.revision"


def labels(archive: Path) -> dict[str, str]:
    """Return the labels of an OCI archive's image."""
    with tarfile.open(archive) as tar:

        def read(name: str) -> Any:  # noqa: ANN401
            file = tar.extractfile(name)
            assert file
            return json.load(file)

        def blob(descriptor: Any) -> Any:  # noqa: ANN401
            return read(f"blobs/{descriptor['digest'].replace(':', '/')}")

        (entry,) = read("index.json")["manifests"]
        found: dict[str, str] = blob(blob(entry)["config"])["config"]["Labels"]
        return found


def test_image_is_labelled_with_the_commit_where_git_knows_it() -> None:
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip()
    found = labels(Path(os.environ["IMAGE"])).get(REVISION, "")
    assert found.removesuffix("-dirty") == commit
