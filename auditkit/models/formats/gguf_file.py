"""What a GGUF file says of itself: read by bounds of auditkit's own, before any library or any memory is asked."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any

from auditkit.errors import ModelFileError

MAGIC = b"GGUF"

VERSIONS = (2, 3)
MOST_KEYS, MOST_TENSORS, MOST_ITEMS, MOST_TEXT, MOST_AXES = 10_000, 100_000, 5_000_000, 2**20, 4
MOST_NUMBERS = 20_000_000_000
"""So many numbers all tensors of a file hold at most: as float32 they take four times as many bytes."""

SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
TEXT, ARRAY = 8, 9


@dataclass(frozen=True)
class TensorInfo:
    """Where a tensor lies in the file: its numpy shape, its kind of number, its first byte."""

    shape: tuple[int, ...]
    kind: int
    start: int


@dataclass(frozen=True, eq=False)
class GgufFile:
    """The metadata of a file, its tensors by name, and all of its bytes."""

    metadata: dict[str, Any]
    tensors: dict[str, TensorInfo]
    content: bytes


class _Cursor:
    """Reads numbers and texts one behind the other, and never beyond the end."""

    def __init__(self, name: str, content: bytes) -> None:
        self.name = name
        self.content = content
        self.place = 4
        self.items = 0

    def fail(self, why: str) -> ModelFileError:
        return ModelFileError(f"{self.name}: damaged GGUF file: {why}.")

    def number(self, form: str) -> Any:
        size = struct.calcsize(form)
        if self.place + size > len(self.content):
            raise self.fail("it ends in the middle of its description")
        (value,) = struct.unpack_from(form, self.content, self.place)
        self.place += size
        return value

    def count(self, what: str, most: int) -> int:
        value = int(self.number("<Q"))
        if value > most:
            raise self.fail(f"it claims {value:,} {what}, and auditkit reads at most {most:,}")
        return value

    def text(self) -> str:
        length = self.count("bytes of one text", MOST_TEXT)
        if self.place + length > len(self.content):
            raise self.fail("a text goes beyond its end")
        raw = self.content[self.place : self.place + length]
        self.place += length
        return raw.decode("utf-8", errors="surrogateescape")

    def value(self, kind: int) -> Any:
        if kind == TEXT:
            return self.text()
        if kind in SCALARS:
            return self.number(SCALARS[kind])
        if kind != ARRAY:
            raise self.fail(f"a value is of the unknown type {kind}")
        inner = int(self.number("<I"))
        if inner == ARRAY:
            raise self.fail("an array holds arrays, which no model needs")
        count = self.count("items of one list", MOST_ITEMS)
        self.items += count
        if self.items > MOST_ITEMS:
            raise self.fail(f"its lists have more than {MOST_ITEMS:,} items")
        return [self.value(inner) for _ in range(count)]


def read_gguf(name: str, content: bytes) -> GgufFile:
    """Return what a file says of itself; every tensor's first byte lies in the file.

    Raises:
        ModelFileError: it is damaged, of another version or byte order, or claims more than is read.
    """
    cursor = _Cursor(name, content)
    version = int(cursor.number("<I"))
    if version not in VERSIONS:
        raise ModelFileError(f"{name}: is a GGUF file of version {version}; auditkit reads versions 2 and 3.")
    tensor_count, key_count = cursor.count("tensors", MOST_TENSORS), cursor.count("keys", MOST_KEYS)
    metadata: dict[str, Any] = {}
    for _ in range(key_count):
        key = cursor.text()
        if key in metadata:
            raise cursor.fail(f"it states {key[:100]!r} twice")
        metadata[key] = cursor.value(int(cursor.number("<I")))
    described = [_described(cursor) for _ in range(tensor_count)]
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 1 <= alignment <= 2**16:
        raise cursor.fail(f"its alignment is {alignment!r}")
    data = math.ceil(cursor.place / alignment) * alignment
    tensors: dict[str, TensorInfo] = {}
    for title, shape, kind, offset in described:
        if title in tensors:
            raise cursor.fail(f"it holds tensor {title[:100]!r} twice")
        if data + offset >= len(content):
            raise cursor.fail(f"tensor {title[:100]!r} lies beyond its end")
        tensors[title] = TensorInfo(shape, kind, data + offset)
    numbers = sum(math.prod(one.shape) for one in tensors.values())
    if numbers > MOST_NUMBERS:
        raise cursor.fail(f"it claims {numbers:,} numbers, and auditkit reads at most {MOST_NUMBERS:,}")
    return GgufFile(metadata, tensors, content)


def _described(cursor: _Cursor) -> tuple[str, tuple[int, ...], int, int]:
    """Return a tensor's name, its numpy shape, its kind of number, and where it lies in the data."""
    title = cursor.text()
    axes = int(cursor.number("<I"))
    if not 1 <= axes <= MOST_AXES:
        raise cursor.fail(f"tensor {title[:100]!r} has {axes} axes")
    shape = tuple(cursor.count("numbers along one axis", MOST_NUMBERS) for _ in range(axes))[::-1]
    if 0 in shape:
        raise cursor.fail(f"tensor {title[:100]!r} is empty")
    return title, shape, int(cursor.number("<I")), int(cursor.number("<Q"))
