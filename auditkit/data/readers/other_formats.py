"""What a file is that would be read as text and is none: told by its first bytes, with what to do."""

from __future__ import annotations

import re
from typing import BinaryIO, NamedTuple

from auditkit.errors import DatasetError

HEAD_BYTES = 512
UNPACK = "unpack it, or compress it by gzip"
IN_PANDAS = "in pandas, {}(path).to_parquet(new_path)"


class OtherFormat(NamedTuple):
    """How files of a format begin that auditkit does not read, what they are, and what to do with them."""

    start: re.Pattern[bytes]
    what: str
    remedy: str


OTHER_FORMATS = tuple(
    OtherFormat(re.compile(start, re.IGNORECASE if start.startswith(rb"\s*<") else 0), what, remedy)
    for start, what, remedy in (
        (rb"BZh[1-9]1AY&SY", "is compressed by bzip2", UNPACK),
        (rb"\xfd7zXZ\x00", "is compressed by xz", UNPACK),
        (rb"\x28\xb5\x2f\xfd", "is compressed by zstandard", UNPACK),
        (rb"7z\xbc\xaf\x27\x1c", "is a 7z archive", UNPACK),
        (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "is an Excel workbook", "save the sheet as CSV"),
        (rb"\xff\xff\xff\xff", "is a stream of Arrow", "write a file: pyarrow.feather.write_feather(table, path)"),
        (rb"<stata_dta>|[l-s][\x01\x02]\x01\x00", "is a Stata file", IN_PANDAS.format("read_stata")),
        (rb"\$FL[23]@", "is an SPSS file", IN_PANDAS.format("read_spss")),
        (rb"\x89HDF\r\n\x1a\n", "is an HDF5 file", IN_PANDAS.format("read_hdf")),
        (rb"SQLite format 3\x00", "is an SQLite database", "write the table as CSV or Parquet"),
        (rb"\x80[\x02-\x05]", "is a pickle, which runs code when it is opened", IN_PANDAS.format("read_pickle")),
        (rb"\s*<(!doctype\s|(html|table)[\s>]|\?xml\s)", "is HTML or XML", "write the table as CSV"),
    )
)
WIDE_TEXT = re.compile(rb"\xff\xfe|\xfe\xff")
"""How UTF-16 begins as most programs write it."""

JSON = tuple(
    OtherFormat(re.compile(start), what, remedy)
    for start, what, remedy in (
        (
            rb"\s*\[\s*[\[{]",
            "is one JSON list",
            "write JSON Lines: in pandas, read_json(path).to_json(new_path, orient='records', lines=True)",
        ),
        (rb'\s*\{\s*"', "is JSON", "if it holds one object a line, call it .jsonl"),
    )
)


def check_text(name: str, file: BinaryIO, encoding: str) -> None:
    """Refuse a file that begins as another format does, and leave it at its start.

    Raises:
        DatasetError: what it is, and what to do.
    """
    head = _check(name, file, OTHER_FORMATS)
    if WIDE_TEXT.match(head) and encoding.lower().replace("_", "-") in ("utf-8", "utf8", "utf-8-sig"):
        raise DatasetError(f"{name}: is UTF-16 text; pass --encoding utf-16.")


def check_no_json(name: str, file: BinaryIO) -> None:
    """Refuse JSON where comma-separated text is read, and leave the file at its start.

    Raises:
        DatasetError: what it is, and what to do.
    """
    _check(name, file, JSON)


def _check(name: str, file: BinaryIO, formats: tuple[OtherFormat, ...]) -> bytes:
    head = file.read(HEAD_BYTES)
    file.seek(0)
    for one in formats:
        if one.start.match(head):
            raise DatasetError(f"{name}: {one.what}; {one.remedy}.")
    return head
