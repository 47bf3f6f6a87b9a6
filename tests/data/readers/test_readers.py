from __future__ import annotations

import datetime
import gzip
import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from auditkit.data.dataset import factorize, origin, read_data
from auditkit.data.readers import columnar, text
from auditkit.errors import DatasetError
from auditkit.schema.infer import infer_schema

ROWS = {
    "age": [39, None, 17],
    "score": [0.5, float("nan"), 1e-3],
    "member": [True, None, False],
    "job": ["clerk", " ? ", " cook "],
    "since": [datetime.date(2020, 1, 2), None, datetime.date(1969, 12, 31)],
}
TEXTS = {
    "age": (["39", "17"], [0, -1, 1]),
    "job": (["clerk", "cook"], [0, -1, 1]),
    "since": (["1969-12-31", "2020-01-02"], [1, -1, 0]),
}


def write(path: Path, table: pa.Table) -> Path:
    if path.suffix == ".arrow":
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    else:
        pq.write_table(table, path, row_group_size=2)
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_columnar_files_keep_types_and_mark_what_is_missing(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"rows{suffix}", pa.table(ROWS))
    data = read_data(path)
    assert data.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [str(kind) for kind in data.frame.dtypes] == ["Int64", "float64", "boolean", "category", "datetime64[us]"]
    for name, (words, codes) in TEXTS.items():
        found_codes, found_words = factorize(data.frame[name])
        assert sorted(found_words) == sorted(words)
        assert [found_words[code] if code >= 0 else None for code in found_codes] == [
            words[code] if code >= 0 else None for code in codes
        ]
    assert data.frame.isna().sum().tolist() == [1, 1, 1, 1, 1]
    assert origin(data.frame, 2) == "row 2"


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
@pytest.mark.parametrize("part", [1, 2, 1000])
def test_columnar_files_in_parts_are_the_same_whole(
    tmp_path: Path, suffix: str, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    table = pa.table(
        {
            "a": rng.integers(0, 9, 101),
            "b": pa.array(rng.normal(size=101), mask=rng.random(101) < 0.2),
            "c": pa.array(rng.choice(["x", "y", "zed"], 101), mask=rng.random(101) < 0.2),
            "d": pa.array(rng.choice(["u", "v"], 101)).dictionary_encode(),
        }
    )
    path = write(tmp_path / f"rows{suffix}", table)
    monkeypatch.setattr(columnar, "ROWS_AT_ONCE", part)
    frame = read_data(path).frame
    for name, expected in table.to_pydict().items():
        found = [None if pd.isna(value) else value for value in frame[name]]
        assert found == expected


def test_a_large_columnar_file_is_read_without_the_columns_that_are_not_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columnar, "ALL_COLUMNS_ROWS", 2)
    path = write(tmp_path / "rows.parquet", pa.table(ROWS))
    data = read_data(path, needed=["age", "job"])
    assert list(data.frame.columns) == ["age", "job"]
    assert data.notes == ("Of this file's 3 rows only the columns that the audit names were read; 3 others were not.",)
    assert read_data(path).frame.shape == (3, 5)


def test_columns_of_unknown_types_are_left_out_and_named(tmp_path: Path) -> None:
    data = read_data(write(tmp_path / "rows.parquet", pa.table({"a": [1], "nested": [[1, 2]]})))
    assert list(data.frame.columns) == ["a"]
    assert data.notes == ("Column nested was not read: auditkit knows no use for values of type list<element: int64>.",)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "twice"])
@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_damaged_columnar_files_are_refused_in_one_line(tmp_path: Path, suffix: str, damage: str) -> None:
    table = pa.table({"a": [1, 2]})
    if damage == "empty":
        table = table.slice(0, 0)
    if damage == "twice":
        table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    path = write(tmp_path / f"rows{suffix}", table)
    raw = bytearray(path.read_bytes())
    if damage == "cut":
        path.write_bytes(raw[: len(raw) // 2])
    if damage == "flipped":
        raw[-12:-6] = b"\xff" * 6
        path.write_bytes(raw)
    with pytest.raises(DatasetError, match=re.escape(str(path))) as caught:
        read_data(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("code", [2, -1])
def test_codes_of_words_that_a_dictionary_lacks_are_refused(tmp_path: Path, code: int) -> None:
    codes = pa.array([0, code], type=pa.int8())
    column = pa.DictionaryArray.from_arrays(codes, pa.array(["a", "b"]), safe=False)
    path = tmp_path / "data.arrow"
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, pa.schema([("x", column.type)])) as writer:
        writer.write_batch(pa.record_batch([column], names=["x"]))
    with pytest.raises(DatasetError, match=r"data\.arrow: damaged.*out of bounds"):
        read_data(path)


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1.50, "b": "x"}\n\n{"b": null, "c": true}\n{"a": " ? ", "c": false}\n')
    data = read_data(path)
    assert data.frame.to_dict("list") == {
        "a": ["1.50", None, None],
        "b": ["x", None, None],
        "c": [None, "true", "false"],
    }
    assert [origin(data.frame, row) for row in range(3)] == ["line 1", "line 3", "line 4"]
    packed = tmp_path / "rows.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    pd.testing.assert_frame_equal(read_data(packed).frame, data.frame)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "the file is empty"),
        ('{"a": 1}\n[1]\n', "line 2: must be a JSON object"),
        ('{"a": 1}\n{"a": \n', "line 2: not a JSON object"),
        ('{"a": {"b": 1}}\n', "line 1, 'a': holds a nested value"),
        ('{"a": 1, "a": 2}\n', "line 1: .*names a key twice"),
        ('{"a": 1, " a": 2}\n', "two columns are called 'a'"),
        ("[" * 100_000 + "\n", "line 1: not a JSON object"),
    ],
)
def test_faults_of_json_lines(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(text)
    with pytest.raises(DatasetError, match=match) as caught:
        read_data(path)
    assert "\n" not in str(caught.value)


cell = st.sampled_from(["", "?", "x", "1", "1,000", 'a "quoted" one', "über", " pad "])


@settings(  # how long a machine takes to draw examples says nothing about the readers
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(rows=st.lists(st.tuples(cell, cell), min_size=1, max_size=20), part=st.integers(1, 7))
def test_text_files_in_parts_are_the_same_whole(tmp_path: Path, rows: Any, part: Any) -> None:
    frame = pd.DataFrame(rows, columns=["a", "b"])
    stream = io.StringIO()
    frame.to_csv(stream, index=False)
    path, lines = tmp_path / "rows.csv", tmp_path / "rows.jsonl"
    path.write_text(stream.getvalue(), encoding="utf-8")
    lines.write_text("".join(json.dumps(row) + "\n" for row in frame.to_dict("records")), encoding="utf-8")
    whole = read_data(path).frame
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "ROWS_AT_ONCE", part)
        pd.testing.assert_frame_equal(read_data(path).frame, whole)
        assert read_data(lines).frame.to_numpy().tolist() == whole.to_numpy().tolist()


def test_every_format_gives_the_same_encoded_rows(tmp_path: Path) -> None:
    text = "age,job,member,since,income\n39,clerk,yes,2020-01-02,a\n,cook,no,1999-03-04,b\n17,?,no,2001-05-06,a\n"
    (tmp_path / "rows.csv").write_text(text)
    frame = read_data(tmp_path / "rows.csv").frame
    schema = infer_schema(frame, target="income")
    assert [feature.kind for feature in schema.features] == ["numeric", "categorical", "boolean", "date"]
    expected = schema.encode(frame)
    records = frame.to_dict("records")
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    typed = pa.table(
        {
            "since": [datetime.date.fromisoformat(record["since"]) for record in records],
            "age": [None if record["age"] is None else int(record["age"]) for record in records],
            "job": [record["job"] for record in records],
            "member": [record["member"] == "yes" for record in records],
            "income": [record["income"] for record in records],
        }
    )
    np.savez(
        tmp_path / "rows.npz",
        age=np.array([39, np.nan, 17]),
        job=np.array(["clerk", "cook", ""]),
        member=np.array([True, False, False]),
        since=np.array(["2020-01-02", "1999-03-04", "2001-05-06"], dtype="datetime64[D]"),
        income=np.array(["a", "b", "a"]),
    )
    for path in (
        tmp_path / "rows.jsonl",
        tmp_path / "rows.npz",
        write(tmp_path / "rows.parquet", typed),
        write(tmp_path / "rows.arrow", typed),
    ):
        np.testing.assert_array_equal(schema.encode(read_data(path).frame), expected)


def test_npz_arrays_become_columns(tmp_path: Path) -> None:
    path = tmp_path / "rows.npz"
    np.savez(
        path,
        features=np.arange(6.0).reshape(3, 2),
        feature_names=np.array(["height", "weight"]),
        sensitive=np.array([["f", "x"], ["m", "y"], ["f", "x"]]),
        labels=np.array([0, 1, 1]),
    )
    frame = read_data(path).frame
    assert frame.to_dict("list") == {
        "height": [0, 2, 4],
        "weight": [1, 3, 5],
        "sensitive_0": ["f", "m", "f"],
        "sensitive_1": ["x", "y", "x"],
        "labels": [0, 1, 1],
    }
    np.savez(path, features=np.zeros((3, 8, 8), np.uint8), labels=np.array([0, 1, 1]))
    assert [image.shape for image in read_data(path).frame["image"]] == [(8, 8)] * 3


@pytest.mark.parametrize(
    ("arrays", "match"),
    [
        ({"a": np.zeros(3), "b": np.zeros(4)}, "different numbers of rows"),
        ({"a": np.array([{}], dtype=object)}, "holds more than plain arrays"),
        ({"a": np.zeros((3, 2))}, "only features may have more than one axis"),
        ({"a": np.zeros(())}, "a single value"),
        ({"features": np.zeros((3, 2)), "feature_names": np.array(["a"])}, "must name 2 columns"),
        ({"a": np.zeros(0)}, "has no rows"),
        ({"a": np.zeros(2, complex)}, "array 'a' holds values of type complex128"),
    ],
)
def test_faults_of_npz(tmp_path: Path, arrays: dict[str, Any], match: str) -> None:
    path = tmp_path / "rows.npz"
    np.savez(path, **arrays)
    with pytest.raises(DatasetError, match=match) as caught:
        read_data(path)
    assert "\n" not in str(caught.value)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DatasetError):
        read_data(path)


@pytest.fixture
def images(tmp_path: Path) -> Any:
    folder = tmp_path / "images"
    (folder / "in").mkdir(parents=True)
    for name, mode, colour in (("in/a.png", "L", 7), ("b.png", "RGB", (1, 2, 3))):
        Image.new(mode, (4, 3), colour).save(folder / name)
    (folder / "metadata.csv").write_text("file_name,label\nin/a.png,cat\nb.png,dog\n")
    return folder


def test_a_folder_of_images(images: Any) -> None:
    data = read_data(images)
    assert [image.shape for image in data.frame["image"]] == [(3, 4), (3, 4, 3)]
    assert data.frame["image"][3][0, 0].tolist() == [1, 2, 3]
    before = data.sha256
    Image.new("RGB", (4, 3), (9, 9, 9)).save(images / "b.png")
    assert read_data(images).sha256 != before


@pytest.mark.parametrize(
    ("metadata", "match"),
    [
        ("file_name,label\n../secret.png,cat\n", "line 2: file_name must be a path inside the folder"),
        ("file_name,label\n/etc/passwd,cat\n", "must be a path inside the folder"),
        ("file_name,label\n?,cat\n", "must be a path inside the folder"),
        ("file_name,label\nnone.png,cat\n", "line 2: none.png: No such file"),
        ("file_name,label\nmetadata.csv,cat\n", "is no image that Pillow knows"),
        ("filename,label\nb.png,cat\n", "has no column 'file_name'.*did you mean 'filename'"),
        ("file_name,image\nb.png,cat\n", "a column is called 'image'"),
    ],
)
def test_faults_of_image_folders(images: Any, metadata: str, match: str) -> None:
    (images / "metadata.csv").write_text(metadata)
    with pytest.raises(DatasetError, match=match):
        read_data(images)
    (images / "metadata.csv").unlink()
    with pytest.raises(
        DatasetError, match=r"is a folder without images or recordings; pass a file, a folder with a metadata\.csv"
    ):
        read_data(images)


def test_a_folder_for_each_class_is_a_data_set(tmp_path: Path) -> None:
    for name, size in (("cat/b.png", (4, 3)), ("cat/a.jpg", (5, 5)), ("dog/c.png", (2, 2)), (".hidden/d.png", (2, 2))):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", size, (9, 9, 9)).save(tmp_path / name)
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "empty").mkdir()
    data = read_data(tmp_path)
    assert data.frame["file_name"].tolist() == ["cat/a.jpg", "cat/b.png", "dog/c.png"]
    assert data.frame["label"].tolist() == ["cat", "cat", "dog"]
    assert [image.shape for image in data.frame["image"]] == [(5, 5, 3), (3, 4, 3), (2, 2, 3)]
    assert data.notes == ("Column label is the folder of each image: 2 classes, cat, dog.",)
    Image.new("RGB", (2, 2), (8, 8, 8)).save(tmp_path / "dog" / "c.png")
    assert read_data(tmp_path).sha256 != data.sha256
    outside = tmp_path.parent / f"{tmp_path.name}-outside.png"
    Image.new("RGB", (2, 2)).save(outside)
    (tmp_path / "dog" / "d.png").symlink_to(outside)
    with pytest.raises(DatasetError, match=r"dog/d\.png: is a link out of"):
        read_data(tmp_path)


def test_no_other_program_is_started_for_an_image(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    (tmp_path / "metadata.csv").write_text("file_name\na.png\n")
    with pytest.raises(DatasetError, match="is no image that Pillow knows"):
        read_data(tmp_path)


def test_a_pattern_names_several_files(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("y,x\n1,2\n")
    (tmp_path / "a.csv").write_text("x,y\n3,4\n5,6\n")
    data = read_data(tmp_path / "*.csv")
    assert data.frame.to_numpy().tolist() == [["3", "4"], ["5", "6"], ["2", "1"]]
    assert data.notes == ("2 files match the pattern.",)
    assert origin(data.frame, 2) == f"{tmp_path / 'b.csv'}, line 2"
    (tmp_path / "c.csv").write_text("x,z\n1,2\n")
    with pytest.raises(DatasetError, match=r"c\.csv: has no column 'y', which .*a\.csv has"):
        read_data(tmp_path / "*.csv")
    with pytest.raises(DatasetError, match="no file matches this pattern"):
        read_data(tmp_path / "*.parquet")
    (tmp_path / "odd[1].csv").write_text("x\n1\n")
    assert len(read_data(tmp_path / "odd[1].csv").frame) == 1, "a name that is there is no pattern"


def test_a_recording_that_lies_beside_listed_images_does_not_matter(images: Any) -> None:
    (images / "note.wav").write_bytes(b"RIFF")
    assert read_data(images).frame["image"].map(lambda image: image.ndim).isin([2, 3]).all()
