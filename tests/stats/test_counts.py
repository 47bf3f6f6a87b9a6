"""Counts: against a naive loop over rows, and by what must not matter: order, shards, names."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditkit.errors import InputError
from auditkit.stats.counts import Counts, not_compared, not_compared_note, tally

COLUMNS = ("sex", "race")
NAMES = (("M", "b"), ("F", "a"), ("F", "b"), ("M", "a"), ("X", "a"))
CLASSES = ("no", "yes", "maybe")

Rows = list[tuple[int, int, int]]

rows = st.lists(
    st.tuples(st.integers(0, len(NAMES) - 1), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60
)


def counted(data: Rows) -> Counts:
    codes, labels, predictions = np.array(data, dtype=np.int64).reshape(-1, 3).T
    return tally(COLUMNS, NAMES, codes, labels, predictions, CLASSES)


class TestTally:
    @given(rows)
    def test_naive_loop(self, data: Rows) -> None:
        counts = counted(data)
        expected: Counter[tuple[tuple[str, ...], int, int]] = Counter()
        expected.update((NAMES[group], label, prediction) for group, label, prediction in data)
        assert list(counts.groups) == sorted({NAMES[group] for group, _, _ in data})
        for position, key in enumerate(counts.groups):
            for label in range(3):
                for prediction in range(3):
                    assert counts.table[position, label, prediction] == expected[key, label, prediction]
        assert counts.table.dtype == np.int64
        assert counts.total().sum() == counts.sizes.sum() == len(data)

    @given(rows, st.randoms())
    def test_order_of_rows_does_not_matter(self, data: Rows, random: Random) -> None:
        shuffled = list(data)
        random.shuffle(shuffled)
        assert counted(shuffled) == counted(data)

    @given(rows, st.integers(0, 60))
    def test_shards_add_up_to_the_whole(self, data: Rows, cut: int) -> None:
        parts = [part for part in (data[:cut], data[cut:]) if part]
        total = counted(parts[0])
        for part in parts[1:]:
            total = total + counted(part)
        assert total == counted(data)
        assert total.table.tobytes() == counted(data).table.tobytes()

    def test_codes_may_be_in_any_order_of_names(self) -> None:
        forwards = tally(
            ("g",), (("a",), ("b",)), np.array([0, 1, 1]), np.array([0, 1, 0]), np.array([0, 0, 1]), ("n", "y")
        )
        backwards = tally(
            ("g",), (("b",), ("a",)), np.array([1, 0, 0]), np.array([0, 1, 0]), np.array([0, 0, 1]), ("n", "y")
        )
        assert forwards == backwards

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"codes": [0, 5]}, "codes must be integers from 0 to 4"),
            ({"codes": [-1, 0]}, "codes must be integers from 0 to 4"),
            ({"labels": [0, 3]}, "labels must be integers from 0 to 2"),
            ({"predictions": [0.0, 1.0]}, "predictions must be integers"),
            ({"labels": [0, 1, 1]}, "one value a row, got 2, 3 and 2"),
        ],
    )
    def test_codes_that_name_nothing_are_refused(self, changed: dict[str, list[Any]], message: str) -> None:
        arrays = {"codes": [0, 1], "labels": [0, 1], "predictions": [0, 1]} | changed
        codes, labels, predictions = (np.array(array) for array in arrays.values())
        with pytest.raises(InputError, match=message):
            tally(COLUMNS, NAMES, codes, labels, predictions, CLASSES)

    def test_no_rows(self) -> None:
        nothing = np.array([], dtype=np.int64)
        counts = tally(COLUMNS, NAMES, nothing, nothing, nothing, CLASSES)
        assert counts.groups == ()
        assert counts.by(("sex",)).table.shape == (0, 3, 3)
        assert counts + counted([(0, 1, 2)]) == counted([(0, 1, 2)])


class TestCounts:
    @given(rows)
    def test_by_is_tallying_fewer_columns(self, data: Rows) -> None:
        codes, labels, predictions = np.array(data, dtype=np.int64).T
        sexes = tuple((sex,) for sex in "FMX")
        code_of = np.array(["FMX".index(sex) for sex, _ in NAMES])
        assert counted(data).by(("sex",)) == tally(("sex",), sexes, code_of[codes], labels, predictions, CLASSES)
        assert counted(data).by(COLUMNS) == counted(data)
        assert counted(data).by(()).table[0].tolist() == counted(data).total().tolist()
        assert counted(data).by(("race", "sex")).groups == tuple(
            sorted((race, sex) for sex, race in counted(data).groups)
        )

    def test_tables_of_other_names_do_not_add(self) -> None:
        one = counted([(0, 0, 0)])
        with pytest.raises(InputError, match="columns must agree"):
            one + one.by(("sex",))
        with pytest.raises(InputError, match="classes must agree"):
            one + Counts(one.columns, one.groups, ("a", "b", "c"), one.table.copy())

    def test_by_an_unknown_column(self) -> None:
        with pytest.raises(InputError, match="column 'age' is not counted here"):
            counted([(0, 0, 0)]).by(("age",))

    def test_a_table_that_does_not_fit_its_names_is_refused(self) -> None:
        with pytest.raises(InputError, match="shape"):
            Counts(("g",), (("a",),), ("n", "y"), np.zeros((2, 2, 2), dtype=np.int64))
        with pytest.raises(InputError, match="sorted"):
            Counts(("g",), (("b",), ("a",)), ("n", "y"), np.zeros((2, 2, 2), dtype=np.int64))

    def test_the_table_cannot_be_changed(self) -> None:
        with pytest.raises(ValueError, match="read-only"):
            counted([(0, 0, 0)]).table[0, 0, 0] = 7


class TestNotCompared:
    @given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(1, 20))
    def test_only_groups_that_are_too_small_are_left_out(self, sizes: list[int], min_group: int) -> None:
        left_out = not_compared(np.array(sizes), min_group)
        assert left_out.tolist() == [size < min_group for size in sizes]

    @given(st.lists(st.integers(1, 40), min_size=4, max_size=4))
    def test_and_those_without_a_value(self, sizes: list[int]) -> None:
        keys = (("F", "a"), ("F", "(missing)"), ("(missing)", "a"), ("M", "b"))
        left_out = not_compared(np.array(sizes), 10, keys)
        assert left_out.tolist() == [sizes[0] < 10, True, True, sizes[3] < 10]

    def test_note(self) -> None:
        keys = (("A",), ("B",), ("C",), ("D",))
        assert not_compared_note(("race",), keys, np.array([500, 300, 40, 40]), 10) is None
        note = not_compared_note(("race",), keys, np.array([500, 300, 40, 4]), 10)
        assert note == "By race, 1 of 4 groups has fewer than 10 rows, too few to judge: D (4)."
        note = not_compared_note(("sex",), (("(missing)",), ("F",), ("M",), ("X",)), np.array([12, 50, 50, 1]), 10)
        assert note == (
            "By sex, 1 of 3 groups has fewer than 10 rows, too few to judge: X (1); 12 rows without a value are "
            "counted and not compared; --compare-missing compares them."
        )
        many = tuple((f"g{place:02}",) for place in range(14))
        note = not_compared_note(("g",), many, np.array([500, 500] + [3] * 12), 10)
        assert note is not None
        assert note.endswith("g11 (3) and 2 more.")
