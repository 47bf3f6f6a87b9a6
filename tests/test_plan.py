"""What a run says before it starts and while it works, and that it ends when it is told to."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from loans import Loans

from auditkit import progress_display
from auditkit.cli import call
from auditkit.engine import timing


def test_a_run_says_what_it_will_do_before_it_starts(
    loans: Loans, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", str(loans.model), "--dataset", str(loans.test), "--limit", "60"]
    only = ["--only", "robustness", "--only", "leakage", "--only", "fairness"]
    call([*command, *only, "--out", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert "Plan (effort standard, " in said
    assert "operations a row):" in said
    assert re.search(r"robustness      about [0-9,]+ passes of a row through the model, about \d+ s\n", said)
    assert "from the predictions: fairness" in said
    assert "not run: leakage (no training data; pass --train-dataset FILE)" in said
    assert "explainability" not in said
    call([*command, *only, "--quiet", "--out", str(tmp_path / "out")])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("device", "seconds"), [("cpu", 0.02), ("cuda", 0.06)])
def test_other_programs_on_the_machine_do_not_lengthen_the_plan(
    device: str, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first pass takes long, and the clock runs three times as fast as the processor is ours."""
    clock, rows = {"used": 0.0}, []
    monkeypatch.setattr("auditkit.engine.timing.time.perf_counter", lambda: 3 * clock["used"])
    monkeypatch.setattr("auditkit.engine.timing.time.process_time", lambda: clock["used"])
    taken = iter([9.0, 0.001, 0.06, 0.05, 0.02, 0.04, 1.0, 1.0])

    def batch(count: int) -> Callable[[], None]:
        def compute() -> None:
            rows.append(count)
            clock["used"] += next(taken)

        return compute

    found = timing.seconds_of_a_row(batch, 5000, torch.device(device))
    assert found == pytest.approx(seconds / 256)
    # It grows until a pass takes long enough; no trial begins once they have taken half a second.
    assert rows == [timing.UNTIMED_ROWS, 64, 256, 256, 256, 256, 256]


def test_a_run_that_nobody_watches_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress_display, "EVERY_SECONDS", 0.01)
    with progress_display.progress(silent=False) as progress:
        progress("explainability", 0.25, "three\x1b texts")
        printed = ""
        while "\n" not in printed:
            time.sleep(0.01)
            printed += capsys.readouterr().err
    first = printed.splitlines()[0]
    assert re.match(r"auditkit: \d+:\d\d explainability, 25%, three", first)
    assert "\x1b" not in first


def test_a_run_ends_in_time_even_in_a_long_call() -> None:
    # Python's own handler can come before the long call, and then the next round of the loop is in it.
    code = """
import hashlib
from auditkit import cli

def call(arguments):
    while True:
        try:
            print("ready", flush=True)
            hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
        except KeyboardInterrupt:
            pass

cli.GRACE_SECONDS = 0.2
cli.call = call
cli.main()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=1800) == 130
