import numpy as np
import pytest

from trimtab.data.audits import hashes
from trimtab.data.audits.hashes import close_pairs, content_hashes, look_hashes


@pytest.fixture
def pictures():
    """Smooth pictures, as photographs are."""
    waves = np.random.default_rng(0).normal(size=(200, 6, 6, 3))
    places = np.cos(np.pi * np.arange(6)[:, None] * (np.arange(24) + 0.5) / 24)
    smooth = np.einsum("nuvc,ux,vy->nxyc", waves, places, places)
    return np.clip(128 + 30 * smooth, 0, 255).astype(np.uint8)


def test_only_equal_content_has_equal_hashes(pictures):
    pictures[5] = pictures[3]
    pictures[7] = pictures[3]
    pictures[7, 0, 0, 0] ^= 1
    found = content_hashes(pictures)
    assert found[5] == found[3]
    assert len(set(found.tolist())) == 199


def test_a_look_keeps_its_hash_when_it_is_darker_or_larger(pictures):
    dark = (0.8 * pictures).astype(np.uint8)
    large = pictures.repeat(2, axis=1).repeat(2, axis=2)
    for copies in (dark, large):
        distance = np.bitwise_count(look_hashes(copies) ^ look_hashes(pictures))
        assert np.quantile(distance, 0.95) <= 6


def test_other_looks_have_other_hashes(pictures):
    found = look_hashes(pictures)
    distance = np.bitwise_count(found[:100] ^ found[100:])
    assert distance.min() > 12


def brute_force(values, radius):
    close = np.bitwise_count(values[:, None] ^ values[None]) <= radius
    return {(int(a), int(b)) for a, b in zip(*np.nonzero(np.triu(close, 1)), strict=True)}


def near_hashes(rows=600):
    rng = np.random.default_rng(1)
    values = rng.integers(0, 2**63, rows, dtype=np.uint64)
    for row in range(0, rows, 3):
        flips = sum(1 << int(bit) for bit in rng.permutation(64)[: row % 7])
        values[row] = values[row - 1] ^ np.uint64(flips)
    return values


def test_close_pairs_are_those_of_comparing_all_with_all(monkeypatch):
    monkeypatch.setattr(hashes, "_BLOCK", 7)
    monkeypatch.setattr(hashes, "_STRIP", 50)
    values = near_hashes()
    pairs = np.concatenate(list(close_pairs(values, radius=5)))
    assert {tuple(pair) for pair in pairs.tolist()} == brute_force(values, 5)
    assert len(pairs) == len(brute_force(values, 5)) > 100


def test_of_very_many_rows_nearly_all_close_pairs_are_found_and_no_others(monkeypatch):
    monkeypatch.setattr(hashes, "_FEWEST_MANY", 100)
    values = near_hashes()
    pairs = {tuple(pair) for part in close_pairs(values, radius=5) for pair in part.tolist()}
    wanted = brute_force(values, 5)
    assert pairs <= wanted
    assert len(pairs) > 0.95 * len(wanted)
