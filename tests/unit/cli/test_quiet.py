"""What gRPC's own code writes to standard error is not the user's business."""

import os
import subprocess
import sys

WATCH = """\
import os, sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "grpc":
            print(os.environ.get("GRPC_VERBOSITY"))

sys.meta_path.insert(0, Watch())
import qatdp.cli.run
"""


def test_grpc_is_told_to_be_quiet_before_it_is_imported() -> None:
    """It reads the variable then, and never again."""
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_VERBOSITY"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", WATCH], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    assert done.stdout.split() == ["ERROR"]
