"""What the bytes of a model file hold, found out without running anything of it.

`torch.load` is only ever given a file whose content is known: no code, no storage that is not there, nothing that
inflates.
"""

from __future__ import annotations

import io
import math
import os
import re
import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal

from auditkit.documents import parse_json
from auditkit.models.formats.pickles import (
    ITEM_BYTES,
    Program,
    ProgramKind,
    Refused,
    Storage,
    StoredTensor,
    read_pickle,
)

MAXIMUM_PICKLE_BYTES = 16 * 2**20
MAXIMUM_MEMBERS = 50_000
END_OF_DIRECTORY_BYTES, LOCAL_HEADER_BYTES = 22, 30
PLAIN_MEMBERS = re.compile(
    r"data\.pkl|byteorder|version|\.format_version|\.storage_alignment|\.data/serialization_id|data/\d+"
)
"""What torch.save writes beside each other, inside of its folder."""

CARD = "auditkit_card"
"""What auditkit's card is called in a file: a key, a word of a safetensors header, or a JSON file of an export."""

CARD_MEMBER = f"{CARD}.json"
LEGACY = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
"""How files of torch before 1.6, and of `_use_new_zipfile_serialization=False`, begin."""

COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x04\x22\x4d\x18": "lz4"}
SAFETENSORS_TYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip

Form = Literal["zip archive", "legacy file", "safetensors file", "program", "other"]


@dataclass(frozen=True)
class Contents:
    """What a file holds: `content` as torch.save was given it, with a StoredTensor in place of each tensor.

    For a program `content` is None, `program` its kind and `what` a noun phrase about it. `metadata` are the words
    of a safetensors header, or the card that auditkit put into a torch.export archive.
    """

    form: Form
    content: Any = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    program: ProgramKind | None = None
    what: str = ""


OTHER_FILES = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"%PDF": "a PDF document",
    b"\x7fELF": "a program of Linux",
    b"PAR1": "a Parquet file",
    b"ARROW1": "an Arrow file",
    b"SQLite format 3": "an SQLite database",
}
"""What people pass by mistake, by its first bytes."""

OLD_PICKLE = re.compile(
    rb"L119547037146038|\((?:dp|lp|p)\d|[}\]]q|c(?:collections|copy_reg|__builtin__|__main__|torch|numpy|sklearn)\b"
)
"""How pickles of protocol 0 and 1 begin: torch's magic number, a dictionary, a list, or the type of an object."""


def read_contents(file: BinaryIO) -> Contents:
    """Return what an open model file holds. Every checksum has been verified, and every tensor's numbers are there.

    Raises:
        Refused: it is damaged, no model file, or holds more than plain weights or a program of a known kind.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(16)
    file.seek(0)
    try:
        if size == 0:
            raise Refused("the file is empty")
        if start.startswith(b"PK\x03\x04"):
            return Contents("zip archive", content=read_archive(file, size))
        if start.startswith(LEGACY):
            return Contents("legacy file", content=_read_legacy(file, size))
        # Before pickles: the length of a header, with which a safetensors file begins, may begin as they do.
        if len(start) > 8 and struct.unpack("<Q", start[:8])[0] < size and start[8:9] == b"{":
            return _read_safetensors(file, size)
        if start.startswith(b"\x80"):
            raise Program("pickle", "a pickle (of pickle.dump or joblib), whose code runs when it is opened")
    except Program as program:
        metadata = _card_beside(file, size) if program.kind == "torch.export" else {}
        return Contents("program", program=program.kind, what=str(program), metadata=metadata)
    raise _unread(start)


def _unread(start: bytes) -> Refused:
    """Return the refusal of a file that begins so and is none that is read, with the remedy where its kind is known."""
    zlib = len(start) > 1 and start[0] == 0x78 and (start[0] * 256 + start[1]) % 31 == 0
    for magic, name in {**COMPRESSED, b"x": "zlib" if zlib else ""}.items():
        if name and start.startswith(magic):
            return Refused(
                f"not a model file: {name}-compressed; auditkit opens no compressed model (joblib's are pickles, which "
                "run their author's code): decompress weights first, or save them with torch.save(state_dict, path)"
            )
    if start.startswith((b"pickle", b"storages", b"sys_info")):
        return Refused("a tar archive of torch before 0.4: load it with the torch of its time and save its state_dict")
    if OLD_PICKLE.match(start):
        return Refused(
            "a pickle of protocol 0 or 1, as Python 2 wrote them, which auditkit does not read: open it where it was "
            "made, and save its weights again, torch.save(model.state_dict(), 'weights.pt')"
        )
    looks = next((what for magic, what in OTHER_FILES.items() if start.startswith(magic)), None)
    if looks is None and start.strip() and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start):
        looks = "a text file"
    return Refused(
        f"{f'{looks}, ' if looks else ''}not a model file; models are files of torch.save, safetensors, torch.export, "
        "TorchScript, ONNX, skops, GGUF, or of auditkit train and auditkit pack, or Hugging Face folders"
    )


def read_archive(file: BinaryIO, size: int) -> Any:
    """Return what `torch.save` wrote into an open zip archive of `size` bytes, StoredTensors in place of tensors.

    Raises:
        Program: it is a program, or its pickle names code.
        Refused: anything else about it is not as torch.save writes plain weights.
    """
    with open_zip(file, size) as archive:
        sizes = {member.filename: member.file_size for member in archive.infolist()}
        prefix = folder_of(archive)
        _refuse_programs({name.removeprefix(prefix) for name in sizes})
        compressed = [member for member in archive.infolist() if member.compress_type != zipfile.ZIP_STORED]
        if compressed:
            raise Refused(
                "has compressed members, which torch.save never writes, and which could inflate without bound"
            )
        if f"{prefix}data.pkl" not in sizes:
            raise Refused("is a zip archive, but none that torch.save writes")
        if sizes[f"{prefix}data.pkl"] > MAXIMUM_PICKLE_BYTES:
            raise Refused(f"has a table of contents of more than {MAXIMUM_PICKLE_BYTES:,} bytes")
        odd = [name for name in sizes if not PLAIN_MEMBERS.fullmatch(name.removeprefix(prefix))]
        if odd:
            raise Refused(f"holds {odd[0][:80]!r}, which torch.save never writes")
        check_sums(archive)
        pickle = archive.read(f"{prefix}data.pkl")

    def check_storage(storage: Storage) -> None:
        if sizes.get(f"{prefix}data/{storage.key}") != storage.count * ITEM_BYTES[storage.dtype]:
            raise Refused("holds a tensor that claims other numbers than its storage has")

    return read_pickle(io.BytesIO(pickle), check_storage, byte_count=size)


def open_zip(file: BinaryIO, size: int) -> zipfile.ZipFile:
    """Return a zip archive once its directory is known to be real: no two members of one name or over the same bytes.

    Raises:
        Refused: it is damaged, or two readers could read it differently.
    """
    try:
        file.seek(max(size - END_OF_DIRECTORY_BYTES, 0))
        end = file.read()
        file.seek(0)
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, OSError, EOFError, ValueError) as error:
        raise Refused(f"is damaged: {error}") from error
    except (NotImplementedError, RuntimeError, LookupError, OverflowError, struct.error) as error:
        raise Refused(f"is no archive that torch.save writes: {error}") from error
    members = archive.infolist()
    if not members or len(members) > MAXIMUM_MEMBERS:
        raise Refused(f"has {len(members):,} members, and a model file from 1 to {MAXIMUM_MEMBERS:,}")
    # Zip readers search for the directory. Where a member is at byte 0 and the end record, without a comment, at the
    # end, torch's reader and Python's find the same one.
    at_both_ends = min(member.header_offset for member in members) == 0 and end.startswith(b"PK\x05\x06")
    if not at_both_ends or archive.comment:
        raise Refused("has bytes before or behind its zip archive")
    check_names(members)
    _check_places(file, size, members)
    # Stored members cannot overlap if they fit in the file together; the deflated ones hold code, and are bounded.
    if sum(member.compress_size for member in members) > size:
        raise Refused("claims more bytes than the file has")
    stored = [member for member in members if member.compress_type == zipfile.ZIP_STORED]
    if any(member.file_size != member.compress_size for member in stored):
        raise Refused("claims more bytes than the file has")
    return archive


def check_names(members: Sequence[zipfile.ZipInfo]) -> None:
    """Refuse names that two readers of zip archives read differently: torch's ignores case, Python's ends at a NUL.

    Raises:
        Refused: two members of one name, whatever the case, or a name with a NUL or another unprintable character.
    """
    for member in members:
        name = member.orig_filename
        if name != member.filename or not name.isprintable() or "\\" in name:
            raise Refused(f"has a member of the name {name[:80]!r}, which readers of archives read differently")
    if len({member.filename.casefold() for member in members}) != len(members):
        raise Refused("has two members of one name")


def _check_places(file: BinaryIO, size: int, members: Sequence[zipfile.ZipInfo]) -> None:
    """Refuse members that lie over one another, or whose own header gives another name than the directory."""
    reached = 0
    for member in sorted(members, key=lambda member: member.header_offset):
        file.seek(member.header_offset)
        header = file.read(LOCAL_HEADER_BYTES)
        if len(header) != LOCAL_HEADER_BYTES or not header.startswith(b"PK\x03\x04"):
            raise Refused("is damaged: a member is not where the archive's directory says")
        name_length, extra_length = struct.unpack("<HH", header[26:30])
        coded = member.orig_filename.encode("utf-8" if member.flag_bits & 0x800 else "cp437")
        if file.read(name_length) != coded:
            raise Refused(f"has a member that calls itself otherwise than {member.filename[:80]!r}")
        if member.header_offset < reached:
            raise Refused("has members that lie over one another")
        reached = member.header_offset + LOCAL_HEADER_BYTES + name_length + extra_length + member.compress_size
        if reached > size:
            raise Refused("claims more bytes than the file has")
    file.seek(0)


def copied(content: BinaryIO) -> io.BytesIO:
    """Return an archive of the very members that were scanned, as read here, for torch to read in its own way.

    torch finds members by rules of its own. In an archive that was written anew from what Python's reader gave there is
    nothing else to find.

    Raises:
        Refused: it is damaged.
    """
    size = content.seek(0, os.SEEK_END)
    made = io.BytesIO()
    with open_zip(content, size) as archive, zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as anew:
        for member in archive.infolist():
            anew.writestr(zipfile.ZipInfo(member.filename), archive.read(member))
    made.seek(0)
    return made


def folder_of(archive: zipfile.ZipFile) -> str:
    """Return the folder, with its slash, in which torch puts every member of an archive."""
    return archive.namelist()[0].partition("/")[0] + "/"


def check_sums(archive: zipfile.ZipFile) -> None:
    """Verify every member's checksum.

    Raises:
        Refused: a checksum does not match, or a member cannot be read.
    """
    try:
        damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, ValueError) as error:
        raise Refused(f"is damaged: {error}") from error
    except (NotImplementedError, RuntimeError, LookupError, OverflowError, struct.error) as error:
        raise Refused(f"is no archive that torch.save writes: {error}") from error
    if damaged is not None:
        raise Refused(f"is damaged: the checksum of {damaged!r} does not match")


def _refuse_programs(names: set[str]) -> None:
    if "constants.pkl" in names or any(name.startswith("code/") for name in names):
        raise Program("TorchScript", "a TorchScript program, which can read and write files when it runs")
    if any(
        name in ("archive_format", "serialized_exported_program.json") or name.startswith("models/") for name in names
    ):
        raise Program("torch.export", "a torch.export archive, which can run its author's code when it is opened")
    if any(name.startswith(".data/extern_modules") for name in names):
        raise Program("torch.package", "a torch.package archive, which holds Python source")


def _card_beside(file: BinaryIO, size: int) -> dict[str, str]:
    """Return the card of an exported program, which is plain JSON; nothing if it has none."""
    with open_zip(file, size) as archive:
        members = {member.filename: member for member in archive.infolist()}
        member = members.get(f"{folder_of(archive)}extra/{CARD_MEMBER}")
        if member is None:
            return {}
        if member.compress_type != zipfile.ZIP_STORED or member.file_size > MAXIMUM_PICKLE_BYTES:
            raise Refused("is damaged: its card is no text")
        try:
            return {CARD: archive.read(member).decode()}
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
            raise Refused("is damaged: its card is no text") from error


def _read_legacy(file: BinaryIO, size: int) -> Any:
    """Read the five pickles of a legacy file, and check that each storage behind them is there, whole."""
    head = io.BytesIO(file.read(MAXIMUM_PICKLE_BYTES))
    head.seek(len(LEGACY))
    storages: dict[str, Storage] = {}

    def nothing(storage: Storage) -> None:
        raise Refused("is damaged: a tensor before its table of contents")

    def remember(storage: Storage) -> None:
        if storages.setdefault(storage.key, storage) != storage:
            raise Refused("holds a storage that is described twice")

    if read_pickle(head, nothing, byte_count=0) != 1001:
        raise Refused("is of an unknown version of torch's legacy format")
    system = read_pickle(head, nothing, byte_count=0)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise Refused("was written on a big-endian machine")
    content = read_pickle(head, remember, byte_count=size)
    keys = read_pickle(head, nothing, byte_count=0)
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(storages):
        raise Refused("is damaged: its list of storages is not that of its tensors")
    position = head.tell()
    for key in keys:
        storage = storages[key]
        file.seek(position)
        stated = file.read(8)
        position += 8 + storage.count * ITEM_BYTES[storage.dtype]
        if position > size or len(stated) != 8 or struct.unpack("<q", stated)[0] != storage.count:
            raise Refused("holds a tensor that claims other numbers than its storage has")
    if position != size:
        raise Refused("has bytes behind its last storage")
    return content


def _read_safetensors(file: BinaryIO, size: int) -> Contents:
    """Read the header of a safetensors file: names, types, shapes, and where in the file the numbers lie."""
    length = struct.unpack("<Q", file.read(8))[0]
    if length > MAXIMUM_PICKLE_BYTES:
        raise Refused(f"has a header of more than {MAXIMUM_PICKLE_BYTES:,} bytes")
    try:
        header = parse_json(file.read(length), unique_keys=True)
        metadata = header.pop("__metadata__", {})
        tensors = {}
        reached = 0
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            begin, end = entry["data_offsets"]
            shape = tuple(entry["shape"])
            if any(type(number) is not int or number < 0 for number in (begin, end, *shape)):
                raise ValueError("an offset or a shape is no count")
            if entry["dtype"] not in SAFETENSORS_TYPES:
                raise Refused(
                    f"holds {name[:80]!r} of the type {str(entry['dtype'])[:20]!r}, which auditkit does not read"
                )
            tensor = StoredTensor(shape=shape, dtype=SAFETENSORS_TYPES[entry["dtype"]])
            if begin != reached or end - begin != math.prod(shape) * ITEM_BYTES[tensor.dtype]:
                raise Refused("holds a tensor that claims other numbers than its storage has")
            reached = end
            tensors[name] = tensor
        if not all(isinstance(word, str) for pair in metadata.items() for word in pair):
            raise ValueError("its metadata are no texts")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(f"is damaged: its safetensors header cannot be read ({type(error).__name__})") from error
    if reached != size - 8 - length:
        raise Refused("has bytes that belong to no tensor of its safetensors header, or too few")
    return Contents("safetensors file", content=tensors, metadata=metadata)
