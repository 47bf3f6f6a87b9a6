"""A sealed folder: every edited byte is found, whoever edited it and wherever."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from auditkit.errors import InputError
from auditkit.evidence.integrity import (
    fingerprint,
    manifest_text,
    read_private_key,
    read_public_key,
    reseal,
    sealed,
    verify,
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
FILES = {"results.json": '{"verdict": "pass"}\n', "report.html": "<p>Größe ✓</p>\n"}


def write(folder: Path, key: Ed25519PrivateKey | None) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in sealed(FILES, run_id="r1", key=key).items():
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def pem(path: Path, key: Ed25519PrivateKey) -> tuple[Path, Path]:
    private, public = path / "key.pem", path / "public.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


def faults(folder: Path, public_key: Path | None = None) -> dict[str, str]:
    return {problem.name: problem.fault for problem in verify(folder, public_key=public_key).problems}


def test_an_untouched_folder_is_whole(tmp_path: Path) -> None:
    found = verify(write(tmp_path / "run", None))
    assert found.problems == ()
    assert (found.file_count, found.run_id, found.signed_by) == (2, "r1", None)
    signed = verify(write(tmp_path / "signed", KEY))
    assert (signed.problems, signed.signed_by) == ((), fingerprint(KEY.public_key()))


def test_every_edited_byte_of_every_file_is_found(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", KEY)
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        for position in range(len(whole)):
            path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
            assert verify(folder).problems, (path.name, position)
        path.write_bytes(whole + b" ")
        assert verify(folder).problems, path.name
        path.write_bytes(whole)
    assert verify(folder).problems == ()


def test_edited_missing_and_added_files_are_told_apart(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", None)
    (folder / "results.json").write_text("{}")
    (folder / "report.html").unlink()
    (folder / "deep").mkdir()
    (folder / "deep/extra.txt").write_text("x")
    assert faults(folder) == {"results.json": "edited", "report.html": "missing", "deep/extra.txt": "extra"}


def test_no_file_is_left_out_of_the_check(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", None)
    (folder / ".predictions").mkdir()
    (folder / ".predictions/a.npz").write_bytes(b"x")
    assert faults(folder) == {".predictions/a.npz": "extra"}


def test_a_link_is_not_the_file_that_was_sealed(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", None)
    (tmp_path / "elsewhere").write_bytes((folder / "report.html").read_bytes())
    (folder / "report.html").unlink()
    (folder / "report.html").symlink_to(tmp_path / "elsewhere")
    assert faults(folder) == {"report.html": "edited"}


def test_whoever_seals_anew_lacks_the_key(tmp_path: Path) -> None:
    _, public = pem(tmp_path, KEY)
    folder = write(tmp_path / "run", KEY)
    assert faults(folder, public) == {}
    forged = sealed({**FILES, "results.json": "{}"}, run_id="r1", key=OTHER)
    for name, text in forged.items():
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    assert faults(folder) == {}, "by itself it fits together"
    assert faults(folder, public) == {"manifest.sig": "edited"}
    (folder / "manifest.sig").unlink()
    assert faults(folder, public) == {"manifest.sig": "missing"}


def test_a_manifest_never_names_a_file_outside(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    folder = write(tmp_path / "run", None)
    for name in ("../secret", "/etc/hostname", "a/../../secret"):
        (folder / "manifest.json").write_text(manifest_text({name: b"x"}, run_id="r1"))
        assert faults(folder) == {"manifest.json": "edited"}


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", "[" * 100_000, '{"files": 3, "sha256": 1}'])
def test_any_text_as_a_manifest_or_signature_is_an_answer_and_not_a_crash(tmp_path: Path, text: str) -> None:
    folder = write(tmp_path / "run", KEY)
    (folder / "manifest.sig").write_text(text)
    assert faults(folder) == {"manifest.sig": "edited"}
    (folder / "manifest.json").write_text(text)
    assert faults(folder) == {"manifest.json": "edited"}


def test_a_folder_without_a_manifest_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'auditkit run' writes one"):
        verify(tmp_path)


def test_sealing_again_takes_in_what_is_new_and_refuses_what_was_edited(tmp_path: Path) -> None:
    folder = write(tmp_path / "run", None)
    (folder / "bom.cdx.json").write_text("{}")
    for name, text in reseal(folder, key=KEY).items():
        (folder / name).write_text(text)
    found = verify(folder)
    assert (found.problems, found.file_count) == ((), 3)
    assert json.loads((folder / "manifest.json").read_text())["run_id"] == "r1"
    (folder / "results.json").write_text("{}")
    with pytest.raises(InputError, match="is edited"):
        reseal(folder, key=KEY)


def rsa_like(path: Path) -> bytes:
    return generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def encrypted(path: Path) -> bytes:
    return KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))


@pytest.mark.parametrize(
    ("content", "words"),
    [(lambda path: b"hello", "not an unencrypted"), (encrypted, "not an unencrypted"), (rsa_like, "ed25519")],
)
def test_a_key_that_cannot_sign_says_what_to_do(tmp_path: Path, content: Callable[[Path], bytes], words: str) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(content(path))
    with pytest.raises(InputError, match=words):
        read_private_key(path)
    with pytest.raises(InputError):
        read_public_key(path)
    with pytest.raises(InputError, match="No such file"):
        read_private_key(tmp_path / "absent.pem")
