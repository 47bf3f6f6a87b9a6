"""The layers of docs/architecture.md: a file imports only from layers below its own, and no auditor another."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import auditkit

ROOT = Path(auditkit.__file__).parent
LAYERS = [
    {"errors", "progress"},
    {"budgets"},
    {"files"},
    {"private"},
    {"plugins", "run_folder", "config"},
    {"config_sources"},
    {"config_text"},
    {"evidence"},
    {"stats"},
    {"data"},
    {"schema"},
    {"tasks"},
    {"models"},
    {"training"},
    {"engine"},
    {"auditors"},
    {"compliance"},
    {"render"},
    {"demo", "terminal", "installation", "testing"},
    {"cli"},
    {"__main__"},
]
LAYER_OF = {name: number for number, names in enumerate(LAYERS) for name in names}
FILES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")
FOLDERS = sorted({path.parent for path in FILES if path.parent != ROOT})


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
def test_a_file_imports_only_from_layers_below(path: Path) -> None:
    relative = path.relative_to(ROOT)
    part = relative.parts[0].removesuffix(".py")
    for name in imported(path):
        words = name.split(".")
        if words[0] != "auditkit" or len(words) == 1:
            continue
        assert words[1] == part or LAYER_OF[words[1]] < LAYER_OF[part], f"{relative} imports {name}"
        if words[1] == part == "auditors":
            assert words[2] == relative.parts[1], f"{relative} imports another auditor's {name}"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_folder_says_its_purpose_in_one_sentence(folder: Path) -> None:
    purpose = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))
    assert purpose is not None
    first = purpose.split("\n\n")[0]
    assert first.endswith("."), folder
    assert first.count(". ") == 0, folder


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
