from __future__ import annotations

import bz2
import codecs
import gzip
import hashlib
import io
import lzma
import pickle
import re
import zipfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from effort import effort

from auditkit.data.dataset import data_from_frame, factorize, origin, read_data
from auditkit.errors import DatasetError


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(content: str | bytes, name: str = "data.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def refused(path: Path, match: str, **options: Any) -> None:
    with pytest.raises(DatasetError, match=match) as caught:
        read_data(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message


def test_values_are_text_stripped_and_missing_ones_none(write: Any) -> None:
    path = write('age, group ,"a, b"\n 39 ,NA,"x, y"\n,None, ?\n"?",nan,\n')
    data = read_data(path)
    assert list(data.frame.columns) == ["age", "group", "a, b"]
    assert data.frame.to_numpy().tolist() == [["39", "NA", "x, y"], [None, "None", None], [None, "nan", None]]
    assert data.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert data.path == str(path)


def test_rows_know_their_lines_across_blank_lines_and_quoted_newlines(write: Any) -> None:
    data = read_data(write('a,b\r\n1,2\r\n\r\n3,"x\r\ny"\r\n4,5\r\n'))
    assert [origin(data.frame, row) for row in range(3)] == ["line 2", "line 4", "line 6"]


@pytest.mark.parametrize("name", ["data.csv.gz", "data.csv"])
def test_gzip_is_told_by_its_content(write: Any, name: str) -> None:
    data = read_data(write(gzip.compress(b"a,b\n1,2\n"), name))
    assert data.frame.to_numpy().tolist() == [["1", "2"]]


def test_a_byte_order_mark_is_no_part_of_the_first_name(write: Any) -> None:
    assert list(read_data(write(codecs.BOM_UTF8 + b"age,b\n1,2\n")).frame.columns) == ["age", "b"]


def test_another_encoding_by_name(write: Any) -> None:
    path = write("name,b\nJosé,1\n".encode("latin-1"))
    refused(path, "not utf-8 text at byte 10.*--encoding latin-1")
    assert read_data(path, encoding="latin-1").frame["name"].tolist() == ["José"]
    refused(path, "encoding 'latin-99' is unknown.*--encoding", encoding="latin-99")


def packed(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "text")
    return file.getvalue()


def stata(version: Literal[114, 118]) -> bytes:
    file = io.BytesIO()
    pd.DataFrame({"a": [1]}).to_stata(file, write_index=False, version=version)
    return file.getvalue()


def arrow_stream() -> bytes:
    file, table = io.BytesIO(), pa.table({"a": [1]})
    with pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "the file is empty"),
        (b"\n \n", "the file is empty"),
        (b"a,b\n", "has a header and no rows"),
        (b"a,b,a\n1,2,3\n", "two columns are called 'a'; rename"),
        (b"a, a\n1,2\n", "two columns are called 'a'"),
        (b"a,b,c,d\n1,2,3,4\n1,2,3,4,5\n", "line 3 has 5 values, but the header names 4 columns"),
        (b"a,b\n1,2,3\n4,5,6\n", "line 2 has 3 values, but the header names 2 columns"),
        (b"a,b\n1,2\n3\n", "line 3 has 1 values"),
        (b",a\n0,1\n", "column 1 has no name.*index=False"),
        (b"a;b\n1;2\n", "the header 'a;b' has no comma"),
        (b'a,b\n1,"2\n3,4\n', "line 2: not comma-separated text"),
        (b"a,b\n1,\0\n", "not a text file: it holds NUL bytes"),
        (b"a\tb\n1\t2\n", r"has no comma.*read_csv\(path, sep='\\t'\)"),
        ("a,b\n1,2\n".encode("utf-16"), "is UTF-16 text; pass --encoding utf-16"),
        (bz2.compress(b"a,b\n1,2\n"), "is compressed by bzip2; unpack it"),
        (lzma.compress(b"a,b\n1,2\n"), "is compressed by xz; unpack it"),
        (b"\x28\xb5\x2f\xfd\x00", "is compressed by zstandard; unpack it"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\x00", "is an Excel workbook; save the sheet as CSV"),
        (packed("xl/workbook.xml", "[Content_Types].xml"), "is a spreadsheet; save the sheet as CSV"),
        (packed("content.xml", "mimetype"), "is a spreadsheet; save the sheet as CSV"),
        (packed("rows.csv"), "is a zip archive that holds 'rows.csv'; unpack it"),
        (stata(114), r"is a Stata file; in pandas, read_stata\(path\)"),
        (stata(118), r"is a Stata file; in pandas, read_stata\(path\)"),
        (b"$FL2@(#) SPSS DATA FILE", "is an SPSS file"),
        (pickle.dumps({"a": 1}), "is a pickle, which runs code when it is opened"),
        (b"SQLite format 3\0", "is an SQLite database"),
        (b"<table border='1'>\n<tr>", "is HTML or XML; write the table as CSV"),
        (b'<?xml version="1.0"?>\n<data>', "is HTML or XML; write the table as CSV"),
        (arrow_stream(), "is a stream of Arrow; write a file"),
        (b'[{"a": 1}, {"a": 2}]', "is one JSON list; write JSON Lines"),
        (b'{"a": 1}\n{"a": 2}\n', "is JSON; if it holds one object a line, call it .jsonl"),
        (b"\x1f\x8b\x08\x00garbage", "damaged gzip file"),
        (gzip.compress(b"a,b\n1,2\n" * 100, mtime=0)[:-12], "damaged gzip file"),
        (b"PAR1\x00\x00PAR1", "damaged, or no file that pyarrow reads"),
    ],
)
def test_faults_are_named(write: Any, content: Any, match: str) -> None:
    refused(write(content), match)


@pytest.mark.parametrize("header", ["BZh,b", "[a],b", "{a},b", "<html,b", "7z,b", "$FL,b", "rank,b", "<b>,c"])
def test_text_that_begins_nearly_as_another_format_is_read(write: Any, header: str) -> None:
    assert list(read_data(write(f"{header}\n1,2\n".encode())).frame.columns) == header.split(",")


def test_no_such_file_and_a_directory(tmp_path: Path) -> None:
    refused(tmp_path / "none.csv", "No such file")
    refused(tmp_path, "is a folder without images")


def test_a_very_long_field_is_an_error_and_no_traceback(write: Any) -> None:
    refused(write(b"a,b\n1," + b"x" * 200_000 + b"\n"), "line 2: not comma-separated text: field larger")


def test_adult_is_read_with_fewer_calls_than_it_has_cells() -> None:
    with resources.as_file(resources.files("auditkit.demo") / "adult.csv.gz") as path, effort() as spent:
        data = read_data(path)
    assert data.frame.shape == (48842, 16)
    missing = data.frame.isna().sum()
    assert missing[missing > 0].to_dict() == {"workclass": 2799, "occupation": 2809, "native_country": 857}
    assert spent.calls < data.frame.size


def test_a_frame_from_memory_keeps_its_types_and_loses_its_index() -> None:
    frame = pd.DataFrame({"a": [1, 2], 3: [0.5, np.nan]}, index=["x", "x"])
    data = data_from_frame(frame)
    assert list(data.frame.columns) == ["a", "3"]
    assert data.frame["a"].dtype == np.int64
    assert origin(data.frame, 1) == "row 1"
    assert list(frame.index) == ["x", "x"], "the caller's frame is left alone"
    assert data.path is None
    assert data.sha256 is None


@pytest.mark.parametrize(
    ("frame", "match"),
    [
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns are called 'a'"),
        (pd.DataFrame([[1, 2]], columns=[1, "1"]), "two columns are called '1'"),
        (pd.DataFrame({"a": []}), "has no rows"),
        (pd.DataFrame(), "has no columns"),
        (pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])), "several levels"),
        ([1, 2], "must be a pandas DataFrame, got list"),
    ],
)
def test_faulty_frames(frame: Any, match: str) -> None:
    with pytest.raises(DatasetError, match=re.escape(match)):
        data_from_frame(frame)


@pytest.mark.parametrize(
    ("column", "codes", "words"),
    [
        (pd.Series([2, 1, 2]), [1, 0, 1], ["1", "2"]),
        (pd.Series([1.0, np.nan, 2.5]), [0, -1, 1], ["1", "2.5"]),
        (pd.Series([True, False]), [1, 0], ["False", "True"]),
        (pd.Series(["b", "a", None, pd.NA, "", " ? ", " b"], dtype=object), [1, 0, -1, -1, -1, -1, 1], ["a", "b"]),
        (pd.Series(pd.Categorical(["x", None, "y"], categories=["y", "x", "z"])), [0, -1, 1], ["x", "y"]),
        (pd.Series(pd.Categorical.from_codes([-1, 69_999], [f"{n:05}" for n in range(70_000)])), [-1, 0], ["69999"]),  # type: ignore[call-overload]  # pandas-stubs know less than pandas
        (pd.Series([1, None, 3], dtype="Int64"), [0, -1, 1], ["1", "3"]),
        (pd.Series(["u", None], dtype="string"), [0, -1], ["u"]),
        (pd.Series([1, "1", 1.0, "x"], dtype=object), [0, 0, 0, 1], ["1", "x"]),
        (pd.Series([None, None], dtype=object), [-1, -1], []),
        (pd.Series([], dtype=object), [], []),
    ],
)
def test_factorize(column: Any, codes: list[Any], words: list[Any]) -> None:
    found, texts = factorize(column)
    assert found.tolist() == codes
    assert texts == words


@pytest.mark.parametrize("values", [["a", "b ", " b", "", None, np.nan, pd.NA, 1, 1.0, "1"], ["only"], [None]])
def test_objects_that_rows_share_are_factorized_like_texts_of_their_own(values: list[Any]) -> None:
    """Many rows that share their objects are told apart by address, and no others."""
    chosen = [values[place] for place in np.random.default_rng(0).integers(0, len(values), 20_000)]
    own = [f"{value}x"[:-1] if isinstance(value, str) else value for value in chosen]
    mixed = [own[row] if row % 7 == 0 else value for row, value in enumerate(chosen)]
    whole, expected = pd.Series(chosen, dtype=object), texts_one_by_one(chosen)
    strided = pd.DataFrame({"a": whole, "b": whole}).to_numpy()[:, 0]
    for tried in (whole, *(pd.Series(other, dtype=object) for other in (own, mixed, strided, chosen * 2))):
        codes, words = factorize(tried)
        told = [words[code] if code >= 0 else None for code in codes]
        assert told == expected * (len(tried) // 20_000)


@pytest.mark.parametrize("values", [["a", "b ", " b", "", "?", None, "None", "é" * 30], ["only"], [None]])
@pytest.mark.parametrize("dtype", ["str", "string[pyarrow]", "string[python]"])
def test_columns_of_arrow_texts_are_factorized_like_their_texts(values: list[Any], dtype: str) -> None:
    """Most texts are those of a sample; rare ones, which it misses, and missing values are told apart as well."""
    chosen = [values[place] for place in np.random.default_rng(0).integers(0, len(values), 20_001)]
    rare = ["rare" if row == 12_345 else "rarer" if row == 12_347 else value for row, value in enumerate(chosen)]
    many = [f"{row}" for row in range(20_001)]
    for texts in (chosen, rare, many, [None, *many], [*chosen, *many]):
        column = pd.Series(texts, dtype=dtype)
        sliced = pd.concat([column, pd.Series(["cut off"], dtype=dtype), column], ignore_index=True)[1:20_001]
        for tried, expected in ((column, texts), (sliced, texts[1:20_001])):
            codes, words = factorize(tried)
            told = [words[code] if code >= 0 else None for code in codes]
            assert told == [None if text in ("", "?", None) else text.strip() for text in expected]


def texts_one_by_one(values: Any) -> Any:
    """Return the texts of values by a naive loop, None where missing."""
    texts = ["" if value is None or value is pd.NA or value != value else str(value).strip() for value in values]
    return [{"": None, "1.0": "1"}.get(text, text) for text in texts]


@pytest.mark.parametrize("line", ['{"group": "\\ud800", "y": 1}', '{"a\\udfff": 1}'])
def test_half_a_character_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"party": "\\ud83c\\udf89"}}\n{line}\n')
    with pytest.raises(DatasetError, match="line 2: not a JSON object: it holds half of a character"):
        read_data(path)
    path.write_text('{"party": "\\ud83c\\udf89"}\n')
    assert read_data(path).frame["party"].tolist() == ["🎉"]


@pytest.mark.parametrize("number", [0xD800, 0x7FFFFFFF])
def test_an_array_of_what_is_no_character_is_refused(tmp_path: Path, number: int) -> None:
    words = np.array(["north", "south"])
    words.view(np.uint32)[0] = number
    np.savez(tmp_path / "rows.npz", group=words)
    with pytest.raises(DatasetError, match="array 'group' is damaged: it holds what is no character"):
        read_data(tmp_path / "rows.npz")


@pytest.mark.parametrize("before", [1, 2**12, 2**12 + 1])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_the_byte_that_is_no_text_is_found_part_by_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int, pack: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr("auditkit.data.readers.text.BYTES_AT_ONCE", 2**12)
    path = tmp_path / "rows.csv"
    path.write_bytes(pack(b"a\n" + b"x\n" * ((before - 1) // 2) + b"x" * ((before - 1) % 2) + "é".encode() + b"\xff\n"))
    with pytest.raises(DatasetError, match=f"not utf-8 text at byte {2 + before - 1 + 2:,};"):
        read_data(path)


def test_a_line_without_end_is_refused_before_it_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auditkit.data.readers.text.MAXIMUM_LINE", 1_000)
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"1," * 10**6))
    with pytest.raises(DatasetError, match="a line has more than 1,000 characters"):
        read_data(path)
