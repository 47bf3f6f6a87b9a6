"""Files of word vectors: texts of word2vec and GloVe, word2vec's binary form, and .npy with its words beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditkit.budgets import Budget
from auditkit.data.readers.arrays import array_header
from auditkit.errors import ModelFileError
from auditkit.evidence.messages import Message
from auditkit.files import read_text
from auditkit.models.base import Match, OpenOptions, Source, Trust
from auditkit.models.model import Model
from auditkit.models.word_vectors import LACKS, model_of_vectors

NUMPY = b"\x93NUMPY"
HEADER = re.compile(rb"(\d{1,12}) (\d{1,6})[ \t]*\r?\n")
FEWEST_NUMBERS = 3
"""A line of text with a word and fewer numbers is taken for something else."""

SMALLEST, LARGEST = 1e-15, 1e15
"""Between these lies the largest number of a vector: its square is a number of 32 bits, and not 0."""

LINE_BYTES = 2**20
VECTORS = Budget("numbers (words x width)", 1_500_000_000, 100_000_000_000)
VOCABULARY_BYTES = Budget("bytes", 256 * 2**20, 8 * 2**30)
BESIDE = ("{stem}.vocab", "{stem}.txt", "{stem}.words", "vocab.txt", "words.txt")
"""The names that the file with the words of a .npy file may have, one word a line; the first that is there counts."""


class Read(NamedTuple):
    """Words and their vectors, (words, width), as a file holds them."""

    words: list[str]
    vectors: NDArray[np.float32]


class WordVectorsFormat:
    """Files with a vector for each word, and nothing else."""

    def recognise(self, source: Source) -> Match | None:
        """Return a match where the first bytes are those of word vectors."""
        if source.file is None:
            return None
        kind = _kind(source)
        return None if kind is None else Match(kind, lacks=LACKS, own_rows=True)

    def open(self, source: Source, trust: Trust, config: OpenOptions) -> Model:
        """Return the vectors as a model.

        Raises:
            ModelFileError: the file is damaged, holds numbers that are not finite, or no words lie beside it.
        """
        assert source.file is not None
        for option in trust.given():
            raise ModelFileError(f"{source.name}: holds word vectors, which need no trust; leave {option} out.")
        if config.architecture is not None:
            raise ModelFileError(f"{source.name}: holds word vectors, which have no network; leave architecture out.")
        kind, sha256 = _kind(source), source.sha256
        assert kind is not None
        source.file.seek(0)
        read = _READERS[kind](source)
        words, vectors, notes = _usable(source.name, read)
        return model_of_vectors(
            words, vectors, name=source.path.stem, kind=kind, path=str(source.path), sha256=sha256, notes=notes
        )


def _kind(source: Source) -> str | None:
    """Return what kind of word vectors the first bytes are of; None of none."""
    head = source.head
    if head.startswith(NUMPY):
        return "word vectors (npy)"
    header = HEADER.match(head)
    if header is None:
        return "word vectors (GloVe text)" if _is_vector_line(head) else None
    width, rest = int(header[2]), head[header.end() :]
    if width < FEWEST_NUMBERS:
        return None
    if _is_vector_line(rest):
        return "word vectors (word2vec text)"
    word, space, _ = rest.partition(b" ")
    return "word vectors (word2vec binary)" if space and 0 < len(word.strip()) <= 200 else None


def _is_vector_line(head: bytes) -> bool:
    """Return whether the first line is a word and numbers; of a line that is cut off, as far as it goes."""
    line, ended, _ = head.partition(b"\n")
    parts = line.split(b" ")
    numbers = [part for part in parts[1:] if part.strip()]
    if not ended:
        numbers = numbers[:-1]
    return bool(parts[0]) and len(numbers) >= FEWEST_NUMBERS and all(map(_is_number, numbers[-FEWEST_NUMBERS:]))


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_word2vec_text(source: Source) -> Read:
    assert source.file is not None
    count, width = _header(source)
    return _read_lines(source, _lines(source.name, source.file, 2), count, width)


def _read_glove(source: Source) -> Read:
    assert source.file is not None
    width = len(source.file.readline(LINE_BYTES).split()) - 1
    source.file.seek(0)
    count = sum(1 for _ in _lines(source.name, source.file, 1))
    source.file.seek(0)
    return _read_lines(source, _lines(source.name, source.file, 1), count, width)


def _header(source: Source) -> tuple[int, int]:
    """Return the numbers of words and of numbers a word that the first line states; the file lies behind it then."""
    assert source.file is not None
    size = source.byte_count  # asking for it moves the file
    source.file.seek(0)
    header = HEADER.match(source.file.readline(64))
    assert header is not None
    count, width = int(header[1]), int(header[2])
    if count * (2 + 2 * width) > size:
        raise ModelFileError(
            f"{source.name}: its first line states {count:,} words of {width:,} numbers, and the file has only "
            f"{size:,} bytes; it was cut off, or is none of word2vec."
        )
    return count, width


def _lines(name: str, file: BinaryIO, first: int) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank with their numbers."""
    number = first
    while line := file.readline(LINE_BYTES + 1):
        if len(line) > LINE_BYTES:
            raise ModelFileError(f"{name}: line {number:,} has more than {LINE_BYTES:,} bytes; a line has one word.")
        if line.strip():
            yield number, line.rstrip(b" \t\r\n")
        number += 1


def _read_lines(source: Source, lines: Iterator[tuple[int, bytes]], count: int, width: int) -> Read:
    VECTORS.check(count * width, source.name, ModelFileError)
    words: list[str] = []
    vectors = np.empty((count, width), dtype=np.float32)
    for number, line in lines:
        parts = line.split(b" ")
        at = len(words)
        if at == count:
            raise ModelFileError(f"{source.name}: has more than the {count:,} words that its first line states.")
        if len(parts) <= width:
            raise ModelFileError(
                f"{source.name}: line {number:,} has {len(parts) - 1:,} numbers behind its word, not {width:,}."
            )
        try:
            with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused as such
                vectors[at] = np.array(parts[-width:], dtype=np.float32)
        except ValueError as error:
            raise ModelFileError(f"{source.name}: line {number:,} is not a word and {width:,} numbers.") from error
        words.append(b" ".join(parts[:-width]).decode("utf-8", errors="replace"))
    if len(words) < count:
        raise ModelFileError(f"{source.name}: has {len(words):,} words, and its first line states {count:,}.")
    return Read(words, vectors)


def _read_word2vec_binary(source: Source) -> Read:
    assert source.file is not None
    count, width = _header(source)
    if count * (2 + 4 * width) > source.byte_count + count:  # the last word may lack its newline
        raise ModelFileError(f"{source.name}: is shorter than {count:,} words of {width:,} numbers; it was cut off.")
    VECTORS.check(count * width, source.name, ModelFileError)
    words: list[str] = []
    vectors = np.empty((count, width), dtype=np.float32)
    for at in range(count):
        words.append(_binary_word(source.name, source.file, at))
        numbers = source.file.read(4 * width)
        if len(numbers) < 4 * width:
            raise ModelFileError(f"{source.name}: ends within word {at + 1:,} of {count:,}; it was cut off.")
        vectors[at] = np.frombuffer(numbers, dtype="<f4")
    return Read(words, vectors)


def _binary_word(name: str, file: BinaryIO, at: int) -> str:
    letters = bytearray()
    while (letter := file.read(1)) != b" ":
        if not letter or len(letters) > 10_000:
            raise ModelFileError(f"{name}: word {at + 1:,} does not end; the file is damaged, or none of word2vec.")
        letters += letter
    return bytes(letters).lstrip(b"\n").decode("utf-8", errors="replace")


def _read_npy(source: Source) -> Read:
    assert source.file is not None
    file = source.file
    try:
        shape, by_column, dtype = array_header(file)
    except ValueError as error:
        raise ModelFileError(f"{source.name}: is damaged, or no .npy file.") from error
    if len(shape) != 2 or dtype.kind != "f" or not all(shape):
        raise ModelFileError(
            f"{source.name}: holds an array {shape} of {dtype}; word vectors are floating numbers, one row a word."
        )
    VECTORS.check(shape[0] * shape[1], source.name, ModelFileError)
    content = file.read(shape[0] * shape[1] * dtype.itemsize)
    if len(content) < shape[0] * shape[1] * dtype.itemsize:
        raise ModelFileError(f"{source.name}: is shorter than its header states; it was cut off.")
    with np.errstate(over="ignore"):
        rows = np.frombuffer(content, dtype=dtype).reshape(shape, order="F" if by_column else "C")
        vectors = rows.astype(np.float32, order="C")
    return Read(_words_beside(source, shape[0]), vectors)


def _words_beside(source: Source, count: int) -> list[str]:
    """Return the words of a .npy file, which lie beside it, one a line in the order of its rows."""
    paths = [source.path.with_name(name.format(stem=source.path.stem)) for name in BESIDE]
    path = next((path for path in paths if Path(path).is_file()), None)
    if path is None:
        raise ModelFileError(
            f"{source.name}: has no words; put them beside it, one a line in the order of the rows, as {paths[0].name} "
            "or words.txt."
        )
    text = read_text(path, f"words {path}", budget=VOCABULARY_BYTES, error=ModelFileError)
    words = [line.strip() for line in text.removesuffix("\n").split("\n")]
    if len(words) != count:
        raise ModelFileError(f"words {path}: has {len(words):,} lines, and {source.path.name} {count:,} rows.")
    return words


_READERS = {
    "word vectors (npy)": _read_npy,
    "word vectors (GloVe text)": _read_glove,
    "word vectors (word2vec text)": _read_word2vec_text,
    "word vectors (word2vec binary)": _read_word2vec_binary,
}


def _usable(name: str, read: Read) -> tuple[list[str], NDArray[np.float32], tuple[str, ...]]:
    """Return the words that are not listed before and whose vectors are not zero, and notes on the others."""
    words, vectors = read
    if not words:
        raise ModelFileError(f"{name}: holds no words.")
    largest = np.maximum(vectors.max(axis=1), -vectors.min(axis=1))
    finite = np.isfinite(largest)
    if not finite.all():
        place = int(np.argmin(finite))
        raise ModelFileError(f"{name}: the vector of word {place + 1:,}, {words[place][:40]!r}, is not finite.")
    zero: NDArray[np.bool_] = largest == 0
    usable = zero | ((largest >= SMALLEST) & (largest <= LARGEST))
    if not usable.all():
        place = int(np.argmin(usable))
        raise ModelFileError(
            f"{name}: the vector of word {place + 1:,}, {words[place][:40]!r}, has {float(largest[place]):g} as its "
            f"largest number in size, which must lie from {SMALLEST:g} to {LARGEST:g}."
        )
    first: dict[str, int] = {}
    for place, word in enumerate(words):
        first.setdefault(word, place)
    kept = [place for place in first.values() if not zero[place]]
    notes = []
    if len(first) < len(words):
        count = len(words) - len(first)
        notes.append(Message("{n:,} words are listed more than once; the first vector of each counts.", n=count))
    zeros = sum(bool(zero[place]) for place in first.values())
    if zeros:
        notes.append(Message("{n:,} words have a vector of zeros, which has no direction, and were left out.", n=zeros))
    if not kept:
        raise ModelFileError(f"{name}: every vector is zero.")
    if len(kept) == len(words):
        return words, vectors, tuple(notes)
    return [words[place] for place in kept], vectors[kept], tuple(notes)
