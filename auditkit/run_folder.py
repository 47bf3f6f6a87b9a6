"""The folder of a run: locked while it is written, each file whole or absent."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from auditkit.documents import parse_json
from auditkit.errors import InputError

try:
    import fcntl
except ImportError:  # Windows has no flock: there, two runs into one folder are not told apart
    fcntl = None  # type: ignore[assignment]  # None in the place of a module says that it is absent


PARTIAL = ".auditkit-partial"
"""How the name of a file ends that is being written; such a file is no part of a report."""

RESULTS = "results.json"
REPORT_FILES = (
    RESULTS, "manifest.json", "manifest.sig", "report*.html", "report*.pdf", "summary*.md", "junit.xml",
    "results.sarif", "gl-code-quality-report.json", "model-card.md", "bom.cdx.json", "test-result.intoto.json",
    "ai-verify.json", "comply-*.html", "comply-*.md", "comply-*.csv",
)  # fmt: skip
"""What a run writes into its folder, or what is made there from its results: void once another run starts there."""


@contextmanager
def output_folder(path: str | Path) -> Iterator[Path]:
    """Create and lock `path` for one run; where the run fails before it writes, nothing stays behind.

    Raises:
        InputError: the folder cannot be written, or another run holds it.
    """
    folder = Path(path)
    created = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        _remove_empty(created)
        raise InputError(f"output folder {folder}: {error.strerror or error}; pass --out DIR.") from error
    try:
        if fcntl is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
                    raise InputError(
                        f"output folder {folder}: another run is writing there; pass --out DIR."
                    ) from error
                raise
        for left in folder.glob(f".*{PARTIAL}"):  # of a run that was killed: nobody else writes while the lock is held
            with contextlib.suppress(OSError):  # a folder of that name is nobody's file
                left.unlink(missing_ok=True)
        yield folder
    finally:
        os.close(handle)
        _remove_empty(created)


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return


def write_files(folder: Path, contents: Mapping[str, str | bytes]) -> None:
    """Write every file beside its place, then move all into place: each is whole or absent.

    A folder that was taken away meanwhile, by a plug-in for instance, is made again.

    Raises:
        InputError: the disk is full, or something else than a folder, or than a file, stands in its place; no new file
            is left.
    """
    staged: list[tuple[Path, Path]] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            handle, beside = tempfile.mkstemp(dir=folder, prefix=f".{name}.", suffix=PARTIAL)
            staged.append((Path(beside), folder / name))
            with os.fdopen(handle, "wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            umask = os.umask(0)
            os.umask(umask)
            Path(beside).chmod(0o666 & ~umask)
        for beside_path, place in staged:
            beside_path.replace(place)
    except OSError as error:
        raise InputError(f"output folder {folder}: {error.strerror or error}; pass --out DIR.") from error
    finally:
        for beside_path, _ in staged:
            beside_path.unlink(missing_ok=True)


def replace_run(folder: Path, run_id: str) -> None:
    """Take an earlier run's report out of the folder before another run there starts, and say so until it ends.

    A run that fails, or is killed, must not leave the verdict of the one before it to be read as its own. Where there
    was no report, nothing is written.

    Raises:
        InputError: a folder has the name of a report's file.
    """
    if any(os.path.lexists(folder / name) for name in ("manifest.json", RESULTS)):
        write_files(folder, {RESULTS: json.dumps({"state": "unfinished", "run_id": run_id}) + "\n"})
        for pattern in REPORT_FILES:
            for path in folder.glob(pattern):
                if path.name != RESULTS:
                    try:
                        path.unlink()
                    except OSError as error:
                        raise InputError(
                            f"output folder {folder}: {path.name} cannot be replaced ({error.strerror}); move it away."
                        ) from error


def unfinished_run(content: bytes) -> str | None:
    """Return the id of the run whose results are still to come, None where `content` is a report, or anything else.

    >>> unfinished_run(b'{"state": "unfinished", "run_id": "ab12"}')
    'ab12'
    """
    if len(content) > 1000:
        return None
    with contextlib.suppress(ValueError):
        document = parse_json(content)
        if isinstance(document, dict) and document.get("state") == "unfinished":
            return str(document.get("run_id", ""))[:80]
    return None


def write_new(path: Path, text: str) -> None:
    """Write a file that a user is to edit; one that is there already is never overwritten.

    Raises:
        InputError: the file is there already, or cannot be written.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(f"{path} is there already; name another file.") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; name another file.") from error
