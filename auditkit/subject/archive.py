"""What an archive of torch.save holds, read without running anything of it.

A pickle is a program. This file reads the few of its words that torch.save writes for dictionaries of texts, numbers
and tensors, keeps descriptions in place of the tensors, and refuses every other word, so that `torch.load` is only
ever given an archive whose content is known: no code, no storage that is not there, no number that is not plain.
"""

from __future__ import annotations

import math
import pickletools
import struct
import zipfile
from dataclasses import dataclass
from typing import Any, BinaryIO

MAXIMUM_PICKLE_BYTES = 16 * 2**20
MAXIMUM_PICKLE_WORDS = 150_000
MAXIMUM_MEMBERS = 50_000
END_OF_DIRECTORY_BYTES = 22

ITEM_BYTES = {
    "DoubleStorage": 8,
    "FloatStorage": 4,
    "HalfStorage": 2,
    "BFloat16Storage": 2,
    "LongStorage": 8,
    "IntStorage": 4,
    "ShortStorage": 2,
    "CharStorage": 1,
    "ByteStorage": 1,
    "BoolStorage": 1,
}
"""Bytes of one element, by the name that torch.save gives a tensor's storage."""


class Refused(Exception):
    """The archive is damaged, or holds more than words and plain tensors; the message is a clause saying what."""


class Program(Refused):
    """The archive holds code that opening it would run; the message is a noun phrase saying what."""


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that the archive describes, and the member that holds its numbers."""

    shape: tuple[int, ...]
    storage: str
    member: str


@dataclass(frozen=True)
class _Global:
    name: str


@dataclass(frozen=True)
class _Storage:
    kind: str
    key: str
    count: int


def inspect_archive(file: BinaryIO, size: int) -> Any:
    """Return what `torch.save` wrote into an open file of `size` bytes, with a StoredTensor for each tensor.

    On return every checksum has been verified, every tensor is contiguous, has a storage to itself, and that
    storage lies in the file with exactly the bytes that the tensor needs.

    Raises:
        Program: it is a program, or its pickle names code.
        Refused: anything else about it is not as torch.save writes plain weights.
    """
    try:
        file.seek(max(size - END_OF_DIRECTORY_BYTES, 0))
        end = file.read()
        with zipfile.ZipFile(file) as archive:
            sizes = _member_sizes(archive, size, end)
            prefix = next(iter(sizes)).partition("/")[0] + "/"
            _refuse_programs(prefix, sizes)
            damaged = archive.testzip()
            if damaged is not None:
                raise Refused(f"is damaged: the checksum of {damaged!r} does not match")
            pickle = archive.read(f"{prefix}data.pkl")
    except (zipfile.BadZipFile, zipfile.LargeZipFile, OSError, EOFError, ValueError) as error:
        raise Refused(f"is damaged: {error}") from error
    except (NotImplementedError, RuntimeError, LookupError, OverflowError, struct.error) as error:
        raise Refused(f"is no archive that torch.save writes: {error}") from error
    reader = _PickleReader({name.removeprefix(prefix): count for name, count in sizes.items()})
    return reader.read(pickle)


def _member_sizes(archive: zipfile.ZipFile, size: int, end: bytes) -> dict[str, int]:
    """Return the members' sizes once they are known to be real: stored, not inflated, no two over the same bytes."""
    members = archive.infolist()
    if not members or len(members) > MAXIMUM_MEMBERS:
        raise Refused(f"has {len(members):,} members, and a model file from 1 to {MAXIMUM_MEMBERS:,}")
    # Zip readers search for the directory. Where a member is at byte 0 and the end record, without a comment, at the
    # end, torch's reader and Python's find the same one.
    at_both_ends = min(member.header_offset for member in members) == 0 and end.startswith(b"PK\x05\x06")
    if not at_both_ends or archive.comment:
        raise Refused("has bytes before or behind its zip archive")
    if any(
        member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size for member in members
    ):
        raise Refused("has compressed members, which torch.save never writes, and which could inflate without bound")
    if sum(member.file_size for member in members) > size:
        raise Refused("claims more bytes than the file has")
    sizes = {member.filename: member.file_size for member in members}
    if len(sizes) != len(members):
        raise Refused("has two members of one name")
    return sizes


def _refuse_programs(prefix: str, sizes: dict[str, int]) -> None:
    names = {name.removeprefix(prefix) for name in sizes}
    if "constants.pkl" in names or any(name.startswith("code/") for name in names):
        raise Program("a TorchScript program, which can read and write files when it runs")
    if any(
        name in ("archive_format", "serialized_exported_program.json") or name.startswith("models/") for name in names
    ):
        raise Program("a torch.export archive, which can run its author's code when it is opened")
    if any(name.startswith(".data/extern_modules") for name in names):
        raise Program("a torch.package archive, which holds Python source")
    if f"{prefix}data.pkl" not in sizes:
        raise Refused("is a zip archive, but none that torch.save writes")
    if sizes[f"{prefix}data.pkl"] > MAXIMUM_PICKLE_BYTES:
        raise Refused(f"has a table of contents of more than {MAXIMUM_PICKLE_BYTES:,} bytes")


class _PickleReader:
    """A stack machine for the words of a pickle that describe plain data; it calls nothing that the file names."""

    def __init__(self, member_sizes: dict[str, int]) -> None:
        self.member_sizes = member_sizes
        self.taken: set[str] = set()
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def read(self, pickle: bytes) -> Any:
        try:
            for count, (word, argument, _) in enumerate(pickletools.genops(pickle)):
                if count > MAXIMUM_PICKLE_WORDS:
                    raise Refused("has a table of contents that is too long")
                if word.name == "STOP":
                    return self.stack.pop()
                self.step(word.name, argument)
        except (IndexError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise Refused(f"is damaged: its table of contents cannot be read ({type(error).__name__})") from error
        raise Refused("is damaged: its table of contents has no end")

    def step(self, word: str, argument: Any) -> None:
        stack = self.stack
        if word in ("PROTO", "FRAME"):
            return
        if word in ("BINUNICODE", "SHORT_BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"):
            stack.append(argument)
        elif word in ("NONE", "NEWTRUE", "NEWFALSE"):
            stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[word])
        elif word in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE"):
            stack.append({"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}[word]())
        elif word == "MARK":
            self.marks.append(len(stack))
        elif word in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        elif word == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif word in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif word in ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"):
            stack.append(tuple(self.since_mark() if word == "TUPLE" else self.last(int(word[-1]))))
        elif word in ("APPEND", "APPENDS"):
            items = self.since_mark() if word == "APPENDS" else self.last(1)
            self.top(list).extend(items)
        elif word in ("SETITEM", "SETITEMS"):
            items = self.since_mark() if word == "SETITEMS" else self.last(2)
            for key, value in zip(items[::2], items[1::2], strict=True):
                # A key of nested tuples could take for ever to hash.
                if not isinstance(key, str | int):
                    raise Refused("holds a dictionary whose keys are neither texts nor numbers")
                self.top(dict)[key] = value
        elif word == "GLOBAL":
            stack.append(self.known(argument.replace(" ", ".")))
        elif word == "STACK_GLOBAL":
            module, name = self.last(2)
            stack.append(self.known(f"{module}.{name}"))
        elif word == "BINPERSID":
            stack.append(self.storage(stack.pop()))
        elif word == "REDUCE":
            function, arguments = self.last(2)
            stack.append(self.reduced(function, arguments))
        elif word == "BUILD":
            # The attributes of an OrderedDict: module versions, which auditkit's networks do without.
            stack.pop()
            self.top(dict)
        else:
            raise Refused(f"is not plain weights: its table of contents uses the pickle word {word}")

    def since_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def last(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise IndexError
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def top(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise TypeError
        return self.stack[-1]

    def known(self, name: str) -> _Global:
        rebuild = ("collections.OrderedDict", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter")
        if name in rebuild or name.removeprefix("torch.") in ITEM_BYTES:
            return _Global(name)
        raise Program(f"a pickled module or object, whose code runs when it is opened (it names {name[:80]!r})")

    def storage(self, description: Any) -> _Storage:
        marker, kind, key, location, count = description
        if marker != "storage" or not isinstance(kind, _Global) or not isinstance(location, str):
            raise ValueError
        if type(count) is not int or type(key) is not str:
            raise ValueError
        return _Storage(kind.name.removeprefix("torch."), key, count)

    def reduced(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, _Global) or type(arguments) is not tuple:
            raise TypeError
        if function.name == "collections.OrderedDict" and not arguments:
            return {}
        if function.name == "torch._utils._rebuild_parameter" and isinstance(arguments[0], StoredTensor):
            return arguments[0]
        if function.name == "torch._utils._rebuild_tensor_v2" and len(arguments) == 6:
            return self.tensor(*arguments[:4])
        raise Refused(f"is not plain weights: it calls {function.name} in a way that torch.save does not")

    def tensor(self, storage: Any, offset: Any, shape: Any, strides: Any) -> StoredTensor:
        if not isinstance(storage, _Storage) or type(shape) is not tuple or type(strides) is not tuple:
            raise TypeError
        if any(type(number) is not int or number < 0 for number in (offset, *shape, *strides)):
            raise ValueError
        member = f"data/{storage.key}"
        size = self.member_sizes.get(member)
        step = 1
        for width, stride in zip(reversed(shape), reversed(strides), strict=True):
            if width > 1 and stride != step:
                raise Refused("holds a tensor that is not contiguous, and so may claim more numbers than it has")
            step *= width
        count = math.prod(shape)
        if offset != 0 or storage.count != count or size != count * ITEM_BYTES[storage.kind]:
            raise Refused("holds a tensor that claims other numbers than its storage has")
        if member in self.taken:
            raise Refused("holds two tensors over the same storage")
        self.taken.add(member)
        return StoredTensor(shape=shape, storage=storage.kind, member=member)
