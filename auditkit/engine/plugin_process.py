"""Auditors of other packages run in a process of their own, so that nothing that they do changes the verdict.

The process gets a copy of the subject and answers with one outcome. Whatever else happens - it exits, hangs, crashes,
fills the memory, prints, or replaces itself by another program - is an error of that auditor. The parent alone judges,
writes the report and exits. The process runs as the same user: it is no sandbox against code that means harm to the
machine (docs/security.md).
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from pydantic import ValidationError

from auditkit.budgets import RESULTS_BYTES
from auditkit.config import AuditConfig
from auditkit.errors import InputError
from auditkit.evidence.measurement import Record
from auditkit.evidence.rederive import ContradictionError, check_outcome
from auditkit.evidence.report import Outcome
from auditkit.files import read_bytes
from auditkit.models.cache import NO_CACHE
from auditkit.progress import silent

if TYPE_CHECKING:
    from auditkit.engine.subject import Subject

OUTPUT_SHOWN, LAST_BYTES = 200, 4096


@dataclasses.dataclass(frozen=True)
class Elsewhere:
    """An installed auditor of another package: its entry point, which this process does not load, and the request."""

    point: EntryPoint
    config: AuditConfig

    @property
    def version(self) -> str:
        """The version of the package that installs it."""
        return self.point.dist.version if self.point.dist else "unknown"


class Reply(Record):
    """What the process answers: an outcome, or a setting that the user must correct."""

    outcome: Outcome | None = None
    refused: str | None = None


def is_foreign(point: EntryPoint) -> bool:
    """Return whether an entry point is of another package than auditkit."""
    return not point.value.startswith("auditkit.")


def run_elsewhere(auditor: Elsewhere, subject: Subject) -> Outcome:
    """Return the outcome of an auditor from a process of its own; what ends that process is the auditor's error.

    Raises:
        InputError: the auditor refuses its settings.
    """
    name = auditor.point.name
    run = auditor.config.run
    with _folder() as place, tempfile.TemporaryFile() as output:
        (place / "cwd").mkdir()
        try:
            request = pickle.dumps(_request(auditor, subject))
        except Exception as error:  # noqa: BLE001  # a model that cannot be copied: one from memory, or a TorchScript program
            why = " ".join(f"{type(error).__name__}: {error}".split())[:OUTPUT_SHOWN]
            return _failed(auditor, f"the subject cannot be sent to its process ({why}); pass --in-process-plugins")
        _write(place / "request", request)
        ended = _run_process(place, output, run.plugin_seconds)
        if ended is None:
            return _failed(auditor, f"took longer than {run.plugin_seconds:,} s; --plugin-seconds allows more")
        if not (place / "reply").exists():
            return _failed(auditor, f"its process {_how(ended)} without a result{_last_words(output)}")
        try:
            text = read_bytes(place / "reply", f"reply of {name}", budget=RESULTS_BYTES)
            reply = Reply.model_validate_json(text)
        except (InputError, ValidationError) as error:
            return _failed(auditor, f"its answer cannot be read: {str(error).splitlines()[0]}")
    if reply.refused is not None:
        raise InputError(reply.refused)
    if reply.outcome is None or reply.outcome.auditor != name:
        return _failed(auditor, "its answer is not its own")
    outcome = reply.outcome.model_copy(update={"findings": (), "version": auditor.version})
    try:
        check_outcome(outcome)
    except ContradictionError as error:
        return _failed(auditor, f"ContradictionError: {error}")
    return outcome


def _request(auditor: Elsewhere, subject: Subject) -> dict[str, Any]:
    _ = subject.predictions
    copied = dataclasses.replace(subject, progress=silent, cache=NO_CACHE)
    known = {
        name: value
        for name, value in vars(subject).items()
        if name not in ("progress", "cache", "labelled", "unlabelled")
    }
    vars(copied).update(known)  # what has been computed need not be computed again
    return {
        "name": auditor.point.name,
        "value": auditor.point.value,
        "config": auditor.config,
        "subject": copied,
    }


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """Give a new folder; where the process left it so that it cannot be removed, it stays."""
    place = Path(tempfile.mkdtemp(prefix="auditkit-plugin-"))
    try:
        yield place
    finally:
        with contextlib.suppress(RecursionError):  # folders in folders, by the thousand
            shutil.rmtree(place, ignore_errors=True)


def _run_process(place: Path, output: BinaryIO, seconds: int) -> int | None:
    """Run the process in its own session and folder; return its exit code, None where it took too long.

    What it prints goes to a file without a name, in whose place it can put nothing else.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(Path(entry).resolve()) for entry in sys.path if entry),
    }
    command = [sys.executable, "-m", "auditkit.engine.plugin_process", str(place)]
    process = subprocess.Popen(  # noqa: S603  # this very Python, and no shell
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=place / "cwd",
        env=environment,
        start_new_session=True,
    )
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with contextlib.suppress(OSError):  # also what it started and left running
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _how(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _last_words(output: BinaryIO) -> str:
    """Return the last line that the process printed, for the report."""
    output.seek(max(0, output.seek(0, os.SEEK_END) - LAST_BYTES))
    text = output.read(LAST_BYTES).decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f": {lines[-1][:OUTPUT_SHOWN]}" if lines else ""


def _failed(auditor: Elsewhere, error: str) -> Outcome:
    return Outcome(auditor=auditor.point.name, version=auditor.version, error=error)


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)


def main(folder: str) -> None:
    """Be the process: load the auditor, run it, and write the answer."""
    from auditkit.engine.audit import answer_of

    place = Path(folder)
    request = pickle.loads((place / "request").read_bytes())  # noqa: S301  # the parent has just written it, for us
    _limit(request["config"].run.plugin_gigabytes)
    try:
        outcome = answer_of(request["name"], request["value"], request["config"], request["subject"])
        reply = Reply(outcome=outcome)
    except InputError as error:
        reply = Reply(refused=str(error))
    text = reply.model_dump_json(exclude={"outcome": {"verdict"}})
    _write(place / "unfinished", text.encode())
    (place / "unfinished").replace(place / "reply")


def _limit(gigabytes: int) -> None:
    """Limit the memory of this process, and the size of each file that it writes."""
    try:
        import resource
    except ImportError:  # Windows
        return
    limit = gigabytes * 2**30
    for kind in (resource.RLIMIT_DATA, resource.RLIMIT_FSIZE):
        with contextlib.suppress(OSError, ValueError):  # a lower limit of the system stays
            resource.setrlimit(kind, (limit, limit))


if __name__ == "__main__":
    main(sys.argv[1])
