"""Flip bytes in the files that auditkit reads, and see that it never crashes, hangs, or exits 1 for want of a reason.

    python tests/fuzz.py --seconds 600 --seed 0
    python tests/fuzz.py --seconds 600 --seed 0 --kind vectors

Every case damages one file (a model, a data set, a policy, a checkpoint, a results.json, ...), runs the command line
on it, and looks at the exit code, at standard error and at the report. A case is told by its number:
`--first N --cases 1` runs it again, with the same `--kind` if one was given.
The cases run in a worker process, which is replaced where one of them kills it or hangs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fuzz_cases import KINDS, command_of
from fuzz_files import write_files

MEMORY = 8 * 2**30


def complaint(code: int, output: str, results: Path, *, policy_damaged: bool) -> str | None:
    """Say what is wrong with how a case ended, or None."""
    if "Traceback" in output or "auditkit itself failed" in output:
        return f"traceback: {output.strip().splitlines()[-1]}"
    if code not in (0, 1, 2, 3, 5):
        return f"exit {code}"
    if code == 2:
        lines = output.strip().splitlines()
        return None if len(lines) == 1 else f"{len(lines)} lines for bad input: {output[:300]!r}"
    if not results.exists():  # a command that writes no report
        return None if code == 0 else f"exit {code} without a report"
    report: dict[str, Any] = json.loads(results.read_text("utf-8"))
    crashed = [outcome["error"] for outcome in report["outcomes"] if outcome["error"]]
    if crashed and not policy_damaged:
        return f"an auditor crashed: {crashed[0]}"
    # A policy, or numbers, may well be damaged into ones that fail, and then say so.
    if code == 1 and not (policy_damaged and report["verdict"] == "fail"):
        return "exit 1"
    return None


class Hang(BaseException):
    """A case took too long."""


def hang(*_: object) -> None:
    raise Hang


def work_through(given: argparse.Namespace, first: int, honest: Path, log: Path) -> None:
    """Run cases one after the other, and write what each did to the log."""
    seconds, cases, patience = given.seconds, given.cases, given.patience
    import auditkit.engine.audit  # seconds, which are not those of a case
    from auditkit.cli import call

    assert auditkit.engine.audit
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGPROF, hang)
    ends = time.monotonic() + seconds
    with log.open("a", encoding="utf-8", buffering=1) as lines:
        for number in range(first, first + cases):
            if time.monotonic() > ends:
                break
            work = Path(tempfile.mkdtemp(dir=honest.parent))
            lines.write(json.dumps({"case": number}) + "\n")
            command, what = command_of(number, honest, work, kinds_of(given.kind))
            output = io.StringIO()
            signal.setitimer(signal.ITIMER_PROF, patience)  # of processor time: machines are shared
            try:
                with contextlib.redirect_stderr(output), contextlib.redirect_stdout(io.StringIO()):
                    code = call(command)
                wrong = complaint(
                    code,
                    output.getvalue(),
                    work / "out/results.json",
                    policy_damaged=what.startswith(("policy", "results", "words", "seal")),
                )
            except Hang:
                code, wrong = -1, f"took more than {patience:g} s of processor time"
            except Exception as error:  # noqa: BLE001  # whatever it is, the case failed
                code, wrong = -1, f"{type(error).__name__}: {error}"
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
            lines.write(json.dumps({"case": number, "what": what, "code": code, "wrong": wrong}) + "\n")
            shutil.rmtree(work)


def kinds_of(chosen: str | None) -> list[str]:
    """Return the kinds of files that are damaged: the chosen one, or all."""
    return list(KINDS) if chosen is None else [chosen]


def run(given: argparse.Namespace, first: int, report: Callable[[str], None] = print) -> int:
    """Run cases for so many seconds, and return the number of those that went wrong."""
    seconds, cases, patience = given.seconds, given.cases, given.patience
    wrong: list[str] = []
    codes: dict[int, int] = {}
    with tempfile.TemporaryDirectory(prefix="auditkit-fuzz-") as place:
        honest, log = Path(place) / "honest", Path(place) / "log"
        honest.mkdir()
        os.environ["XDG_DATA_HOME"] = str(honest / "home")  # the fuzzer's own keys and records
        write_files(honest)
        log.touch()
        ends, number = time.monotonic() + seconds, first
        while time.monotonic() < ends and number < first + cases:
            rest = ends - time.monotonic()
            command = [sys.executable, __file__, "--worker", place, "--first", str(number), "--seconds", str(rest)]
            command += ["--cases", str(first + cases - number), "--patience", str(patience)]
            command += [] if given.kind is None else ["--kind", given.kind]
            worker = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            stuck = False
            while worker.poll() is None:
                time.sleep(0.2)
                # A case that sleeps, or hangs in native code, does not hear the timer.
                if time.time() - log.stat().st_mtime > 9 * patience:
                    stuck = True
                    worker.kill()
            lines = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
            done = {line["case"]: line for line in lines if "code" in line}
            begun = max((line["case"] for line in lines), default=number - 1)
            if begun >= number and begun not in done:
                wrong.append(f"case {begun}: {'hung in native code' if stuck else f'killed by {worker.returncode}'}")
            elif worker.returncode != 0:
                wrong.append(f"the worker failed with {worker.returncode}")
                break
            number = begun + 1
        for line in done.values():
            codes[line["code"]] = codes.get(line["code"], 0) + 1
            if line["wrong"]:
                wrong.append(f"case {line['case']} ({line['what']}): {line['wrong']}")
    report(f"{sum(codes.values()):,} cases, exit codes {dict(sorted(codes.items()))}, {len(wrong)} went wrong")
    for line in wrong:
        report(line)
    return len(wrong)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0, help="the cases start at this many times a million")
    parser.add_argument("--first", type=int, help="the number of the first case, in place of --seed")
    parser.add_argument("--cases", type=int, default=1_000_000, help="at most so many")
    parser.add_argument("--patience", type=float, default=20, help="a case that takes so many seconds hangs")
    parser.add_argument("--kind", choices=list(KINDS), help="damage files of this kind alone")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    first = given.seed * 1_000_000 if given.first is None else given.first
    if given.worker is not None:
        work_through(given, first, given.worker / "honest", given.worker / "log")
    elif run(given, first):
        sys.exit(1)


if __name__ == "__main__":
    main()
