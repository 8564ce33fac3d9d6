"""What pip installs here is pinned: requirements/ fits pyproject.toml for each Python, and every installer uses it."""

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "requirements"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"
FILES = ("run", "build", "dev", "lint", "mutation", "proto")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
OPTIONS = {"--require-hashes", "--only-binary :all:"}


@dataclass(frozen=True, slots=True)
class Pin:
    """A line of a lock file."""

    requirement: Requirement
    hashes: tuple[str, ...]

    @property
    def version(self) -> str:
        (only,) = self.requirement.specifier
        assert (only.operator, "*" in only.version) == ("==", False), self.requirement
        return only.version


def lines(name: str) -> list[str]:
    text = re.sub(r"\s*\\\n\s*", " ", (FOLDER / f"{name}.txt").read_text())
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def pins(name: str) -> Iterator[Pin]:
    """Yield the pins of a lock file, and of those that it includes."""
    for line in lines(name):
        if line.startswith("-r "):
            yield from pins(line.removeprefix("-r ").removesuffix(".txt"))
        elif not line.startswith("-"):
            words, *hashes = re.split(r" (?=--hash=)", line)
            yield Pin(Requirement(words), tuple(hashes))


def versions(name: str, python: str) -> Mapping[str, str]:
    """Return what a lock file has for a Python. No name is there twice."""
    found = [pin for pin in pins(name) if applies(pin.requirement, python)]
    names = [canonicalize_name(pin.requirement.name) for pin in found]
    assert len(set(names)) == len(names)
    return {name: pin.version for name, pin in zip(names, found, strict=True)}


def applies(requirement: Requirement, python: str) -> bool:
    environment = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    return requirement.marker is None or requirement.marker.evaluate(environment)


def asked(name: str) -> Iterator[Requirement]:
    """Yield what pyproject.toml asks for in a group, or to run."""
    for text in PROJECT["project"]["dependencies"] if name == "run" else PROJECT["dependency-groups"][name]:
        if isinstance(text, str):
            yield Requirement(text)
        else:
            yield from asked(text["include-group"])


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", FILES)
def test_lock_satisfies_pyproject(name: str, python: str) -> None:
    found = versions(name, python)
    wanted = [*asked(name)]
    wanted += map(Requirement, PROJECT["build-system"]["requires"]) if name == "build" else []
    assert wanted
    for requirement in wanted:
        if applies(requirement, python):
            assert requirement.specifier.contains(found[canonicalize_name(requirement.name)]), requirement


@pytest.mark.parametrize("name", FILES)
def test_lock_has_hashes_for_each_pin_and_no_address(name: str) -> None:
    assert set(lines(name)) >= OPTIONS
    assert {line for line in lines(name) if line.startswith("-")} - OPTIONS <= {f"-r {one}.txt" for one in FILES}
    for pin in pins(name):
        assert pin.hashes and all(HASH.fullmatch(one) for one in pin.hashes), pin
        assert not pin.requirement.url
    assert "://" not in (FOLDER / f"{name}.txt").read_text()


def test_lock_of_the_image_has_no_markers() -> None:
    """pip takes them to be about the Python that it runs on, and `make image` installs for another one."""
    assert not [pin for pin in pins("run") if pin.requirement.marker]


def needed(names: Iterable[str]) -> set[str]:
    """Return the closure of some packages by what is installed."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name not in found:
            found.add(name)
            requires = map(Requirement, metadata.requires(name) or ())
            waiting += [one.name for one in requires if applies(one, RUNNING)]
    return found


@pytest.mark.parametrize("name", ["run", "build", "dev"])
def test_lock_is_whole_for_this_python(name: str) -> None:
    assert needed(requirement.name for requirement in asked(name)) <= versions(name, RUNNING).keys()


def test_lock_is_what_is_installed_here() -> None:
    installed = {name: metadata.version(name) for name in versions("dev", RUNNING)}
    wanted = versions("dev", RUNNING)
    assert {name: Version(one) for name, one in installed.items()} == {
        name: Version(one) for name, one in wanted.items()
    }


@pytest.mark.parametrize("file", ["Makefile", "tools/image", "deploy/Containerfile"])
def test_nothing_is_installed_but_by_the_lock(file: str) -> None:
    """What is from this tree has --no-deps; all else is named by a lock file, whose hashes must fit."""
    text = re.sub(r"\\\n\s*", " ", (ROOT / file).read_text())
    commands = [part for line in text.splitlines() if not re.match(r"\s*(#|@echo)", line) for part in line.split("&&")]
    calls = [part for part in commands if re.search(r"\bpip (install|download|wheel)|\$\(PIP\) |_pip\(\"", part)]
    assert calls
    for call in calls:
        whole = call.replace("$(LOCKED)", make_variable("LOCKED"))
        assert "--no-deps" in whole or "--require-hashes" in whole, call


def make_variable(name: str) -> str:
    (value,) = re.findall(rf"^{name} := (.*)$", (ROOT / "Makefile").read_text(), re.M)
    return str(value)
