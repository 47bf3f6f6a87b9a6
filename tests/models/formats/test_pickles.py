"""The reader of pickles, word by word: what torch.save writes is described, and anything else is refused."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from auditkit.models.formats.archive import read_contents
from auditkit.models.formats.pickles import ITEM_BYTES, Program, Refused, Storage, StoredTensor, read_pickle

seen: list[Storage] = []


def read(*words: bytes, byte_count: int = 100) -> Any:
    """Return what the words of a pickle describe, behind the one for protocol 2 and before the end."""
    seen.clear()
    return read_pickle(io.BytesIO(b"\x80\x02" + b"".join(words) + b"."), seen.append, byte_count=byte_count)


def text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def storage(
    marker: bytes = text("storage"),
    kind: bytes = b"ctorch\nFloatStorage\n",
    key: bytes = text("0"),
    place: bytes = text("cpu"),
    count: bytes = b"K\x08",
    more: bytes = b"",
) -> bytes:
    return b"(" + marker + kind + key + place + count + more + b"tQ"


def tensor(
    shape: bytes = b"K\x08\x85", strides: bytes = b"K\x01\x85", offset: bytes = b"K\x00", of: bytes = storage()
) -> bytes:
    """Return the words for a tensor of a storage of eight numbers."""
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + of + offset + shape + strides
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )  # fmt: skip


@pytest.mark.parametrize("name", ITEM_BYTES)
@pytest.mark.parametrize("zipped", [True, False])
def test_every_type_of_number_has_the_bytes_that_torch_gives_it(name: str, zipped: bool, tmp_path: Path) -> None:
    kind: torch.dtype = getattr(torch, name)
    assert ITEM_BYTES[name] == torch.empty(0, dtype=kind).element_size()
    path = tmp_path / "model.pt"
    torch.save({"w": torch.zeros(3, 2, dtype=kind)}, path, _use_new_zipfile_serialization=zipped)
    with path.open("rb") as file:
        assert read_contents(file).content == {"w": StoredTensor((3, 2), name)}


def test_a_tensor_is_described_and_its_storage_checked() -> None:
    assert read(tensor()) == StoredTensor((8,), "float32")
    assert seen == [Storage("float32", "0", 8)]
    assert read(tensor(b"K\x02K\x04\x86", b"K\x04K\x01\x86")) == StoredTensor((2, 4), "float32")
    assert read(tensor(b")", b")")).count == 1
    assert read(b"ctorch._utils\n_rebuild_parameter\n(" + tensor() + b"\x88ccollections\nOrderedDict\n)RtR").count == 8


def test_a_tensor_reaches_to_the_last_number_of_its_storage_and_no_further() -> None:
    assert read(tensor(b"K\x04\x85", b"K\x02\x85", b"K\x01")).count == 4  # the numbers 1, 3, 5 and 7
    assert read(tensor(b"K\x00\x85", b"K\x01\x85", b"K\x08")).count == 0
    for shape, strides, offset in (
        (b"K\x04\x85", b"K\x02\x85", b"K\x02"),
        (b"K\x08\x85", b"K\x01\x85", b"K\x01"),
        (b"K\x09\x85", b"K\x00\x85", b"K\x00"),
        (b"K\x00\x85", b"K\x01\x85", b"K\x09"),
    ):
        with pytest.raises(Refused, match="and its storage has 8"):
            read(tensor(shape, strides, offset))
    for shape, strides, offset in (
        (b"J\xff\xff\xff\xff\x85", b"K\x01\x85", b"K\x00"),
        (b"K\x08\x85", b"J\xff\xff\xff\xff\x85", b"K\x00"),
        (b"K\x08\x85", b"K\x01\x85", b"J\xff\xff\xff\xff"),
        (b"\x88\x85", b"K\x01\x85", b"K\x00"),
        (b"K\x08\x85", b"K\x01K\x01\x86", b"K\x00"),
        (b"](K\x08e", b"K\x01\x85", b"K\x00"),
        (b"K\x08\x85", b"](K\x01e", b"K\x00"),
    ):
        with pytest.raises(Refused, match="table of contents cannot be read"):
            read(tensor(shape, strides, offset))


def test_tensors_together_claim_four_times_the_file_at_most() -> None:
    """Eight numbers of four bytes each: a file of 24 bytes may claim 96, three times as many."""
    three = b"](" + tensor() * 3 + b"e"
    assert len(read(three, byte_count=24)) == 3
    with pytest.raises(Refused, match="more than four times the bytes of the file"):
        read(three, byte_count=23)


@pytest.mark.parametrize(
    "odd",
    [
        {"marker": text("module")},
        {"kind": text("FloatStorage")},
        {"kind": b"ctorch\nSize\n"},
        {"key": b"K\x00"},
        {"place": b"K\x00"},
        {"count": b"J\xff\xff\xff\xff"},
        {"count": b"\x88"},
        {"count": text("8")},
        {"more": b"K\x01"},
        {"more": b"NN"},
    ],
)
def test_a_storage_is_described_as_torch_does(odd: dict[str, bytes]) -> None:
    assert read(storage(more=b"N")) == Storage("float32", "0", 8)
    with pytest.raises(Refused, match="table of contents cannot be read"):
        read(storage(**odd))
    assert seen == []


def test_words_that_take_more_than_there_is() -> None:
    for words in (b"K\x01\x86", b"K\x01K\x02\x87", b"\x85", b"K\x01s", b"K\x01R", b"q\x00", b"b", b"]b", b"K\x01a"):
        with pytest.raises(Refused, match="table of contents cannot be read"):
            read(words)
    assert read(b"K\x01K\x02\x86") == (1, 2)
    assert read(b"K\x01K\x02K\x03\x87") == (1, 2, 3)
    assert read(b"}K\x01K\x02s") == {1: 2}
    assert read(b"](K\x01K\x02e") == [1, 2]
    assert read(b"}q\x07h\x07") == {}
    assert read(b"NN\x86") == (None, None)
    assert read(b"\x88\x89\x86") == (True, False)


def test_another_protocol_and_the_names_of_code() -> None:
    with pytest.raises(Refused, match=r"pickle protocol 4; save it with torch\.save's own, 2"):
        read_pickle(io.BytesIO(pickle.dumps({"a": 1}, protocol=4)), seen.append, byte_count=10)
    for words in (b"cos\nsystem\n", text("os") + text("system") + b"\x93"):
        with pytest.raises(Program, match=r"it names .os\.system.") as caught:
            read(words)
        assert caught.value.kind == "pickled module"
    assert read(text("collections") + text("OrderedDict") + b"\x93)R") == {}
    with pytest.raises(Program) as caught:
        read(b"c" + b"m" * 90 + b"\nf\n")
    assert f"names '{'m' * 80}')" in str(caught.value)


def test_a_dictionary_of_python_2_is_a_list_of_pairs() -> None:
    ordered = b"ccollections\nOrderedDict\n"
    pair = b"](" + text("a") + b"K\x01e"
    assert read(ordered + b"](" + pair + b"e\x85R") == {"a": 1}
    for arguments, said in (
        (b"K\x01\x85", "in a way that torch.save does not"),
        (b"](K\x01e\x85", "in a way that torch.save does not"),
        (b"](](" + text("a") + b"ee\x85", "in a way that torch.save does not"),
        (b"]]\x86", "in a way that torch.save does not"),
        (b"](](NK\x01ee\x85", "keys are neither texts nor numbers"),
    ):
        with pytest.raises(Refused, match=said):
            read(ordered + arguments + b"R")


def test_texts_of_python_2_are_plain() -> None:
    assert read(b"U\x02ab") == "ab"
    with pytest.raises(Refused, match="bytes of Python 2 that are no plain text"):
        read(b"U\x02a\xe9")


def test_calls_in_another_way_than_torch_does() -> None:
    v2 = b"ctorch._utils\n_rebuild_tensor_v2\n"
    for words in (v2 + b")R", v2 + b"(" + storage() + b"K\x00)))tR", b"ctorch._tensor\n_rebuild_from_type_v2\n)R"):
        with pytest.raises(Refused, match=r"in a way that torch\.save does not"):
            read(words)
    for words in (b"K\x01)R", v2 + b"]R", v2 + b"K\x01R"):
        with pytest.raises(Refused, match="table of contents cannot be read"):
            read(words)
    assert read(b"ctorch\nSize\n(K\x01tR") == "torch.Size"


def test_tensors_of_older_torch_and_tensors_with_attributes_are_described() -> None:
    parts = storage() + b"K\x00" + b"K\x08\x85" + b"K\x01\x85"
    older = b"ctorch._utils\n_rebuild_tensor\n("
    assert read(older + parts + b"tR") == StoredTensor((8,), "float32")
    v2 = b"ctorch._utils\n_rebuild_tensor_v2\n"
    arguments = b"(" + parts + b"\x89ccollections\nOrderedDict\n)Rt"
    marked = b"ctorch._tensor\n_rebuild_from_type_v2\n("
    kind = b"ctorch\nSize\n"
    assert read(marked + v2 + kind + arguments + b"}tR") == StoredTensor((8,), "float32")
    for words in (older + parts + b"K\x00tR", marked + v2 + kind + arguments + b"tR"):
        with pytest.raises(Refused, match=r"in a way that torch\.save does not"):
            read(words)
    with pytest.raises(Refused, match="table of contents cannot be read"):
        read(marked + v2 + kind + b"}" + arguments + b"tR")
