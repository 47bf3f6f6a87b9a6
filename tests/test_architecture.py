"""The floors of docs/architecture.md: a file imports only from floors below its own."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import auditkit

ROOT = Path(auditkit.__file__).parent
FLOORS = {
    "errors": 0,
    "output": 1,
    "progress": 0,
    "evidence": 1,
    "metrics": 2,
    "subject": 3,
    "training": 4,
    "attribution": 4,
    "perturbation": 4,
    "auditors": 5,
    "render": 5,
    "compliance": 2,
    "loading": 6,
    "recording": 6,
    "run": 7,
    "inspection": 6,
    "replay": 8,
    "terminal": 8,
    "demo": 8,
    "cli": 9,
    "__main__": 10,
}
# A notebook asks the report itself for its picture: see Report._repr_html_.
EXCEPTIONS = {("evidence/report.py", "auditkit.render.html")}
FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names.add(node.module or "")
            if node.module == "auditkit":
                names |= {f"auditkit.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_from_floors_below(path: Path) -> None:
    relative = path.relative_to(ROOT)
    part = relative.parts[0].removesuffix(".py")
    for name in imported(path):
        words = name.split(".")
        if words[0] != "auditkit" or len(words) == 1 or (str(relative), name) in EXCEPTIONS:
            continue
        assert words[1] == part or FLOORS[words[1]] < FLOORS[part], f"{relative} imports {name}"


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("auditkit.cli", {"torch", "pandas", "numpy", "rich.progress", "pydantic"}),
        ("auditkit.evidence.report", {"torch", "pandas", "fairlearn"}),
        ("auditkit.render", {"torch", "pandas", "matplotlib"}),
        ("auditkit", {"torch", "pandas", "numpy", "pydantic"}),
    ],
)
def test_what_a_module_does_not_import(module: str, absent: set[str]) -> None:
    script = f"import sys, {module}; print(*sorted({absent!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_every_public_name_is_there() -> None:
    for name in auditkit.__all__:
        assert getattr(auditkit, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = auditkit.nothing
