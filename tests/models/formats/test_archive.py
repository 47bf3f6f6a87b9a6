"""Archives that lie about their size or content."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from refusals import TRACE, refused, repacked

from auditkit.errors import ModelFileError
from auditkit.models.formats.opening import open_model


def test_a_logical_tensor_larger_than_its_storage(tmp_path: Path, model_like: Any, module: Any) -> None:
    state = dict(module.state_dict())
    path = model_like(state={**state, "0.weight": torch.zeros(1).expand(1_000_000, 1_000_000)})
    assert path.stat().st_size < 10_000
    refused(path, "a tensor of 1,000,000,000,000 numbers, and its storage has 1")
    shared = torch.zeros(10_000)
    path = model_like(state={str(index): shared[:] for index in range(9)})
    refused(path, "more than four times the bytes of the file")


def test_tensors_that_share_or_overlap_honestly_are_read_as_they_are(model_like: Any, module: Any) -> None:
    state = dict(module.state_dict())
    turned = state["0.weight"].T.contiguous().T
    part = torch.cat([torch.zeros(3), state["0.bias"], torch.zeros(3)])[3:-3]
    opened = open_model(model_like(state={**state, "0.weight": turned, "0.bias": part}))
    for key, value in module.state_dict().items():
        assert torch.equal(opened.module.state_dict()[key], value)


def test_archives_that_inflate(model_file: Any, tmp_path: Path) -> None:
    repacked(model_file, lambda name, content: content, compression=zipfile.ZIP_DEFLATED)
    refused(model_file, "compressed members.*inflate without bound")
    with zipfile.ZipFile(model_file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 2**28)
    assert model_file.stat().st_size < 300_000
    refused(model_file, "compressed members")


def test_members_that_are_not_there_or_too_short(model_file: Any) -> None:
    content = model_file.read_bytes()
    repacked(model_file, lambda name, content: None if name.endswith("data/0") else content)
    refused(model_file, "claims other numbers than its storage has")
    model_file.write_bytes(content)
    repacked(model_file, lambda name, content: content[:-4] if name.endswith("data/0") else content)
    refused(model_file, "claims other numbers than its storage has")
    model_file.write_bytes(content)
    repacked(model_file, lambda name, content: None if name.endswith("data.pkl") else content)
    refused(model_file, "none that torch.save writes")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_that_readers_could_read_differently(model_file: Any) -> None:
    content = model_file.read_bytes()
    for changed in (b"PK\x03\x04junk" + content, content + b"junk", content + content):
        model_file.write_bytes(changed)
        # zipfile of Python 3.13 finds bytes before the archive itself, where torch wrote a zip64 directory.
        refused(model_file, "bytes before or behind|Corrupt zip64 end of central directory")
    model_file.write_bytes(content)
    with zipfile.ZipFile(model_file, "a") as archive:
        archive.comment = b"hello"
    refused(model_file, "bytes before or behind")
    model_file.write_bytes(content)
    with zipfile.ZipFile(model_file, "a") as archive:
        archive.writestr("archive/data.pkl", b"other")
    refused(model_file, "two members of one name")


def with_pickle(path: Path, text: bytes) -> Path:
    repacked(path, lambda name, content: text if name.endswith("data.pkl") else content)
    return path


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (b"\x80\x02}.", "no dictionary of named tensors"),
        (b"\x80\x02K\x01.", "no dictionary of named tensors"),
        (b"\x80\x02", "table of contents"),
        (b"", "table of contents"),
        (b".", "table of contents cannot be read"),
        (b"\x80\x02}(K\x01u.", "table of contents cannot be read"),
        (b"\x80\x02h\x05.", "table of contents cannot be read"),
        (b"\x80\x02r\xff\xff\xff\x7f.", "table of contents cannot be read"),
        (b"\x80\x02X\xff\xff\xff\x7fabc.", "table of contents cannot be read"),
        (b"\x80\x02" + b")\x85" * 150_000 + b".", "too long"),
        (b"\x80\x02})" + b"2\x86" * 60 + b"K\x01s.", "the pickle word DUP"),
        (b"\x80\x02})q\x00h\x00\x86K\x01s.", "keys are neither texts nor numbers"),
        (b"\x80\x02ctorch\nFloatStorage\nJ\x00\xca\x9a\x3b\x85R.", "calls torch.FloatStorage in a way"),
        (b"\x80\x02cbuiltins\nbytearray\nJ\x00\xca\x9a\x3b\x85R.", "whose code runs.*'builtins.bytearray'"),
        (b"\x80\x02(ios\nsystem\n.", "the pickle word INST"),
        (b"\x80\x02c__builtin__\neval\n.", "whose code runs"),
        (b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.", "calls torch._utils._rebuild_tensor_v2 in a way"),
        (b"\x80\x02ctorch._utils\n_rebuild_parameter\n)R.", "table of contents cannot be read"),
        (b"\x80\x02K\x01Q.", "table of contents cannot be read"),
        (b"\x80\x02\x8a\x7f" + b"\xff" * 127 + b".", "no dictionary of named tensors"),
    ],
)
def test_tables_of_contents_that_torch_never_writes(model_file: Any, text: bytes, match: str) -> None:
    refused(with_pickle(model_file, text), match)


def test_random_tables_of_contents_are_refused_in_one_line(model_file: Any) -> None:
    rng = np.random.default_rng(1)
    with zipfile.ZipFile(model_file) as archive:
        honest = archive.read("archive/data.pkl")
    for _ in range(300):
        text = bytearray(honest)
        for position in rng.integers(2, len(text), rng.integers(1, 5)):
            text[position] = int(rng.integers(256))
        try:
            open_model(with_pickle(model_file, bytes(text)))
        except ModelFileError as error:
            assert "\n" not in str(error)  # noqa: PT017  # some damages are harmless
    assert not TRACE.exists()


def renamed(path: Path, old: bytes, new: bytes) -> None:
    """Give a member another name of the same length, in its own header and in the archive's directory."""
    content = path.read_bytes()
    assert len(old) == len(new)
    assert content.count(old) >= 2
    path.write_bytes(content.replace(old, new))


def test_names_that_torch_and_python_read_differently(model_file: Any) -> None:
    """FACTS 13.4: torch ignores case, Python ends a name at NUL; two readers, two contents."""
    content = model_file.read_bytes()
    for name in ("archive/DATA/0", "archive/Data/0", "ARCHIVE/data/0", "archive/DATA.PKL"):
        model_file.write_bytes(content)
        with zipfile.ZipFile(model_file, "a") as archive:
            archive.writestr(name, b"other")
        refused(model_file, "two members of one name")
    model_file.write_bytes(content)
    with zipfile.ZipFile(model_file, "a") as archive:
        archive.writestr("archive/data/0?z", b"other")
    renamed(model_file, b"archive/data/0?z", b"archive/data/0\0z")
    refused(model_file, "readers of archives read differently")
    for old, new in ((b"data/1", b"da\0a/1"), (b"data/1", b"data\\1"), (b"data/1", b"data\n1")):
        model_file.write_bytes(content)
        renamed(model_file, b"archive/" + old, b"archive/" + new)
        refused(model_file, "readers of archives read differently")


def test_one_name_in_another_case_is_no_part_of_a_model(model_file: Any) -> None:
    content = model_file.read_bytes()
    for old, new in ((b"archive/data.pkl", b"archive/DATA.PKL"), (b"archive/data/0", b"archive/DATA/0")):
        model_file.write_bytes(content)
        renamed(model_file, old, new)
        refused(model_file, "which torch.save never writes|none that torch.save writes")
    model_file.write_bytes(content)
    with zipfile.ZipFile(model_file, "a") as archive:
        archive.writestr("archive/data/0/inner", b"x")
    refused(model_file, "which torch.save never writes")


def test_a_member_that_calls_itself_otherwise_in_its_own_header(model_file: Any) -> None:
    content = model_file.read_bytes()
    place = content.index(b"archive/data/0")
    model_file.write_bytes(content[:place] + b"archive/data/9" + content[place + 14 :])
    refused(model_file, "calls itself otherwise")


def test_members_over_one_another(tmp_path: Path, model_file: Any) -> None:
    """The directory of one member points into another: what is checked under one name is read under two."""
    content = bytearray(model_file.read_bytes())
    directory = content.index(b"PK\x01\x02")
    with zipfile.ZipFile(model_file) as archive:
        members = {member.filename: member for member in archive.infolist()}
    whole = members["archive/data.pkl"]
    inner = bytes(content[whole.header_offset : whole.header_offset + 30 + len("archive/data.pkl")])
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
        archive.writestr("archive/data.pkl", b"x" * 50 + inner + b"y" * 50)
        archive.writestr("archive/version", b"3")
    packed = bytearray((tmp_path / "outer.zip").read_bytes())
    directory = packed.rindex(b"PK\x01\x02")
    packed[directory + 42 : directory + 46] = (packed.index(inner, 40)).to_bytes(4, "little")
    (tmp_path / "outer.zip").write_bytes(packed)
    refused(tmp_path / "outer.zip", "calls itself otherwise|over one another|before or behind")


def test_torch_is_handed_what_was_scanned(model_file: Any, module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else an archive holds: torch reads one that was written from the members that were read."""
    seen = []
    honest = torch.load

    def spy(file: Any, **settings: Any) -> Any:
        with zipfile.ZipFile(file) as archive:
            seen.append({member.filename: member.CRC for member in archive.infolist()})
        file.seek(0)
        return honest(file, **settings)

    monkeypatch.setattr(torch, "load", spy)
    opened = open_model(model_file)
    with zipfile.ZipFile(model_file) as archive:
        assert seen == [{member.filename: member.CRC for member in archive.infolist()}]
    for key, value in module.state_dict().items():
        assert torch.equal(opened.module.state_dict()[key], value)
