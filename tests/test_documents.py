"""FACTS 13.8 as a kind: what is nested without end, or slow to parse, is one line and exit code 2, whoever reads it."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from loans import Loans

from auditkit.budgets import Budget, allow_large
from auditkit.cli import call
from auditkit.documents import parse_json, parse_toml

LISTS = "[" * 100_000 + "]" * 100_000
OBJECTS = '{"a":' * 100_000 + "1" + "}" * 100_000
TOML = {
    "lists": f"a = {LISTS}",
    "a few lists": "a = " + "[" * 200 + "]" * 200,
    "tables": "a = " + "{a=" * 100_000 + "1" + "}" * 100_000,
    "a key of parts": "a." * 200_000 + "a = 1",
    "a key of quoted parts": '"a". ' * 100_000 + "a = 1",
    "a heading of parts": "[" + "a." * 200_000 + "a]",
    "a table with a key of parts": "x = { " + "'a'." * 100_000 + "a = 1}",
    "digits": "a = " + "1" * 5000,
}
JSON = {
    "lists": LISTS,
    "objects": OBJECTS,
    "a few": '{"a": ' + "[" * 200 + "]" * 200 + "}",
    "digits": '{"a": ' + "1" * 5000 + "}",
}


@pytest.mark.parametrize("text", TOML.values(), ids=TOML)
def test_toml(text: str) -> None:
    """A key of so many parts took tomllib minutes."""
    with pytest.raises(ValueError, match=r"nested deeper than 64 levels; --allow-large allows 512|thousands of digits"):
        parse_toml(text)


@pytest.mark.parametrize("text", JSON.values(), ids=JSON)
def test_json(text: str) -> None:
    with pytest.raises(ValueError, match=r"nested deeper than 64 levels; --allow-large allows 512|Exceeds the limit"):
        parse_json(text)


def test_what_people_write_is_read() -> None:
    parts = ".".join("abc")
    assert parse_toml(f'{parts} = "{"x." * 60}"')["a"]["b"]["c"] == "x." * 60
    assert parse_json("[" * 64 + "]" * 64)
    assert parse_json('{"a": 1, "a": 2}') == {"a": 2}
    with pytest.raises(ValueError, match="twice"):
        parse_json('{"a": 1, "a": 2}', unique_keys=True)
    assert parse_json("[1, 2.50, NaN]", parse_number=str) == ["1", "2.50", "NaN"]
    with allow_large():
        assert parse_json("[" * 200 + "]" * 200)
        assert parse_toml(TOML["a few lists"])
        with pytest.raises(ValueError, match=r"deeper than 512 levels$"):
            parse_json(LISTS)


def header(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


COMMANDS = {
    "configuration": ["run", "{model}", "--dataset", "{test}", "--config", "{deep}"],
    "policy": ["run", "{model}", "--dataset", "{test}", "--policy", "{deep}"],
    "waivers": ["run", "{model}", "--dataset", "{test}", "--waivers", "{deep}"],
    "population": ["run", "{model}", "--dataset", "{test}", "--population", "{deep}"],
    "identity terms": ["run", "{model}", "--dataset", "{test}", "--identity-terms", "{deep}"],
    "facts": ["comply", "{deep}", "--framework", "nist-ai-rmf", "--facts", "{deep}"],
}


@pytest.mark.parametrize("kind", ["lists", "a key of parts", "digits"])
@pytest.mark.parametrize("what", COMMANDS)
def test_every_toml_file_is_read_so(
    what: str, kind: str, loans: Loans, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deep = tmp_path / "deep.toml"
    deep.write_text(TOML[kind])
    given = {"model": loans.model, "test": loans.test, "deep": deep}
    assert call([part.format(**given) for part in COMMANDS[what]]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert len(said) < 600


@pytest.mark.parametrize("kind", JSON)
def test_every_json_file_is_read_so(
    kind: str, loans: Loans, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deep, bare, folder = tmp_path / "deep.jsonl", tmp_path / "bare.safetensors", tmp_path / "folder"
    deep.write_text(JSON[kind])
    bare.write_bytes(header(JSON[kind]))
    folder.mkdir()
    (folder / "config.json").write_text(JSON[kind])
    (folder / "results.json").write_text("{}")
    (folder / "manifest.json").write_text(JSON[kind])
    model, test = str(loans.model), str(loans.test)
    for command in (
        ["run", model, "--dataset", test, "--schema", str(deep)],
        ["run", model, "--dataset", str(deep)],
        ["run", model, "--dataset", test, "--architecture", "mlp", "--architecture-args", JSON[kind][:1000]],
        ["run", str(bare), "--dataset", test],
        ["run", str(folder), "--dataset", test, "--text", "x"],
        ["gate", str(deep)],
        ["gate", str(folder)],
        ["compare", str(deep), str(deep)],
        ["verify", str(folder)],
    ):
        code, said = call(command), capsys.readouterr().err
        assert (code, len(said.splitlines())) == (2, 1) or (command[0] == "verify" and code in (1, 2)), (command, said)
        assert len(said) < 600


def test_every_command_that_reads_raises_its_limits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The limit itself is held to in tests/test_budgets.py; a training on as many columns takes seconds."""
    monkeypatch.setattr("auditkit.data.readers.text.COLUMNS", Budget("columns", 20, 2_000_000))
    wide = tmp_path / "wide.jsonl"
    wide.write_text(json.dumps({"y": "a"} | {f"k{number}": 1 for number in range(20)}) + "\n")
    for command in (
        ["schema", "infer", str(wide)],
        ["train", "--dataset", str(wide), "--target", "y", "--out", str(tmp_path / "x.pt")],
    ):
        assert call(command) == 2
        assert "21 columns, and auditkit reads at most 20; --allow-large allows" in capsys.readouterr().err
        call([*command, "--allow-large"])
        assert "columns, and" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ['["\\ud800"]', '{"a\\uDFFF": 1}', b'["\\ud800"]', b'["\xed\xa0\x80"]', '["a"]'.encode("utf-16")]
)
def test_half_of_a_character_is_no_text(text: str | bytes) -> None:
    """Found by `make fuzz`: no report can be written with it, whatever file it came from."""
    with pytest.raises(ValueError, match=r"half of a character|codec can't decode"):
        parse_json(text)
    assert parse_json('["\\ud83c\\udf89"]') == ["\U0001f389"] == parse_json('["\U0001f389"]'.encode("utf-8-sig"))
