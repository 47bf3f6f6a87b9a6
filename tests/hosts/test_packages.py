"""The package as others install it: the gate without torch, the wheel, the image, the workflow that publishes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml
from counted import counted_report

from auditkit.evidence.gate import judge_report
from auditkit.evidence.report import Report

ROOT = Path(__file__).parents[2]
GATE = ROOT / "ci/gate-requirements.txt"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
ALONE = """
import sys
from importlib.abc import MetaPathFinder

allowed = set(sys.argv[1].split(","))

class Bare(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in allowed and top not in sys.stdlib_module_names and not top.startswith("_sysconfigdata"):
            raise ModuleNotFoundError(f"a bare environment has no {top}", name=top)

sys.meta_path.insert(0, Bare())
from auditkit.cli import call
sys.exit(call(sys.argv[2:]))
"""


def pins() -> dict[str, str]:
    lines = [line for line in GATE.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("==") for line in lines)


def test_the_pins_of_the_gate_are_those_of_the_lock_and_of_the_template() -> None:
    lock = locked("requirements.lock")
    assert {name: lock.get(re.sub("[-_.]+", "-", name).lower()) for name in pins()} == pins()
    (install,) = yaml.safe_load((ROOT / "ci/gitlab.yml").read_text())[".auditkit-gate"]["before_script"]
    assert "\n" not in install
    assert re.findall(r"[\w.-]+==[\d.]+", install) == [f"{name}=={version}" for name, version in pins().items()]


def test_the_gate_reads_a_report_of_its_own_version_without_numpy(tmp_path: Path) -> None:
    """What it cannot compute again from counts there, it says first."""
    whole = counted_report()
    report = judge_report(whole, whole.policy)
    (tmp_path / "results.json").write_text(report.to_json())
    modules = {name.replace("-", "_").lower() for name in pins()} | {"auditkit", "markdown_it", "PIL"}
    command = [sys.executable, "-c", ALONE, ",".join(modules), "gate", "results.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == report.gate().exit_code, done.stderr
    assert "Unauthenticated" in done.stdout.strip().splitlines()[0]


@pytest.mark.parametrize("format", ["text", "github", "json"])
def test_the_gate_imports_nothing_but_its_pins(format: str, report: Report, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(report.to_json())
    modules = {name.replace("-", "_").lower() for name in pins()} | {"auditkit", "markdown_it", "PIL"}
    command = ["gate", "results.json", "--baseline", "results.json", "--out", "out", "--format", format]
    command += ["--to", "html,junit,markdown,sarif,gitlab"]
    done = subprocess.run(
        [sys.executable, "-c", ALONE, ",".join(modules), *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == report.gate().exit_code, done.stderr
    assert (tmp_path / "out/report.html").stat().st_size > 10_000
    assert "no module" not in done.stderr.lower()


def test_the_workflow_publishes_a_tag_that_is_the_version_with_notes() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/publish.yml").read_text())
    assert workflow[True] == {"push": {"tags": ["v*"]}}  # YAML 1.1 reads the key `on` as true
    assert workflow["permissions"] == {}
    assert "id-token" not in str(workflow), "nothing goes to PyPI, where the name belongs to another project"
    assert (ROOT / f"docs/releases/{VERSION}.md").read_text().startswith(f"# auditkit {VERSION}\n")
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            assert "${{" not in step.get("run", ""), "an expression in a script is an injection"


def test_the_image_copies_what_the_wheel_is_built_of() -> None:
    text = (ROOT / "Dockerfile").read_text()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    locks = ("ci/torch-cpu.lock", "ci/torch-pypi.lock", "ci/run.lock")
    for name in ("auditkit", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", *locks):
        assert name in text
        assert f"!{name}" in ignored
    assert "USER auditor" in text


LOCKS = ("requirements.lock", "ci/torch-cpu.lock", "ci/torch-pypi.lock", "ci/run.lock")


def locked(name: str) -> dict[str, str]:
    """Return the versions that a lock states, by package."""
    found = re.findall(r"^([a-z0-9_.-]+)==(\S+)", (ROOT / name).read_text(), flags=re.MULTILINE)
    assert found
    assert len(dict(found)) == len(found)
    return dict(found)


def test_every_pin_has_hashes() -> None:
    for name in LOCKS:
        text = (ROOT / name).read_text().replace(" \\\n", " ")
        entries = [line for line in text.splitlines() if line and not line.startswith("#")]
        assert [line for line in entries if not re.search(r"==\S+.*?( +--hash=sha256:[0-9a-f]{64})+$", line)] == []
    assert "--hash" not in (ROOT / "Dockerfile").read_text().replace("--require-hashes", "")
    assert all("--require-hashes" in line for line in (ROOT / "Makefile").read_text().splitlines() if "-r ci/" in line)


def test_the_locks_agree() -> None:
    whole, torch = locked("requirements.lock"), locked("ci/torch-pypi.lock")
    assert locked("ci/torch-cpu.lock") == {"torch": "2.13.0"} == {"torch": torch["torch"]}
    known = {**whole, **{name: version for name, version in torch.items() if name not in whole}}
    for name in ("ci/run.lock", "ci/torch-pypi.lock"):
        assert {package: known[package] for package in locked(name)} == locked(name)
    assert "torch" not in locked("ci/run.lock")
    for name in ("numpy", "opacus", "cryptography", "weasyprint"):
        assert name in locked("ci/run.lock")
    assert "TORCH := torch==2.13.0\n" in (ROOT / "Makefile").read_text()


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder


def test_the_bill_of_materials_is_valid_and_names_what_the_wheel_needs(dist: Path) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    wheel = next(dist.glob("*.whl"))
    made = subprocess.run([sys.executable, ROOT / "ci/sbom.py", wheel], check=True, capture_output=True, text=True)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(made.stdout) is None
    bill = json.loads(made.stdout)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert bill["metadata"]["component"]["hashes"] == [{"alg": "SHA-256", "content": digest}]
    needs = next(part["dependsOn"] for part in bill["dependencies"] if part["ref"] == "auditkit")
    assert {"torch", "pydantic", "pyarrow", "opacus"} <= set(needs)
    assert "pytest" not in {part["name"] for part in bill["components"]}


def test_what_no_database_told_is_no_clean_bill(tmp_path: Path) -> None:
    def told(*listed: dict[str, object]) -> int:
        (tmp_path / "f.json").write_text(json.dumps({"dependencies": listed}))
        command = [sys.executable, str(ROOT / "ci/advisories.py"), str(tmp_path / "f.json")]
        return subprocess.run(command, check=False, capture_output=True).returncode

    clean: dict[str, object] = {"name": "a", "version": "1", "vulns": []}
    unknown: dict[str, object] = {"name": "b", "skip_reason": "not found"}
    bad: dict[str, object] = {"name": "c", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": []}]}
    assert (told(clean), told(clean, unknown), told(clean, unknown, bad)) == (0, 3, 1)
    absent = [sys.executable, str(ROOT / "ci/advisories.py"), str(tmp_path / "absent.json")]
    assert subprocess.run(absent, check=False, capture_output=True).returncode == 3


def test_wheel_and_sdist_hold_the_whole_package(dist: Path) -> None:
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    source = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "auditkit").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert source <= names
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert source | {"README.md", "LICENSE", "pyproject.toml"} <= packed


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz"])
def test_the_gate_in_a_bare_environment(kind: str, dist: Path, report: Report, tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=True)
    python = tmp_path / "bare/bin/python"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for what in (["-r", str(GATE)], [str(next(dist.glob(kind)))]):
        command = [str(python), "-m", "pip", "install", "--quiet", "--no-deps", *what]
        subprocess.run(command, check=True, env=environment, timeout=1800)
    (tmp_path / "results.json").write_text(report.to_json())
    done = subprocess.run(
        [tmp_path / "bare/bin/auditkit", "gate", "results.json", "--out", "out"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == report.gate().exit_code, done.stderr
    doctor = subprocess.run([tmp_path / "bare/bin/auditkit", "doctor"], capture_output=True, text=True, check=True)
    assert "'auditkit gate' works" in doctor.stdout


BY_NAME = re.compile(r"\b(pip|pipx|uv pip) (install|run)\b[^\n`]*\s[\"']?auditkit(\[|==|[\"'`\s]|$)", re.MULTILINE)
"""An installation of whatever PyPI has under the name."""


def test_nothing_installs_the_project_that_has_the_name_on_pypi() -> None:
    for line in ("pip install auditkit", "pip install 'auditkit[hf]'", "pip install --no-deps auditkit==0.2.0"):
        assert BY_NAME.search(line)
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    kept = ("docs/decisions/0043-the-name-on-pypi-is-taken.md", "tests/hosts/test_packages.py")
    suffixes = {".py", ".md", ".yml", ".toml", ".ipynb", ".po", ".jinja", ""}
    for name in listed:
        if name not in kept and Path(name).suffix in suffixes and (ROOT / name).is_file():
            found = BY_NAME.search((ROOT / name).read_text(encoding="utf-8"))
            assert found is None, f"{name}: {found and found[0]}"
