"""The seal of a folder: manifest.json with the sha256 of every file, and an ed25519 signature over it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from auditkit.budgets import MODEL_BYTES, RESULTS_BYTES
from auditkit.documents import parse_json
from auditkit.errors import InputError
from auditkit.extras import install_extra
from auditkit.files import read_bytes, sha256_of
from auditkit.run_folder import PARTIAL, unfinished_run

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MANIFEST, SIGNATURE, RESULTS = "manifest.json", "manifest.sig", "results.json"

Fault = Literal["edited", "missing", "extra"]


class Problem(NamedTuple):
    """A file that is not what the manifest says: `edited`, `missing`, or `extra` (there, but not in the manifest)."""

    name: str
    fault: Fault
    detail: str


class Verification(NamedTuple):
    """What a check of a sealed folder found; `signed_by` is the sha256 of the signer's public key, None if unsigned."""

    problems: tuple[Problem, ...]
    file_count: int
    manifest_sha256: str
    run_id: str
    signed_by: str | None


def manifest_text(files: Mapping[str, bytes], *, run_id: str) -> str:
    """Return the manifest of `files` (content by relative name) as JSON text.

    It ends in the sha256 of its own other entries, so that an edited byte of the manifest is found as well.
    """
    document: dict[str, Any] = {
        "manifest_version": 1,
        "made_by": f"auditkit {version('auditkit')}",
        "run_id": run_id,
        "files": {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "byte_count": len(content)}
            for name, content in sorted(files.items())
        },
    }
    return _dump({**document, "sha256": hashlib.sha256(_dump(document).encode()).hexdigest()})


def sealed(
    files: Mapping[str, str | bytes], *, run_id: str, key: Ed25519PrivateKey | None = None
) -> dict[str, str | bytes]:
    """Return `files` with their manifest added as the last file, and its signature if there is a `key`."""
    contents = {name: content.encode() if isinstance(content, str) else content for name, content in files.items()}
    manifest = manifest_text(contents, run_id=run_id)
    signature = {} if key is None else {SIGNATURE: signature_text(manifest, key)}
    return {**files, **signature, MANIFEST: manifest}


def reseal(folder: Path, *, key: Ed25519PrivateKey | None = None) -> dict[str, str]:
    """Return a new manifest, and signature, over every file of `folder`, those that were added since included.

    Raises:
        InputError: there is no manifest, or a file that it lists was edited or taken away: that is not sealed over.
    """
    found = verify(folder)
    for problem in found.problems:
        if problem.name != SIGNATURE and problem.fault != "extra":
            raise InputError(
                f"{folder / problem.name} is {problem.fault} ({problem.detail}); a folder that was changed is not "
                "sealed again, run the audit again instead."
            )
    paths = dict(_files(folder))
    links = [name for name, path in paths.items() if path.is_symlink()]
    if links:
        raise InputError(f"{folder / links[0]} is a link; a sealed folder holds files only.")
    contents = {name: read_bytes(path, str(path), budget=MODEL_BYTES) for name, path in paths.items()}
    manifest = manifest_text(contents, run_id=found.run_id)
    return {**({} if key is None else {SIGNATURE: signature_text(manifest, key)}), MANIFEST: manifest}


def verify(folder: str | Path, *, public_key: str | Path | None = None) -> Verification:
    """Compare every file of `folder` with its manifest, and the manifest with its signature.

    Without `public_key` a signature is checked with the key that it carries: it then shows that the folder was
    not changed since somebody signed it, and not who.

    Raises:
        InputError: `folder` has no manifest, the key cannot be read, or a signature cannot be checked because the
            package `cryptography` is missing.
    """
    folder = Path(folder)
    if not os.path.lexists(folder / MANIFEST) and os.path.lexists(folder / RESULTS):
        run_id = unfinished_run(read_bytes(folder / RESULTS, str(folder / RESULTS), budget=RESULTS_BYTES))
        if run_id is not None:
            raise InputError(f"{folder}: the run {run_id} there has not finished, or failed; run the audit again.")
    remedy = "'auditkit run' writes one, pass the folder of a run"
    text = read_bytes(folder / MANIFEST, str(folder / MANIFEST), budget=RESULTS_BYTES, remedy=remedy)
    trusted = None if public_key is None else read_public_key(public_key)
    manifest_sha256 = hashlib.sha256(text).hexdigest()
    document = _read_manifest(text)
    if document is None:
        edited = Problem(MANIFEST, "edited", "it is not as auditkit wrote it")
        return Verification((edited,), 0, manifest_sha256, "", None)
    listed: dict[str, dict[str, Any]] = document["files"]
    present = dict(_files(folder))
    problems = [
        Problem(name, "missing", "the manifest lists it, the folder does not hold it")
        for name in listed
        if name not in present
    ]
    for name, path in present.items():
        if name not in listed:
            problems.append(Problem(name, "extra", "the manifest does not list it; 'auditkit seal' adds what is new"))
        elif not path.is_file() or path.is_symlink():
            problems.append(Problem(name, "edited", "it is no regular file"))
        elif sha256_of(path, str(path), budget=MODEL_BYTES) != listed[name]["sha256"]:
            problems.append(Problem(name, "edited", f"its sha256 is not {listed[name]['sha256'][:12]}..."))
    signed_by, fault = _check_signature(folder, text, trusted)
    problems += [Problem(SIGNATURE, *fault)] if fault else []
    order = ("edited", "missing", "extra")
    return Verification(
        tuple(sorted(problems, key=lambda p: (order.index(p.fault), p.name))),
        len(listed),
        manifest_sha256,
        str(document["run_id"]),
        signed_by,
    )


def check_beside(results: Path, sha256: str) -> bool:
    """Check a results.json that was read, of this sha256, against the manifest in its folder, if there is one.

    Return whether the manifest lists it: without one nobody notices an edit that contradicts nothing.

    Raises:
        InputError: the manifest lists it with another sha256, or is itself edited.
    """
    manifest = results.parent / MANIFEST
    if not (manifest.is_symlink() or manifest.exists()):
        return False
    document = _read_manifest(read_bytes(manifest, f"manifest {manifest}", budget=RESULTS_BYTES))
    if document is None:
        raise InputError(f"manifest {manifest}: is not as auditkit wrote it; 'auditkit verify {results.parent}' tells.")
    listed = document["files"].get(results.name)
    if listed is None and results.name != RESULTS:
        return False
    if listed is None or listed.get("sha256") != sha256:
        raise InputError(
            f"results {results}: is not the file that {MANIFEST} beside it lists: it was edited since the run; "
            f"'auditkit verify {results.parent}' tells what was."
        )
    return True


def read_private_key(path: str | Path) -> Ed25519PrivateKey:
    """Read an unencrypted ed25519 private key in PEM (`openssl genpkey -algorithm ed25519 -out key.pem`).

    Raises:
        InputError: the file is missing or is no such key, or the package `cryptography` is missing.
    """
    _need_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(read_bytes(path, f"key {path}"), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InputError(
            f"key {path}: not an unencrypted private key in PEM; make one with "
            "'openssl genpkey -algorithm ed25519 -out key.pem'."
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"key {path}: must be an ed25519 key; 'openssl genpkey -algorithm ed25519' makes one.")
    return key


def read_public_key(path: str | Path) -> Ed25519PublicKey:
    """Read an ed25519 public key in PEM (`openssl pkey -in key.pem -pubout -out public.pem`).

    Raises:
        InputError: the file is missing or is no such key, or the package `cryptography` is missing.
    """
    _need_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(read_bytes(path, f"key {path}"))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError(
            f"key {path}: not a public key in PEM; 'openssl pkey -in key.pem -pubout -out public.pem' writes it."
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"key {path}: must be an ed25519 public key.")
    return key


def signature_text(manifest: str, key: Ed25519PrivateKey) -> str:
    """Return the ed25519 signature over the bytes of `manifest`, with the public key that checks it, as JSON text."""
    document = {
        "algorithm": "ed25519",
        "signs": MANIFEST,
        "public_key": base64.b64encode(key.public_key().public_bytes_raw()).decode(),
        "signature": base64.b64encode(key.sign(manifest.encode())).decode(),
    }
    return _dump(document)


def fingerprint(key: Ed25519PublicKey) -> str:
    """Return the sha256 of the raw public key, by which a signer is named."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()


def _check_signature(
    folder: Path, manifest: bytes, trusted: Ed25519PublicKey | None
) -> tuple[str | None, tuple[Fault, str] | None]:
    if not os.path.lexists(folder / SIGNATURE):
        unsigned: tuple[Fault, str] = ("missing", "a public key was given, and the folder is not signed")
        return None, unsigned if trusted else None
    text = read_bytes(folder / SIGNATURE, str(folder / SIGNATURE))
    _need_cryptography()
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        document = parse_json(text)
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(document["public_key"], validate=True))
        signature = base64.b64decode(document["signature"], validate=True)
        if _dump(document).encode() != text or document["algorithm"] != "ed25519" or document["signs"] != MANIFEST:
            raise ValueError
        key.verify(signature, manifest)
    except (ValueError, KeyError, TypeError, binascii.Error, InvalidSignature):
        return None, ("edited", "the signature does not fit the manifest")
    if trusted is not None and trusted.public_bytes_raw() != key.public_bytes_raw():
        return None, ("edited", f"it was made with another key, sha256 {fingerprint(key)[:12]}...")
    return fingerprint(key), None


def _read_manifest(text: bytes) -> dict[str, Any] | None:
    """Return the manifest, or None where any byte of it is not as `manifest_text` wrote it."""
    try:
        document = parse_json(text)
        stated = document["sha256"]
        rest = {key: value for key, value in document.items() if key != "sha256"}
        whole = _dump(document).encode() == text and hashlib.sha256(_dump(rest).encode()).hexdigest() == stated
        names = list(document["files"])
        if not whole or document["manifest_version"] != 1 or not all(_inside(name) for name in names):
            return None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return document  # type: ignore[no-any-return]  # checked above


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield every file and link under `folder` by name, but the manifest, its signature, and what was being written."""
    for place, folders, names in os.walk(folder):
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        for name in sorted([*names, *links]):
            path = Path(place) / name
            relative = path.relative_to(folder).as_posix()
            left_by_a_killed_run = name.startswith(".") and name.endswith(PARTIAL)
            if relative not in (MANIFEST, SIGNATURE) and not left_by_a_killed_run:
                yield relative, path


def _need_cryptography() -> None:
    if find_spec("cryptography") is None:
        raise InputError(f"signatures need the package cryptography; {install_extra('sign')}.")


def _dump(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
