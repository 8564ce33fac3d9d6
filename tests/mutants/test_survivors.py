"""The table of survivors says something of each module that is there, and nothing of any other."""

import pytest
from survivors import CORE, Module, is_wording, modules, source_hash

EACH = pytest.mark.parametrize("module", modules(), ids=lambda one: one.name)


def test_some_module_was_tried() -> None:
    assert modules()


@EACH
def test_each_mutant_was_killed_or_is_told_of(module: Module) -> None:
    assert module.mutants == module.killed + len(module.survivors)


@EACH
def test_the_source_of_what_is_told_is_there(module: Module) -> None:
    text = (CORE / f"{module.name}.py").read_text()
    if source_hash(module.name) == module.source:
        assert all(line in text for one in module.survivors for line in one.old.splitlines())


@EACH
def test_what_was_mutated_is_another_line(module: Module) -> None:
    assert all(one.at and one.old != one.new for one in module.survivors)


@EACH
def test_each_survivor_is_explained(module: Module) -> None:
    assert not module.open


ERROR = 'raise ConfigError(path, "empty", hint="leave it out")'


@pytest.mark.parametrize(
    "new",
    [
        'raise ConfigError(path, "empty", hint="XXleave it outXX")',
        'raise ConfigError(path, "empty", hint="LEAVE IT OUT")',
        'raise ConfigError(path, "XXemptyXX", hint="leave it out")',
    ],
)
def test_another_wording_is_explained(new: str) -> None:
    assert is_wording(ERROR, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (ERROR, 'raise ConfigError(path, "EMPTY", hint="leave it out")'),
        (ERROR, 'raise ConfigError(path, "empty", hint=None)'),
        (ERROR, 'raise ConfigError(path, "empty", )'),
        (ERROR, 'raise ConfigError(None, "empty", hint="leave it out")'),
        ('salt = rollout.get("salt", "")', 'salt = rollout.get("salt", "XXXX")'),
    ],
)
def test_whatever_else_is_changed_is_to_be_found(old: str, new: str) -> None:
    assert not is_wording(old, new)
