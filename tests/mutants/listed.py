"""The list of deliberate faults, mutants.toml, as values."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FOUND = r"(?:FAILED|ERROR)\S* (tests/\S+)"  # pytest may have coloured the word


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One fault: the keys are told of in mutants.toml. `says` is a regular expression."""

    tier: str
    why: str
    file: str
    old: str
    new: str
    run: str
    says: str = FOUND

    def applied_to(self, text: str) -> str:
        return text.replace(self.old, self.new)


def mutants() -> tuple[Mutant, ...]:
    return tuple(Mutant(**one) for one in tomllib.loads((HERE / "mutants.toml").read_text())["mutant"])
