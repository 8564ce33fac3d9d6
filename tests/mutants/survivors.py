"""The table of mutants of core/ that no test finds, core.toml, as values; and which of its modules are out of date."""

import hashlib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CORE = ROOT / "src/qatdp/core"
TABLE = HERE / "core.toml"


WORDING = "Its wording alone is another, and that is for people: that there is one is tested."
HINT = re.compile(r'hint ?= ?"(?:[^"\\]|\\.)*"')


def is_wording(old: str, new: str) -> bool:
    """Tell whether only the words of a hint are others, or an error's text has XX around it.

    Each hint was also left out, and each text also written in capitals: those are to be killed.
    """
    return HINT.sub("hint", old) == HINT.sub("hint", new) or ("raise " in old and new.replace("XX", "") == old)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survivor:
    """One mutant that no test finds: in `at`, `old` became `new`. `why` says why that is no hole; empty, nobody has."""

    at: str
    old: str
    new: str
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """What became of the mutants of a module whose source had this hash."""

    name: str
    source: str
    mutants: int
    killed: int
    survivors: tuple[Survivor, ...]

    @property
    def open(self) -> tuple[Survivor, ...]:
        return tuple(one for one in self.survivors if not one.why)


def modules() -> tuple[Module, ...]:
    def read(name: str, row: dict[str, object]) -> Module:
        found = row.pop("survivor", [])
        assert isinstance(found, list)
        return Module(name=name, survivors=tuple(Survivor(**one) for one in found), **row)  # type: ignore[arg-type]

    return tuple(read(name, row) for name, row in tomllib.loads(TABLE.read_text()).items())


def source_hash(name: str) -> str:
    return hashlib.sha256((CORE / f"{name}.py").read_bytes()).hexdigest()[:12]


def with_code() -> set[str]:
    """Return the modules of core/ that have functions, which alone are mutated."""
    return {file.stem for file in CORE.glob("*.py") if "def " in file.read_text()}
