"""Import what is used: which libraries a run, the list of auditors and a look at a policy bring into memory.

What is asserted is `sys.modules` of a process of its own, never a time; `benchmarks/startup.py` prints the times.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from loans import Loans

HEAVY = {"torch", "captum", "opacus", "sklearn", "fairlearn", "matplotlib", "scipy.stats", "sympy"}

COMPILER = "torch._dynamo"
"""torch's compiler, which takes most of a second to import, and is loaded by any mode below Python's functions."""

RUN = """
import json, sys
from auditkit.cli import call
code = call(sys.argv[2:])
with open(sys.argv[1], "w") as file:
    json.dump([code, sorted(set(sys.modules))], file)
"""

DECLARED = """
import sys
from auditkit.engine.auditor import installed
for point in installed().values():
    kind = point.load()
    auditor = kind()
    assert kind.measures, kind
    assert getattr(kind, "requires", ()) is not None
    assert auditor.__dataclass_fields__ is not None
print(*sorted({absent!r} & set(sys.modules)))
"""


def imported_by(arguments: Sequence[str], folder: Path) -> set[str]:
    """Run a command in a process of its own, and return the modules that it imported; its verdict may be any."""
    found = folder / "modules.json"
    command = [sys.executable, "-c", RUN, str(found), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    code, modules = json.loads(found.read_text())
    assert code in (0, 1), done.stdout + done.stderr
    return set(modules)


@pytest.fixture(scope="module")
def decisions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("decisions") / "decisions.csv"
    rows = [
        f"{'FM'[i % 2]},{'ABC'[i % 3]},{(7 * i % 101) / 101:.3f},{int(7 * i % 101 > 50)},{int(i % 5 > 2)}"
        for i in range(500)
    ]
    path.write_text("\n".join(["sex,race,score,decision,outcome", *rows]) + "\n")
    return path


def test_what_auditors_declare_is_read_without_the_libraries_that_they_use() -> None:
    script = DECLARED.format(absent=HEAVY)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


@pytest.mark.parametrize("columns", [["--skip", "proxies"], ["--score", "score"]])
def test_recorded_decisions_are_audited_without_a_library_for_models(
    decisions: Path, tmp_path: Path, columns: list[str]
) -> None:
    people = ["--sensitive", "sex", "--sensitive", "race", "--target", "outcome"]
    command = [
        "run",
        "--dataset",
        str(decisions),
        "--prediction",
        "decision",
        *columns,
        *people,
        "--out",
        str(tmp_path / "audit"),
        "--quiet",
    ]
    assert imported_by(command, tmp_path) & HEAVY == set()
    assert (tmp_path / "audit" / "report.html").exists()


def test_opacus_and_captum_are_not_imported_where_nothing_is_trained_or_explained(loans: Loans, tmp_path: Path) -> None:
    command = ["run", str(loans.model), "--dataset", str(loans.test), "--out", str(tmp_path / "audit"), "--quiet"]
    command += ["--skip", "proxies", "--limit", "200"]
    modules = imported_by([*command, "--skip", "explainability"], tmp_path)
    assert "torch" in modules
    assert modules & {"opacus", "captum", COMPILER} == set()  # the fairness auditor checks its rates against Fairlearn
    # Attributions are checked against Captum.
    assert imported_by(command, tmp_path) & {"opacus", "captum", COMPILER} == {"captum"}


def test_captum_and_opacus_are_imported_by_the_auditors_that_need_them(loans: Loans, tmp_path: Path) -> None:
    rows = ["--dataset", str(loans.test), "--limit", "200", "--quiet"]
    explained = ["run", str(loans.model), *rows, "--only", "explainability", "--explain", "deep_lift"]
    explained += ["--set", "explainability.rows=40"]
    modules = imported_by([*explained, "--out", str(tmp_path / "explained")], tmp_path)
    assert "captum" in modules
    assert "opacus" not in modules
    private = ["run", str(loans.model), *rows, "--train-dataset", str(loans.train), "--only", "privacy"]
    private += ["--set", "privacy.canaries=0"]
    modules = imported_by([*private, "--epsilon", "8", "--out", str(tmp_path / "private")], tmp_path)
    assert "opacus" in modules
