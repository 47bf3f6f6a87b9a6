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
        if word in PUSHED:
            self.stack.append(argument)
        elif word in MADE:
            self.stack.append(MADE[word]())
        elif word in WORDS:
            WORDS[word](self, argument)
        elif word not in ("PROTO", "FRAME"):
            raise Refused(f"is not plain weights: its table of contents uses the pickle word {word}")

    def push_text_of_python_2(self, argument: Any) -> None:
        if not argument.isascii():
            raise Refused("holds bytes of Python 2 that are no plain text")
        self.stack.append(argument)

    def mark(self, _: Any) -> None:
        self.marks.append(len(self.stack))

    def remember(self, place: int | None) -> None:
        self.memo[len(self.memo) if place is None else place] = self.stack[-1]

    def recall(self, place: int) -> None:
        self.stack.append(self.memo[place])

    def push_tuple(self, items: list[Any]) -> None:
        self.stack.append(tuple(items))

    def extend(self, items: list[Any]) -> None:
        self.top(list).extend(items)

    def set_items(self, items: list[Any]) -> None:
        for key, value in zip(items[::2], items[1::2], strict=True):
            # A key of nested tuples could take for ever to hash.
            if not isinstance(key, str | int):
                raise Refused("holds a dictionary whose keys are neither texts nor numbers")
            self.top(dict)[key] = value

    def push_global(self, module: str, name: str) -> None:
        self.stack.append(self.known(f"{module}.{name}"))

    def push_storage(self, _: Any) -> None:
        self.stack.append(self.storage(self.stack.pop()))

    def push_reduced(self, _: Any) -> None:
        function, arguments = self.last(2)
        self.stack.append(self.reduced(function, arguments))

    def build(self, _: Any) -> None:
        # The attributes of an OrderedDict: the versions of the modules that a state_dict came from.
        self.stack.pop()
        self.top(dict)

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


PUSHED = ("BINUNICODE", "SHORT_BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT")
"""Words whose argument is the value itself."""

MADE: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
"""Words that stand for one value, by what makes it."""

WORDS: dict[str, Callable[[_PickleReader, Any], None]] = {
    "SHORT_BINSTRING": _PickleReader.push_text_of_python_2,
    "BINSTRING": _PickleReader.push_text_of_python_2,
    "MARK": _PickleReader.mark,
    "BINPUT": _PickleReader.remember,
    "LONG_BINPUT": _PickleReader.remember,
    "MEMOIZE": _PickleReader.remember,
    "BINGET": _PickleReader.recall,
    "LONG_BINGET": _PickleReader.recall,
    "TUPLE": lambda reader, _: reader.push_tuple(reader.since_mark()),
    "TUPLE1": lambda reader, _: reader.push_tuple(reader.last(1)),
    "TUPLE2": lambda reader, _: reader.push_tuple(reader.last(2)),
    "TUPLE3": lambda reader, _: reader.push_tuple(reader.last(3)),
    "APPEND": lambda reader, _: reader.extend(reader.last(1)),
    "APPENDS": lambda reader, _: reader.extend(reader.since_mark()),
    "SETITEM": lambda reader, _: reader.set_items(reader.last(2)),
    "SETITEMS": lambda reader, _: reader.set_items(reader.since_mark()),
    "GLOBAL": lambda reader, argument: reader.push_global(*argument.rsplit(" ", 1)),
    "STACK_GLOBAL": lambda reader, _: reader.push_global(*reader.last(2)),
    "BINPERSID": _PickleReader.push_storage,
    "REDUCE": _PickleReader.push_reduced,
    "BUILD": _PickleReader.build,
}
"""What the reader does at every other word that it knows; the argument is the word's own."""
