"""Flip bytes in the files that auditkit reads, and see that it never crashes, hangs, or exits 1 for want of a reason.

    python tests/fuzz.py --seconds 600 --seed 0

Every case damages one file (a model, a data set, a policy, a checkpoint, a results.json, ...), runs the command line
on it, and looks at the exit code, at standard error and at the report. A case is told by its number:
`--first N --cases 1` runs it again.
The cases run in a worker process, which is replaced where one of them kills it or hangs.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import hashlib
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
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_files import RETRAINING, WORDS, write_files

from auditkit.models.formats.archive import CARD

MEMORY = 8 * 2**30
KINDS: dict[str, tuple[str, ...]] = {
    "model": ("model.pt", "model.safetensors"),
    "weights": ("nested.pt", "legacy.pt", "bare.safetensors"),
    "program": ("program.pt2", "pickled.pt"),
    "data": ("data.csv", "data.csv", "data.parquet", "data.jsonl"),
    "estimator": ("model.skops", "model.onnx", "model.joblib"),
    "table": ("data.npz",),
    "images": ("images",),
    "words": tuple(WORDS),
    "seal": ("run",),
    "policy": ("policy.toml",),
    "schema": ("schema.json",),
    "results": ("results.json",),
    "language": ("bert",),
    "checkpoint": ("checkpoint",),
    "ledger": ("private",),
}

ODD_NUMBERS: tuple[Any, ...] = (
    None, True, -1, 0, 1, 7, 10**400, float("nan"), float("inf"), "x", b"x", [], {}, {"a": 1}, ["a", None],
)  # fmt: skip
"""What may stand in a checkpoint in place of anything else."""

ODD_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 10**400, 1e308, "", "x", "\ud800", "\x1b]0;x\x07", "<script>alert(1)</script>", "=1|' /C x'!A",
    "0001-01-01T00:00:00+14:00", [], {}, [[]], {"a": None}, ["a", 1, None],
)  # fmt: skip
"""What may stand in a JSON file in place of anything else."""


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Return bytes with a few of them flipped, replaced, taken out, doubled or cut off."""
    changed = bytearray(content)
    for _ in range(int(rng.choice([1, 1, 1, 2, 4, 16]))):
        if not changed:
            break
        place, way = int(rng.integers(len(changed))), int(rng.integers(10))
        if way < 5:
            changed[place] ^= 1 << int(rng.integers(8))
        elif way < 7:
            changed[place] = int(rng.choice([0, 1, 9, 10, 34, 44, 48, 57, 127, 128, 255, int(rng.integers(256))]))
        elif way == 7:
            del changed[place : place + int(rng.integers(1, 9))]
        elif way == 8:
            changed[place:place] = changed[place : place + int(rng.integers(1, 33))]
        elif rng.random() < 0.2:
            del changed[place:]
    return bytes(changed)


def damaged_json(content: bytes, rng: np.random.Generator) -> bytes:
    """Return JSON text in which a few values are others, are gone, or stand in another's place."""
    document = json.loads(content)
    for _ in range(int(rng.choice([1, 1, 2, 4]))):
        places = [
            (part, key)
            for part in _containers(document)
            for key in (part if isinstance(part, dict) else range(len(part)))
        ]
        part, key = places[int(rng.integers(len(places)))]
        way = int(rng.integers(4))
        if way == 0:
            del part[key]
        elif way == 1:
            other, place = places[int(rng.integers(len(places)))]
            part[key] = copy.deepcopy(other[place])
        else:
            part[key] = copy.deepcopy(ODD_VALUES[int(rng.integers(len(ODD_VALUES)))])
    return json.dumps(document).encode()


def _containers(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        yield value
        for item in value.values() if isinstance(value, dict) else value:
            yield from _containers(item)


def damage_inside(path: Path, rng: np.random.Generator) -> bytes:
    """Damage one member of a zip archive, and write the archive again with checksums that fit."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    chosen = str(rng.choice(list(members)))
    members[chosen] = damaged(members[chosen], rng)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def command_of(number: int, honest: Path, work: Path) -> tuple[list[str], str]:
    """Write the damaged file of a case, and return its command line and what was damaged."""
    os.environ["XDG_DATA_HOME"] = str(honest / "home")  # the fuzzer's own keys and records
    rng = np.random.default_rng(number)
    kind = list(KINDS)[number % len(KINDS)]
    name = str(rng.choice(KINDS[kind]))
    if kind in ("checkpoint", "ledger"):
        return _of_a_private_training(kind, honest, work, rng), kind
    if (honest / name).is_dir():
        return _of_a_folder(kind, honest / name, work, rng)
    inside = (
        kind in ("model", "weights", "estimator", "table") and zipfile.is_zipfile(honest / name) and rng.random() < 0.5
    )
    way = damaged_json if name.endswith(".json") and rng.random() < 0.8 else damaged
    content = damage_inside(honest / name, rng) if inside else way((honest / name).read_bytes(), rng)
    (work / name).write_bytes(content)
    if kind == "results":
        command = ["gate", str(work / name), "--policy", str(honest / "policy.toml"), "--out", str(work / "out")]
        return [*command, "--to", "html,junit,markdown,sarif,gitlab,model-card,cyclonedx", "--quiet"], f"{kind} {name}"
    if kind == "table":
        return ["schema", "infer", str(work / name), "--target", "income"], f"{kind} {name}"
    if name == "facts.toml":
        command = ["comply", str(honest / "results.json"), "--framework", "nist-ai-rmf", "--facts", str(work / name)]
        return [*command, "--out", str(work / "out")], f"{kind} {name}"
    return _run_command(kind, name, honest, work, content), f"{kind} {name}{' inside' if inside else ''}"


def _run_command(kind: str, name: str, honest: Path, work: Path, content: bytes) -> list[str]:
    """Return the command line of an audit in which one file is the damaged one."""
    files = {"model": honest / "model.pt", "data": honest / "data.csv", "policy": honest / "policy.toml"}
    flags: list[str] = []
    if kind in files:
        files[kind] = work / name
    if kind == "words":
        flags = ["--config" if name == "auditkit.toml" else f"--{Path(name).stem}", str(work / name)]
    if kind == "estimator":
        files["model"] = work / name
        flags = ["--target", "income", "--sensitive", "sex"]
        flags += ["--trust-pickle", "sha256:" + "0" * 64] if name.endswith("joblib") else []
    if kind == "schema":
        flags = ["--schema", str(work / name)]
    if kind in ("weights", "program"):
        files["model"] = work / name
        flags = ["--schema", str(honest / "schema.json")]
    if kind == "weights":
        flags += ["--architecture", "mlp", "--architecture-args", (honest / "arguments.json").read_text("utf-8")]
    if name == "program.pt2":
        flags += ["--trust-model", "sha256:" + hashlib.sha256(content).hexdigest()]
    command = ["run", str(files["model"]), "--dataset", str(files["data"]), "--policy", str(files["policy"]), *flags]
    command += ["--only", "performance", "--only", "fairness", "--out", str(work / "out"), "--quiet"]
    return command


def _of_a_folder(kind: str, honest: Path, work: Path, rng: np.random.Generator) -> tuple[list[str], str]:
    """Damage one file of a folder's copy: an image or its table, a part of a sealed run, or of a language model."""
    place = work / honest.name
    shutil.copytree(honest, place)
    chosen = sorted(path for path in place.rglob("*") if path.is_file())[int(rng.integers(len(list(place.iterdir()))))]
    way = damaged_json if chosen.suffix == ".json" and rng.random() < 0.5 else damaged
    chosen.write_bytes(way(chosen.read_bytes(), rng))
    if kind == "images":
        return ["schema", "infer", str(place), "--target", "label"], f"{kind} {chosen.name}"
    if kind == "language":
        command = [
            "run",
            str(place),
            "--dataset",
            str(honest.parent / "texts.csv"),
            "--text",
            "text",
            "--target",
            "label",
        ]
        command += ["--sensitive", "sex", "--only", "performance", "--out", str(work / "out"), "--quiet"]
        command += ["--policy", str(honest.parent / "policy.toml")]
        return command, f"{kind} {chosen.name}"
    return ["gate", str(place), "--out", str(work / "out"), "--quiet"], f"{kind} {chosen.name}"


def _of_a_private_training(kind: str, honest: Path, work: Path, rng: np.random.Generator) -> list[str]:
    """Damage a checkpoint or a ledger, with this user's own code where it has one; return what reads it."""
    import torch

    from auditkit.private import seal_of, user_key

    # Each case has records of its own, which know the checkpoint.
    shutil.copytree(honest / "home", work / "home")
    os.environ["XDG_DATA_HOME"] = str(work / "home")
    out = work / "trained"
    out.mkdir()
    path = out / "model-eps8.pt"
    if kind == "checkpoint":
        sealed = (honest / "checkpoint").read_bytes()
        content = torch.load(io.BytesIO(sealed[32:]), weights_only=True)
        key = user_key()
        assert key is not None
        path = out / f".{path.name}.checkpoint"
        way = int(rng.integers(3))
        if way == 0:
            path.write_bytes(damaged(sealed, rng))
        else:
            packed = io.BytesIO(damaged(sealed[32:], rng))
            if way == 1:
                entry = str(rng.choice(list(content)))
                content[entry] = copy.deepcopy(ODD_NUMBERS[int(rng.integers(len(ODD_NUMBERS)))])
                packed = io.BytesIO()
                torch.save(content, packed)
            path.write_bytes(seal_of(key, "checkpoint", packed.getvalue()) + packed.getvalue())
    else:
        content = torch.load(honest / "private" / path.name, weights_only=True)
        card = json.loads(content[CARD])
        card["ledger"] = json.loads(damaged_json(json.dumps(card["ledger"]).encode(), rng))
        torch.save({**content, CARD: json.dumps(card)}, path)
        if rng.random() < 0.5:
            return ["inspect", str(path)]
    command = ["retrain", str(honest / "model.pt"), "--train-dataset", str(honest / "data.csv"), *RETRAINING]
    return [*command, "--out", str(out)]


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


def work_through(first: int, seconds: float, cases: int, patience: float, honest: Path, log: Path) -> None:
    """Run cases one after the other, and write what each did to the log."""
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
            command, what = command_of(number, honest, work)
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


def run(seconds: float, first: int, cases: int, patience: float, report: Callable[[str], None] = print) -> int:
    """Run cases for so many seconds, and return the number of those that went wrong."""
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
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    first = given.seed * 1_000_000 if given.first is None else given.first
    if given.worker is not None:
        work_through(first, given.seconds, given.cases, given.patience, given.worker / "honest", given.worker / "log")
    elif run(given.seconds, first, given.cases, given.patience):
        sys.exit(1)


if __name__ == "__main__":
    main()
