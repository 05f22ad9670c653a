"""Which layers stay in floating point."""

from __future__ import annotations

import numpy as np
import pytest

from trimtab.compression.fallback import divergence, growing, rank_layers

EXACT = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3]])


def test_divergence_is_that_of_kullback_and_leibler() -> None:
    other = np.array([[0.5, 0.3, 0.2], [0.1, 0.6, 0.3]])
    first = 0.7 * np.log(0.7 / 0.5) + 0.2 * np.log(0.2 / 0.3) + 0.1 * np.log(0.1 / 0.2)
    assert divergence(EXACT, other) == pytest.approx(first / 2)
    assert divergence(EXACT, EXACT) == 0


def test_divergence_from_zeros_is_finite() -> None:
    assert np.isfinite(divergence(EXACT, np.array([[1.0, 0, 0], [0, 1, 0]])))
    assert np.isfinite(divergence(np.array([[1.0, 0, 0], [0, 1, 0]]), EXACT))


def test_layers_are_ranked_by_how_much_it_helps_to_keep_each() -> None:
    harm = {"a": 0.05, "b": 0.3, "c": 0.1}

    def answers_of(kept: tuple[str, ...]) -> np.ndarray:
        left = sum(amount for layer, amount in harm.items() if layer not in kept)
        return EXACT * (1 - left) + left / 3

    assert rank_layers(["a", "b", "c"], EXACT, answers_of) == ["b", "c", "a"]


def test_layers_are_added_one_by_one_and_then_faster_up_to_the_most() -> None:
    ranked = list("abcdefghij")
    assert [len(kept) for kept in growing(ranked, 10)] == [1, 2, 3, 4, 5, 6, 7, 8, 10]
    assert list(growing(ranked, 2)) == [("a",), ("a", "b")]
    assert list(growing(["a"], 5)) == [("a",)]
