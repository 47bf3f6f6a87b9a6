"""Word vectors in every form that they are passed around in, and files that only look like one."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from auditkit.budgets import Budget
from auditkit.errors import ModelFileError
from auditkit.models.capabilities import Runnable, WordVectors
from auditkit.models.formats import word_vectors
from auditkit.models.formats.opening import brings_rows, open_model

WORDS = ["the", "of", "naïve", "女人"]
VECTORS = np.array([[1, 2, 3, 4], [0.5, -1, 0, 2], [1e-3, 5, -6, 7], [9, 8, 7, 6]], dtype=np.float32)


def lines() -> str:
    return "".join(
        f"{word} {' '.join(map(str, vector))}\n" for word, vector in zip(WORDS, VECTORS.tolist(), strict=True)
    )


def binary(newline: bytes = b"\n") -> bytes:
    parts = [
        word.encode() + b" " + struct.pack("<4f", *vector) + newline
        for word, vector in zip(WORDS, VECTORS.tolist(), strict=True)
    ]
    return b"4 4\n" + b"".join(parts)


def opened(path: Path) -> tuple[list[str], np.ndarray]:
    able = open_model(path).capability(WordVectors)
    assert able is not None
    return list(able.words), able.vectors


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("glove.txt", lines().encode(), "GloVe text"),
        ("crawl.vec", ("4 4\n" + lines()).encode(), "word2vec text"),
        ("news.bin", binary(), "word2vec binary"),
        ("plain.bin", binary(b""), "word2vec binary"),
    ],
)
def test_every_form_gives_the_same_words_and_vectors(name: str, content: bytes, kind: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    model = open_model(path)
    assert kind in model.kind
    assert model.parameter_count == 16
    assert model.capability(Runnable) is None
    words, vectors = opened(path)
    assert words == WORDS
    np.testing.assert_array_equal(vectors, VECTORS)
    assert brings_rows(path)


@pytest.mark.parametrize("name", ["vectors.vocab", "vectors.txt", "vectors.words", "vocab.txt", "words.txt"])
def test_an_array_has_its_words_beside_it(name: str, tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", VECTORS.astype(np.float16))
    with pytest.raises(ModelFileError, match=r"has no words; put them beside it.* as vectors.vocab or words.txt"):
        open_model(tmp_path / "vectors.npy")
    (tmp_path / name).write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    words, vectors = opened(tmp_path / "vectors.npy")
    assert words == WORDS
    np.testing.assert_array_equal(vectors, VECTORS.astype(np.float16).astype(np.float32))
    np.save(tmp_path / "vectors.npy", np.asfortranarray(VECTORS))  # as pandas gives them
    np.testing.assert_array_equal(opened(tmp_path / "vectors.npy")[1], VECTORS)
    (tmp_path / name).write_text("one\ntwo\n", encoding="utf-8")
    with pytest.raises(ModelFileError, match=r"has 2 lines, and vectors\.npy 4 rows"):
        open_model(tmp_path / "vectors.npy")


def test_words_with_spaces_repeated_words_and_zeros(tmp_path: Path) -> None:
    text = "new york 1 2 3 4\nthe 1 1 1 1\nthe 2 2 2 2\nnil 0 0 0 0\n"
    (tmp_path / "glove.txt").write_text("of 4 3 2 1\n" + text, encoding="utf-8")
    model = open_model(tmp_path / "glove.txt")
    words, vectors = opened(tmp_path / "glove.txt")
    assert words == ["of", "new york", "the"]
    np.testing.assert_array_equal(vectors[2], [1, 1, 1, 1])
    assert [note.partition(" words")[0] for note in model.notes] == ["1", "1"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"4 4\n" + b"the 1 2 3 4\n", "its first line states 4 words of 4 numbers, and the file has only 16 bytes"),
        (b"900000000 300\nthe 1 2 3 4\n", "states 900,000,000 words of 300 numbers, and the file has only"),
        (b"2 4\nthe 1 2 3 4\nof 1 2 3\n", "line 3 has 3 numbers behind its word, not 4"),
        (b"the 1 2 3 4\nof 1 2 x 4\n", "line 2 is not a word and 4 numbers"),
        (b"the 1 2 3 4\nof 1 2 nan 4\n", "the vector of word 2, 'of', is not finite"),
        (b"the 1 2 3 4\nof 1 2 1e60 4\n", "the vector of word 2, 'of', is not finite"),
        (b"the 1 2 3 4\nof 1 2 -1e16 4\n", "of word 2, 'of', has 1e\\+16 as its largest number in size"),
        (b"the 1 2 3 4\nof 0 1e-30 0 0\n", "of word 2, 'of', has 1e-30 as its largest number in size"),
        (b"3 4\nthe 1.50 2.50 3 4\nof 1.50 2.50 3 4\n", "has 2 words, and its first line states 3"),
        (b"1 4\nthe 1 2 3 4\nof 1 2 3 4\n", "has more than the 1 words that its first line states"),
        (b"the 0 0 0 0\n", "every vector is zero"),
        (binary()[:-9], "ends within word 4 of 4|is shorter than"),
        (binary()[: 4 + 4 + 16] + bytes(60), "word 2 does not end"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(content: bytes, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "vectors.vec"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=problem) as raised:
        open_model(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "content", [b"age,income\n1,2\n", b"hello world\n", b"3 4\n", b"", b"#coefficients\n1\n2\n3\n", b"a 1 2\nb 3 4\n"]
)
def test_other_texts_are_not_taken_for_vectors(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    assert not brings_rows(path)
    with pytest.raises(ModelFileError):
        open_model(path)


@pytest.mark.parametrize(
    ("array", "problem"),
    [
        (np.zeros(5), r"holds an array \(5,\) of float64"),
        (np.zeros((2, 2), dtype=np.int64), "of int64; word vectors are floating numbers"),
        (np.array([[{}, 1]], dtype=object), "of object; word vectors are floating numbers"),
    ],
)
def test_arrays_that_are_no_vectors_are_refused_and_nothing_is_unpickled(
    array: np.ndarray, problem: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "vectors.npy", array, allow_pickle=True)
    with pytest.raises(ModelFileError, match=problem):
        open_model(tmp_path / "vectors.npy")


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (-5, -3)}", "is damaged, or no .npy file"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 3)}", "is damaged, or no .npy file"),
        ("{'descr': '<f4', 'fortran_order': False, 'shape': (10**9, 10**9)}", "is damaged, or no .npy file"),
        ("(" * 3_000, "is damaged, or no .npy file"),
        ("x" * 20_000, "is damaged, or no .npy file"),
    ],
)
def test_the_header_of_an_array_that_lies_is_refused_in_one_line(header: str, problem: str, tmp_path: Path) -> None:
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header.encode() + b"\n" + bytes(60)
    (tmp_path / "vectors.npy").write_bytes(content)
    with pytest.raises(ModelFileError, match=problem) as raised:
        open_model(tmp_path / "vectors.npy")
    assert "\n" not in str(raised.value)


def test_the_budget_is_held_before_the_memory_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_vectors, "VECTORS", Budget("numbers (words x width)", 10, 100))
    (tmp_path / "crawl.vec").write_text("4 4\n" + lines(), encoding="utf-8")
    with pytest.raises(ModelFileError, match=r"16 numbers \(words x width\), and auditkit reads at most 10"):
        open_model(tmp_path / "crawl.vec")


def test_options_for_networks_are_refused(tmp_path: Path) -> None:
    (tmp_path / "glove.txt").write_text(lines(), encoding="utf-8")
    with pytest.raises(ModelFileError, match="no network; leave architecture out"):
        open_model(tmp_path / "glove.txt", architecture="mlp")
    with pytest.raises(ModelFileError, match="need no trust; leave --trust-pickle out"):
        open_model(tmp_path / "glove.txt", trust_pickle="sha256:0")
