"""Any column becomes a few named groups that hold each row once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from auditkit.data.groups import grouped_columns


def phrases(frame: pd.DataFrame, **settings: int) -> dict[str, list[str]]:
    found, _ = grouped_columns(frame, **settings)  # type: ignore[arg-type]
    return {column.name: [column.phrases[code] for code in column.codes] for column in found}


def test_numbers_become_ranges_that_hold_their_values() -> None:
    values = np.random.default_rng(0).normal(50, 10, 500).round(2)
    (column,), omitted = grouped_columns(pd.DataFrame({"x": values}), quantiles=4)
    assert omitted == []
    assert column.ordered
    assert np.bincount(column.codes).tolist() == pytest.approx([125] * 4, abs=1)
    for code, phrase in enumerate(column.phrases):
        inside = values[column.codes == code]
        words = phrase.split()
        if words[1] == "under":
            assert (inside < float(words[2])).all()
        elif words[-1] == "over":
            assert (inside >= float(words[1])).all()
        else:
            assert ((inside >= float(words[1])) & (inside < float(words[4]))).all()


def test_text_few_numbers_booleans_and_missing_values_are_groups_by_value() -> None:
    frame = pd.DataFrame(
        {
            "job": ["cook", None, "pilot", "cook"],
            "rooms": ["1", "2", "1", ""],
            "member": [True, False, True, True],
            "constant": ["a"] * 4,
        }
    )
    assert phrases(frame) == {
        "job": ["job = cook", "job missing", "job = pilot", "job = cook"],
        "rooms": ["rooms = 1", "rooms = 2", "rooms = 1", "rooms missing"],
        "member": ["member = True", "member = False", "member = True", "member = True"],
    }


def test_a_number_that_most_rows_share_is_a_range_of_its_own() -> None:
    gains = [0] * 95 + [100, 200, 300, 400, 500]
    assert set(phrases(pd.DataFrame({"gain": gains}))["gain"]) == {"gain under 100", "gain 100 and over"}
    assert phrases(pd.DataFrame({"gain": gains * 2}), quantiles=50)["gain"].count("gain under 100") <= 190


def test_ids_free_text_and_arrays_are_left_out_by_name() -> None:
    frame = pd.DataFrame({"id": [f"row {n}" for n in range(150)], "pixels": [np.zeros(2)] * 150, "age": range(150)})
    found, omitted = grouped_columns(frame)
    assert [column.name for column in found] == ["age"]
    assert omitted == ["id", "pixels"]
    assert grouped_columns(frame, leave_out=["age", "id"])[0] == []
