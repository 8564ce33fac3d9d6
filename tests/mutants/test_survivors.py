"""The table of survivors says something of each module that is there, and nothing of any other."""

import pytest
from survivors import CORE, Module, modules, source_hash

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
