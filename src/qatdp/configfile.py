"""The configuration file: YAML in, the core's model out, and a way to see that it was changed.

Kubernetes changes a mounted ConfigMap by swapping a symbolic link (..data, pkg/volume/util/atomic_writer.go), so a
file is told from its successor by what the path leads to, not by its own events.
"""

import os
from collections.abc import Hashable
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from qatdp.core.config.model import Config, parse_config
from qatdp.core.text import cut, shown
from qatdp.errors import ConfigError
from qatdp.files import read_regular

# A thousand rules and more. PyYAML took 23 MiB meanwhile for this much of the worst text, and gave it back.
CONFIG_BYTES = 1 << 16
NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
NUMBER_CHARACTERS = 40

Identity: TypeAlias = tuple[str, int, int, int, int] | None


def identity(path: Path) -> Identity:
    """Return what changes when the path leads to other content, or can be read now; None where it leads to none."""
    try:
        real = os.path.realpath(path)
        status = os.stat(real)
    except OSError:
        return None
    return (real, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)


def load(path: Path) -> Config:
    """Return the configuration in a file; raises ConfigError for whatever is wrong with it."""
    try:
        content, _ = read_regular(path, CONFIG_BYTES)
    except OSError as error:
        raise ConfigError("", f"{path} cannot be read: {error.strerror}") from error
    try:
        return parse(content)
    except ConfigError as error:
        raise error.of_file(path) from error.__cause__


def parse(content: bytes) -> Config:
    """Return the configuration that a YAML text writes; raises ConfigError."""
    try:
        document = yaml.load(content, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError("", f"no YAML: {cut(error.problem or '')}{where}") from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ConfigError("", f"no YAML: {cut(str(error).splitlines()[0])}") from error
    if document is None:
        raise ConfigError("", "empty", hint="the least is: version: 1")
    return parse_config(document)


class _Loader(yaml.SafeLoader):
    """The safe loader, less what a configuration has no need of and a fault, or malice, can blow up.

    A duplicate key is a fault: YAML would let the last one win silently.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        # Ten lines of aliases can write 10^10 words, or a list that is in itself.
        if getattr(event, "anchor", None):
            raise _refused("anchors and aliases are not supported", event.start_mark)
        if getattr(event, "tag", None):  # PyYAML's constructors raise what they like on "!!int x"
            raise _refused("tags are not supported", event.start_mark)
        node = super().compose_node(parent, index)
        # Base 60: minutes for a long one.
        if isinstance(node, yaml.ScalarNode) and node.tag in NUMBERS and len(node.value) > NUMBER_CHARACTERS:
            raise _refused(f"a number of more than {NUMBER_CHARACTERS} characters", event.start_mark)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise _refused(f"duplicate key {shown(key.value)}", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _refused(problem: str, where: Any) -> yaml.MarkedYAMLError:  # noqa: ANN401 - the stubs know of two kinds of Mark
    return yaml.constructor.ConstructorError(None, None, problem, where)
