import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trimtab.data.audits.clusters import cluster_rows, disagreeing, in_clusters, join, members, straddling


def plain(pairs, rows):
    """The same clusters, joined one pair after the other."""
    numbers = list(range(rows))
    for first, second in pairs:
        low, high = sorted((numbers[first], numbers[second]))
        numbers = [low if number == high else number for number in numbers]
    return numbers


@given(st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40))
def test_rows_joined_over_others_are_in_one_cluster_named_by_its_lowest_row(pairs):
    found = cluster_rows(np.array(pairs, dtype=np.int64).reshape(-1, 2), 30)
    assert found.tolist() == plain(pairs, 30)


def test_a_long_chain_is_one_cluster():
    rows = np.random.default_rng(0).permutation(5000)
    assert (cluster_rows(np.stack([rows[:-1], rows[1:]], axis=1), 5000) == 0).all()


def test_numberings_are_joined_where_either_has_rows_together():
    assert join(np.array([7, 7, 3, 1, 2]), np.array([0, 5, 5, 9, 8])).tolist() == [0, 0, 0, 3, 4]


def test_members_are_the_clusters_of_two_or_more():
    numbers = np.array([0, 1, 0, 3, 1, 1])
    assert [rows.tolist() for rows in members(numbers)] == [[0, 2], [1, 4, 5]]
    assert in_clusters(numbers).tolist() == [True, True, True, False, True, True]
    assert members(np.arange(4)) == []


def test_rows_straddle_when_a_copy_is_outside_of_their_part():
    numbers, is_test = np.array([0, 1, 0, 3, 3]), np.array([False, False, True, True, True])
    assert straddling(numbers, is_test, ~is_test).tolist() == [2]


def test_clusters_disagree_when_labels_differ():
    found = disagreeing(np.array([0, 0, 2, 2]), np.array([1, 1, 0, 1]))
    assert [rows.tolist() for rows in found] == [[2, 3]]
