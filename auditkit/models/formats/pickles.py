"""What a pickle of torch.save describes, read without running anything of it.

A pickle is a program. This file reads the few of its words that torch.save writes for dictionaries of texts, numbers
and tensors, keeps descriptions in place of the tensors, and refuses every other word.
"""

from __future__ import annotations

import math
import pickletools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

MAXIMUM_WORDS = 150_000

ITEM_BYTES = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
}
"""Bytes of one number, by the name of its type."""

STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
"""The type of number by the name that torch.save gives a tensor's storage."""

REBUILD = (
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch._tensor._rebuild_from_type_v2",
)
DESCRIPTIONS = ("torch.Size", "torch.device", "torch.Tensor", *(f"torch.{kind}" for kind in ITEM_BYTES))
"""Plain values beside the weights: shapes, devices, types."""


class Refused(Exception):
    """The file is damaged, or holds more than words and plain tensors; the message is a clause saying what."""


ProgramKind = Literal["pickled module", "torch.export", "TorchScript", "torch.package", "pickle"]
"""The first three open where the user trusts the very file; the others never do."""


class Program(Refused):
    """The file holds code that opening it would run; the message is a noun phrase saying what."""

    def __init__(self, kind: ProgramKind, what: str) -> None:
        super().__init__(what)
        self.kind = kind


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that a file describes: its numbers all lie in the file."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def count(self) -> int:
        """The number of its numbers."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Storage:
    """A run of numbers of one type, by the key that the file gives it."""

    dtype: str
    key: str
    count: int


def read_pickle(file: BinaryIO, check_storage: Callable[[Storage], None], *, byte_count: int) -> Any:
    """Return what a pickle describes, with a StoredTensor for each tensor; the file is left behind its last byte.

    `check_storage` refuses a storage that is not there. The tensors of one pickle may share storages (tied weights),
    but all together claim no more than four times the `byte_count` of the whole file.

    Raises:
        Program: it names code.
        Refused: anything else about it is not as torch.save writes plain weights.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about texts in a damaged pickle, which is refused anyway
        return _PickleReader(check_storage, byte_count).read(file)


@dataclass(frozen=True)
class _Global:
    name: str


class _PickleReader:
    """A stack machine for the words of a pickle that describe plain data; it calls nothing that the file names."""

    def __init__(self, check_storage: Callable[[Storage], None], byte_count: int) -> None:
        self.check_storage = check_storage
        self.claimable = 4 * byte_count
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def read(self, file: BinaryIO) -> Any:
        unreadable = None
        try:
            for count, (word, argument, _) in enumerate(pickletools.genops(file)):
                if count > MAXIMUM_WORDS:
                    raise Refused("has a table of contents that is too long")
                if word.name == "PROTO" and argument != 2:
                    unreadable = f"was written with pickle protocol {argument}; save it with torch.save's own, 2"
                if word.name == "STOP":
                    if unreadable is not None:
                        raise Refused(unreadable)
                    return self.stack.pop()
                self.step(word.name, argument)
        except (IndexError, KeyError, TypeError, ValueError, AttributeError, OverflowError, MemoryError) as error:
            raise Refused(f"is damaged: its table of contents cannot be read ({type(error).__name__})") from error
        raise Refused("is damaged: its table of contents has no end")

    def step(self, word: str, argument: Any) -> None:
        stack = self.stack
        if word in ("PROTO", "FRAME"):
            return
        if word in ("SHORT_BINSTRING", "BINSTRING"):  # a text of Python 2
            if not argument.isascii():
                raise Refused("holds bytes of Python 2 that are no plain text")
            stack.append(argument)
        elif word in ("BINUNICODE", "SHORT_BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"):
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
            # The attributes of an OrderedDict: the versions of the modules that a state_dict came from.
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
        if name in REBUILD or name in DESCRIPTIONS or name.removeprefix("torch.") in STORAGES:
            return _Global(name)
        raise Program(
            "pickled module", f"a pickled module or object, whose code runs when it is opened (it names {name[:80]!r})"
        )

    def storage(self, description: Any) -> Storage:
        marker, kind, key, location, count, *view = description
        if (
            marker != "storage"
            or not isinstance(kind, _Global)
            or not isinstance(location, str)
            or view not in ([], [None])
        ):
            raise ValueError
        if type(count) is not int or type(key) is not str or count < 0:
            raise ValueError
        storage = Storage(STORAGES[kind.name.removeprefix("torch.")], key, count)
        self.check_storage(storage)
        return storage

    def reduced(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, _Global) or type(arguments) is not tuple:
            raise TypeError
        if function.name == "collections.OrderedDict":
            return self.ordered(arguments)
        if function.name == "torch._utils._rebuild_tensor" and len(arguments) == 4:
            return self.tensor(*arguments)
        if function.name == "torch._utils._rebuild_parameter" and isinstance(arguments[0], StoredTensor):
            return arguments[0]
        if function.name == "torch._utils._rebuild_tensor_v2" and len(arguments) == 6:
            return self.tensor(*arguments[:4])
        if function.name == "torch._tensor._rebuild_from_type_v2" and len(arguments) == 4:
            # A tensor with attributes, as torch.export marks its sample inputs: plain values, which read as any other.
            return self.reduced(arguments[0], arguments[2])
        if function.name in ("torch.Size", "torch.device"):
            return function.name
        raise Refused(f"is not plain weights: it calls {function.name} in a way that torch.save does not")

    def ordered(self, arguments: tuple[Any, ...]) -> dict[Any, Any]:
        """Return a dictionary: empty, or, as Python 2 pickled one, of a list of pairs of a key and a value."""
        pairs = arguments[0] if len(arguments) == 1 else [] if not arguments else None
        if type(pairs) is not list or any(type(pair) is not list or len(pair) != 2 for pair in pairs):
            raise Refused("is not plain weights: it makes a dictionary in a way that torch.save does not")
        if any(not isinstance(key, str | int) for key, _ in pairs):
            raise Refused("holds a dictionary whose keys are neither texts nor numbers")
        return dict(pairs)

    def tensor(self, storage: Any, offset: Any, shape: Any, strides: Any) -> StoredTensor:
        if not isinstance(storage, Storage) or type(shape) is not tuple or type(strides) is not tuple:
            raise TypeError
        if any(type(number) is not int or number < 0 for number in (offset, *shape, *strides)):
            raise ValueError
        count = math.prod(shape)
        reached = offset + sum((width - 1) * stride for width, stride in zip(shape, strides, strict=True)) + 1
        # With a stride of 0 a tensor of few bytes can stand for any number of them.
        if count > storage.count or (count and reached > storage.count) or offset > storage.count:
            raise Refused(f"holds a tensor of {count:,} numbers, and its storage has {storage.count:,}")
        self.claimable -= count * ITEM_BYTES[storage.dtype]
        if self.claimable < 0:
            raise Refused("holds tensors that together claim more than four times the bytes of the file")
        return StoredTensor(shape=shape, dtype=storage.dtype)
