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

OF_OTHERS = {
    "pyarrow.parquet",
    "auditkit.auditors.explainability.methods",
    "auditkit.auditors.robustness.language",
}
"""What files of another format and audits of models are read by."""

COMPILER = "torch._dynamo"
"""torch's compiler, which takes most of a second to import, and is loaded by any mode below Python's functions."""

RUN = """
import json, sys
from auditkit.cli import call
found = []
for command in json.loads(sys.argv[2]):
    found.append([call(command), sorted(sys.modules)])
with open(sys.argv[1], "w") as file:
    json.dump(found, file)
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


def imported_by(folder: Path, *commands: Sequence[str]) -> list[set[str]]:
    """Run commands one after the other in a process of their own; return the modules that are there after each.

    Their verdicts may be any.
    """
    found = folder / "modules.json"
    script = [sys.executable, "-c", RUN, str(found), json.dumps(commands)]
    done = subprocess.run(script, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results = json.loads(found.read_text())
    assert all(code in (0, 1) for code, _ in results), done.stdout + done.stderr
    return [set(modules) for _, modules in results]


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


def test_recorded_decisions_are_audited_without_a_library_for_models(decisions: Path, tmp_path: Path) -> None:
    people = ["--sensitive", "sex", "--sensitive", "race", "--target", "outcome"]
    audit = ["run", "--dataset", str(decisions), "--prediction", "decision", *people, "--quiet", "--out"]
    without, with_scores = imported_by(
        tmp_path,
        [*audit, str(tmp_path / "without")],
        [*audit, str(tmp_path / "with"), "--score", "score"],
    )
    assert without & (HEAVY | OF_OTHERS) == set()
    assert with_scores & (HEAVY | OF_OTHERS) == set()
    assert (tmp_path / "without" / "report.html").exists()
    assert (tmp_path / "with" / "report.html").exists()


def test_captum_and_opacus_are_imported_by_the_auditors_that_need_them_alone(loans: Loans, tmp_path: Path) -> None:
    """One process audits all but explanations, explains in two ways, and retrains with privacy."""
    run = ["run", str(loans.model), "--dataset", str(loans.test), "--limit", "200", "--quiet"]
    explain = [*run, "--only", "explainability", "--set", "explainability.rows=40"]
    private = [*run, "--train-dataset", str(loans.train), "--only", "privacy", "--epsilon", "8"]
    unexplained, explained, by_deep_lift, retrained = imported_by(
        tmp_path,
        [*run, "--skip", "proxies", "--skip", "explainability", "--out", str(tmp_path / "unexplained")],
        [*explain, "--out", str(tmp_path / "explained")],
        [*explain, "--explain", "deep_lift", "--out", str(tmp_path / "by_deep_lift")],
        [*private, "--out", str(tmp_path / "private")],
    )
    assert "torch" in unexplained
    # The fairness auditor checks its rates against Fairlearn.
    assert unexplained & {"opacus", "captum", COMPILER} == set()
    # Attributions are checked against Captum.
    assert explained & {"opacus", "captum", COMPILER} == {"captum"}
    assert by_deep_lift & {"opacus", "captum"} == {"captum"}
    assert "opacus" in retrained
