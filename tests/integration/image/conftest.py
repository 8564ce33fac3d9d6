"""Fixtures: a containerd that holds the image. It is there only under image/run; elsewhere these tests skip."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "node"))
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools"))
from runtime import Ground, Runtime


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if "RECORD" not in os.environ and here in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="needs a container runtime: run tests/integration/image/run"))


@pytest.fixture(scope="session")
def ground() -> Iterator[Ground]:
    # A short path, as those of sockets hold 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="qatdp-image-", dir="/var/tmp"))
    runtime = Runtime(folder, Path(os.environ["LOGS"]))
    try:
        runtime.start()
        yield Ground(runtime, runtime.load(Path(os.environ["IMAGE"])))
    finally:
        runtime.close()
        shutil.rmtree(folder)
