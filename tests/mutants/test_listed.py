"""The list of deliberate faults does not rot: whoever changes such a place is told at once."""

from collections import Counter

import pytest
from listed import ROOT, Mutant, mutants


@pytest.mark.parametrize("mutant", mutants(), ids=lambda one: f"{one.tier}: {one.why}")
def test_what_a_mutant_changes_is_there_once(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text()
    assert text.count(mutant.old) == 1
    assert mutant.applied_to(text) != text


@pytest.mark.parametrize("mutant", mutants(), ids=lambda one: f"{one.tier}: {one.why}")
def test_what_is_to_find_it_is_there(mutant: Mutant) -> None:
    assert all((ROOT / word).exists() for word in mutant.run.split() if word.startswith("tests/"))


def test_each_tier_has_three_faults_of_the_product_at_least() -> None:
    of_product = Counter(mutant.tier for mutant in mutants() if not mutant.why.startswith("sabotage"))
    assert of_product.keys() == {"fast", "kernel", "kubelet", "node", "iommufd", "image"}
    assert min(of_product.values()) >= 3
