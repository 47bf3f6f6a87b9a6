"""Hostile GGUF files: what they claim is bounded before any of it is read."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from transformers import GPT2Config

from auditkit.cli import call
from auditkit.engine.inspect import inspect_model
from auditkit.errors import ModelFileError
from auditkit.models.formats.gguf import check_agreement
from auditkit.models.formats.gguf_file import GgufFile, read_gguf
from auditkit.models.formats.opening import open_model


def text(words: str) -> bytes:
    return struct.pack("<Q", len(words)) + words.encode()


def key(name: str, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def tensor(name: str, shape: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape[::-1], kind, offset)


def file(*keys: bytes, tensors: tuple[bytes, ...] = (), version: int = 3, data: int = 64) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys)) + b"".join(keys) + b"".join(tensors)
    return head + b"\0" * (-len(head) % 32) + b"\0" * data


def test_a_plain_file_is_read() -> None:
    names = key("names", 9, struct.pack("<IQ", 8, 2) + text("a") + text("b"))
    content = file(key("size", 4, struct.pack("<I", 7)), names, tensors=(tensor("w", (2, 3)), tensor("v", (4,), 0, 32)))
    found = read_gguf("m", content)
    assert found.metadata == {"size": 7, "names": ["a", "b"]}
    assert {name: one.shape for name, one in found.tensors.items()} == {"w": (2, 3), "v": (4,)}
    assert found.tensors["v"].start == found.tensors["w"].start + 32 == len(content) - 32


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"GGUF", "ends in the middle"),
        (file(version=1), "version 1; auditkit reads versions 2 and 3"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**62, 0), r"claims 4,611,686,018,427,387,904 tensors.*at most 100,000"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**62), "keys, and auditkit reads at most 10,000"),
        (file(struct.pack("<Q", 2**40)), "bytes of one text"),
        (file(struct.pack("<Q", 2**19)), "a text goes beyond its end"),
        (file(key("a", 9, struct.pack("<IQ", 0, 2**40))), "items of one list"),
        (file(key("a", 9, struct.pack("<IQ", 0, 4_000_000))), "ends in the middle"),
        (file(key("a", 9, struct.pack("<IQ", 9, 1))), "an array holds arrays"),
        (file(key("a", 99, b"")), "unknown type 99"),
        (file(key("a", 0, b"\1"), key("a", 0, b"\2")), "states 'a' twice"),
        (file(key("general.alignment", 4, struct.pack("<I", 0))), "its alignment is 0"),
        (file(tensors=(tensor("w", (2,)), tensor("w", (2,)))), "holds tensor 'w' twice"),
        (file(tensors=(tensor("w", (2,), 0, 2**50),)), "tensor 'w' lies beyond its end"),
        (file(tensors=(tensor("w", (0, 2)),)), "tensor 'w' is empty"),
        (file(tensors=(tensor("w", (1,) * 5),)), "has 5 axes"),
        (file(tensors=(tensor("w", (2**40,)),)), "numbers along one axis"),
        (file(tensors=(tensor("w", (2**33, 2**33)),)), "numbers, and auditkit reads at most 20,000,000,000"),
    ],
)
def test_what_a_file_claims_is_bounded(content: bytes, said: str) -> None:
    with pytest.raises(ModelFileError, match=said):
        read_gguf("m", content)


def test_other_architectures_and_a_missing_folder_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(file(key("general.architecture", 8, text("mamba")), tensors=(tensor("w", (2,)),)))
    with pytest.raises(ModelFileError, match="architecture 'mamba', and auditkit opens llama and gpt2"):
        open_model(path)
    assert not inspect_model(path).opens
    path.write_bytes(file(key("general.architecture", 8, text("llama")), tensors=(tensor("w", (2,)),)))
    with pytest.raises(ModelFileError, match=r"config\.json and tokenizer\.json as --architecture FOLDER"):
        open_model(path)
    found = inspect_model(path)
    assert "--architecture FOLDER" in found.problems[0]
    assert not any(ability.able for ability in found.abilities)


def test_a_vocabulary_without_weights_is_named_by_run_and_inspect(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As llama.cpp's `ggml-vocab-*.gguf` are."""
    path = tmp_path / "vocab.gguf"
    path.write_bytes(file(key("general.architecture", 8, text("llama"))))
    with pytest.raises(ModelFileError, match="of a vocabulary alone, without weights"):
        open_model(path)
    call(["inspect", str(path)])
    shown = capsys.readouterr().out
    assert "of a vocabulary alone, without weights" in shown
    assert "✔" not in shown


@pytest.mark.parametrize("kind", [(9, struct.pack("<IQ", 8, 1) + text("llama")), (4, struct.pack("<I", 7)), (7, b"\1")])
def test_an_architecture_that_is_no_text_is_refused(kind: tuple[int, bytes], tmp_path: Path) -> None:
    """Found by hand: a list in its place was a traceback."""
    path = tmp_path / "a.gguf"
    path.write_bytes(file(key("general.architecture", *kind), tensors=(tensor("w", (2,)),)))
    with pytest.raises(ModelFileError, match="auditkit opens llama and gpt2"):
        open_model(path)


@pytest.mark.parametrize("stated", [["8"], "8", [8]])
def test_a_number_that_the_file_gives_as_something_else_agrees_with_none(stated: object) -> None:
    described = GPT2Config(n_embd=8)
    with pytest.raises(ModelFileError, match=r"states gpt2\.embedding_length .* and config\.json n_embd 8"):
        check_agreement("m", GgufFile({"gpt2.embedding_length": stated}, {}, b""), "gpt2", described)
