"""action.yml, the GitLab template and the pre-commit hook, each run the way its host runs it."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from auditkit.evidence.integrity import sealed
from auditkit.evidence.report import Report

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "tests/schemas"

POLICY = """name = "mine"

[[limit]]
measurement = "performance.accuracy"
at_least = 0.5
rationale = "holds"

[[limit]]
measurement = "fairness.demographic_parity_difference"
by = "*"
at_most = 0.1
rationale = "is broken"
"""
WAIVERS = """[[waiver]]
id = "W-1"
measurement = "fairness.demographic_parity_difference"
by = "*"
owner = "o"
approver = "a"
statement = "known"
expires = 9999-12-31
"""


@pytest.fixture
def folder(tmp_path: Path, report: Report) -> Path:
    """A checkout with a report and a policy that it breaks, in files whose names a shell would take apart."""
    for name, content in sealed({"my results.json": report.to_json()}, run_id=report.run_id).items():
        (tmp_path / name).write_text(str(content), encoding="utf-8")
    (tmp_path / "policy $(touch x).toml").write_text(POLICY, encoding="utf-8")
    (tmp_path / "waivers.toml").write_text(WAIVERS, encoding="utf-8")
    return tmp_path


def environment(**more: str) -> dict[str, str]:
    keep = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
    return {**keep, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **more}


def load(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def run_action(folder: Path, **inputs: str) -> tuple[int, str, dict[str, str], str]:
    """Run action.yml's steps as the runner does; return exit code, log, outputs and the step summary."""
    action = load("action.yml")
    given = {name: declared.get("default", "") for name, declared in action["inputs"].items()} | inputs
    output, summary = folder / ".output", folder / ".summary"
    output.write_text("")
    summary.write_text("")
    log = ""
    for step in action["runs"]["steps"]:
        assert step["shell"] == "bash"
        assert "${{" not in step["run"], "an expression in a script is an injection"
        env = {
            name: re.sub(r"\$\{\{ inputs\.([a-z-]+) \}\}", lambda match: given[match[1]], value)
            for name, value in step.get("env", {}).items()
        }
        assert not any("${{" in value for value in env.values())
        script = folder / ".step.sh"
        script.write_text(step["run"])
        host = {"GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(summary), "GITHUB_ACTION_PATH": str(ROOT)}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=folder,
            env=environment(**host, **env),
            capture_output=True,
            text=True,
            check=False,
        )
        log += done.stdout + done.stderr
        if done.returncode:
            break
    outputs = dict(line.split("=", 1) for line in output.read_text().splitlines())
    return done.returncode, log, outputs, summary.read_text()


def test_the_action_annotates_summarises_and_fails(folder: Path) -> None:
    code, log, outputs, summary = run_action(folder, results="my results.json", policy="policy $(touch x).toml")
    assert code == 1
    assert outputs == {"verdict": "fail", "exit-code": "1", "sarif": "auditkit-gate/results.sarif"}
    assert "::error file=policy $(touch x).toml,line=8,title=Fail%3A Demographic parity difference::" in log
    assert summary.startswith("## ❌ Fail")
    assert {path.name for path in (folder / "auditkit-gate").iterdir()} == {
        "results.json",
        "report.html",
        "junit.xml",
        "summary.md",
        "results.sarif",
        "manifest.json",
    }
    assert not (folder / "x").exists(), "an input was run as code"


def test_the_action_passes_its_optional_inputs_on(folder: Path) -> None:
    code, log, outputs, _ = run_action(
        folder,
        results="my results.json",
        policy="policy $(touch x).toml",
        waivers="waivers.toml",
        baseline="my results.json",
        strict="true",
        out="else where",
    )
    assert (code, outputs["verdict"], outputs["sarif"]) == (0, "pass", "else where/results.sarif")
    assert "::notice" in log
    judged = json.loads((folder / "else where/results.json").read_text())
    assert (judged["strict"], judged["waivers"][0]["id"]) == (True, "W-1")
    assert judged["baseline"]["path"] == "my results.json"


def test_the_action_says_what_is_wrong_with_its_inputs(folder: Path) -> None:
    (folder / "auditkit-gate").mkdir(exist_ok=True)
    (folder / "auditkit-gate/results.sarif").write_text("{}")  # of an earlier step
    code, log, outputs, _ = run_action(folder, results="absent.json")
    assert (code, outputs) == (2, {"verdict": "error", "exit-code": "2"}), "there is no SARIF file to upload"
    assert "absent.json" in log
    code, log, outputs, _ = run_action(folder, results="--help")
    assert code == 2, "a file's name is no option"


def run_template(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    job = load("ci/gitlab.yml")[".auditkit-gate"]
    return subprocess.run(
        ["bash", "-c", "set -eo pipefail\n" + "\n".join(job["script"])],
        cwd=folder,
        env=environment(**{**job["variables"], **variables}),
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_gitlab_template_fails_with_its_reports_in_place(folder: Path) -> None:
    named = {"AUDITKIT_RESULTS": "my results.json", "AUDITKIT_POLICY": "policy $(touch x).toml"}
    done = run_template(folder, **named)
    assert done.returncode == 1, done.stderr
    job = load("ci/gitlab.yml")[".auditkit-gate"]
    for report in job["artifacts"]["reports"].values():
        assert (folder / report.replace("$AUDITKIT_OUT", "auditkit-gate")).stat().st_size > 0
    assert run_template(folder, **named, AUDITKIT_WAIVERS="waivers.toml", AUDITKIT_OUT="b").returncode == 0
    assert run_template(folder, **named, AUDITKIT_BASELINE="absent.json", AUDITKIT_OUT="c").returncode == 2
    assert not (folder / "x").exists()


def test_the_hook_runs_on_what_it_gates(folder: Path) -> None:
    (hook,) = load(".pre-commit-hooks.yaml")
    command = [*shlex.split(hook["entry"]), "my results.json", "--policy", "policy $(touch x).toml"]
    assert hook["pass_filenames"] is False
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "FAIL" in done.stdout
    for path, gated in (("results.json", True), ("a/policy.toml", True), ("waivers-eu.toml", True), ("x.py", False)):
        assert bool(re.search(hook["files"], path)) is gated


@pytest.mark.parametrize(
    ("name", "schema"), [("action.yml", "github-action.json"), ("ci/gitlab.yml", "gitlab-ci.json")]
)
def test_the_files_fit_their_hosts_schemas(name: str, schema: str) -> None:
    published = json.loads((SCHEMAS / schema).read_text(encoding="utf-8"))
    jsonschema.Draft7Validator(published).validate(load(name))
