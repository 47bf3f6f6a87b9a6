"""Forty cases of the fuzzer (`make fuzz` runs it for ten minutes), and that it tells what it looks for."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from fuzz import complaint, run


@pytest.mark.filterwarnings("ignore")  # of the libraries that write the files
def test_forty_damaged_files() -> None:
    said: list[str] = []
    given = argparse.Namespace(cases=40, seconds=1800.0, patience=1800.0, kind=None)
    assert run(given, 0, said.append) == 0, said
    assert said[0].startswith("40 cases")
    assert said[0].endswith(", 0 went wrong")


def test_the_fuzzer_knows_what_is_wrong(tmp_path: Path) -> None:
    results = tmp_path / "results.json"

    def told(
        code: int, output: str = "", *, verdict: str = "pass", error: str | None = None, policy: bool = False
    ) -> str | None:
        results.write_text(json.dumps({"verdict": verdict, "outcomes": [{"error": error}]}), encoding="utf-8")
        return complaint(code, output, results, policy_damaged=policy)

    assert told(0) is told(3) is told(5) is told(2, "auditkit: one line.\n") is None
    assert told(1, verdict="fail", policy=True) is None
    assert told(1, verdict="fail") == "exit 1"
    assert told(1, verdict="pass", policy=True) == "exit 1"
    assert "2 lines" in (told(2, "one\ntwo\n") or "")
    assert "traceback" in (told(3, "Traceback (most recent call last):\nKeyError: 1") or "")
    assert "crashed: KeyError" in (told(3, error="KeyError") or "")
    assert told(-11) == "exit -11"
