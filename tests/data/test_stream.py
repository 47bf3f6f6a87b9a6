"""A Parquet file counted in parts gives, bit for bit, the table of all rows at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from auditkit.data import stream
from auditkit.data.stream import tally_parquet
from auditkit.errors import DatasetError
from auditkit.stats.counts import Counts


@pytest.fixture
def frame() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "sex": generator.choice(["F", "M"], 5000),
            "job": generator.choice(["cook", "pilot", "nurse"], 5000),
            "label": generator.integers(0, 2, 5000).astype(np.uint8),
            "chosen": generator.choice(["no", "yes"], 5000),
        }
    )
    frame.loc[frame.index[::50], "job"] = None
    return frame


def plainly(frame: pd.DataFrame) -> dict[tuple[str, str], list[list[int]]]:
    found: dict[tuple[str, str], list[list[int]]] = {}
    for sex, job, label, chosen in frame[["sex", "job", "label", "chosen"]].to_numpy(dtype=object):
        key = (sex, job if isinstance(job, str) else "(missing)")
        found.setdefault(key, [[0, 0], [0, 0]])[int(label)][int(chosen == "yes")] += 1
    return found


def counted(path: Path) -> Counts:
    return tally_parquet(path, ["sex", "job"], label="label", prediction="chosen", classes=("no", "yes"))


def test_parts_add_up_to_the_plain_count(frame: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pandas(frame), path, row_group_size=700)
    expected = plainly(frame)
    whole = counted(path)
    assert {key: whole.table[place].tolist() for place, key in enumerate(whole.groups)} == expected
    monkeypatch.setattr(stream, "ROWS_AT_ONCE", 333)
    seen: list[int] = []
    parts = tally_parquet(
        path, ["sex", "job"], label="label", prediction="chosen", classes=("no", "yes"), progress=seen.append
    )
    assert parts == whole
    assert len(seen) > 10
    assert seen[-1] == 5000


def test_dictionary_columns_give_the_same(frame: pd.DataFrame, tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pandas(frame), tmp_path / "plain.parquet")
    coded = frame.astype({"sex": "category", "job": "category", "chosen": "category"})
    pq.write_table(pa.Table.from_pandas(coded), tmp_path / "coded.parquet")
    assert counted(tmp_path / "plain.parquet") == counted(tmp_path / "coded.parquet")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"drop": "sex"}, "has no column 'sex'"),
        ({"label": 2}, "column 'label': '2' is none of the classes"),
        ({"label": None}, "column 'label' has missing values"),
        ({"rows": 0}, "has no rows"),
    ],
)
def test_bad_files_are_refused(frame: pd.DataFrame, tmp_path: Path, change: dict[str, Any], match: str) -> None:
    if "drop" in change:
        frame = frame.drop(columns="sex")
    if "label" in change:
        frame["label"] = frame["label"].astype(object)
        frame.loc[3, "label"] = change["label"]
        frame["label"] = frame["label"].astype("Int64")
    if "rows" in change:
        frame = frame.head(0)
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pandas(frame), path)
    with pytest.raises(DatasetError, match=match):
        counted(path)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"rows\.parquet"):
        counted(tmp_path / "rows.parquet")
    (tmp_path / "text.parquet").write_text("no parquet")
    with pytest.raises(DatasetError, match=r"text.parquet: Parquet magic bytes not found"):
        counted(tmp_path / "text.parquet")
