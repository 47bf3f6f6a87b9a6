"""The first minutes: what init writes is read and runs, and what doctor says."""

from __future__ import annotations

import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from auditkit import extras
from auditkit.cli import call
from auditkit.config import AuditConfig
from auditkit.config_settings import settings_of
from auditkit.config_sources import resolve
from auditkit.config_text import template
from auditkit.evidence.policy import default_policy, read_policy
from auditkit.evidence.report import read_report

Said = pytest.CaptureFixture[str]


def test_the_example_runs_at_once_and_finds_what_was_planted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(["init", "--example"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "policy.toml",
        "decisions.csv",
        "auditkit.toml",
        "Next: auditkit run",
    ]
    assert call(["run", "--out", "out"]) == 1
    report = read_report("out/results.json")
    assert report.policy.name == "policy"
    assert report.policy.sha256 == read_policy("policy.toml").sha256
    gap = report.measurement("fairness.demographic_parity_difference", ("sex",))
    assert gap is not None
    assert gap.value is not None
    assert 0.05 < gap.value < 0.4
    assert call(["init"]) == 2
    assert "is there already" in capsys.readouterr().err


def test_the_template_explains_every_option_and_states_none(tmp_path: Path) -> None:
    path = tmp_path / "auditkit.toml"
    path.write_text(template({}))
    assert "occlusion, ... Default: by kind of model." in path.read_text(), "what ends in dots keeps them"
    assert resolve(file=path, environment={}).config == AuditConfig()
    for setting in settings_of(AuditConfig).values():
        assert f"# {setting.option.help.rstrip('.')}." in path.read_text()
        assert f"\n# {setting.place[-1]} = " in path.read_text()


def test_a_default_in_the_template_is_the_default(tmp_path: Path) -> None:
    lines = template({}).splitlines()
    for setting in settings_of(AuditConfig).values():
        if setting.field.default in (None, ()):
            continue
        stated = [line for line in lines if line.startswith(f"# {setting.place[-1]} = ")]
        values = [tomllib.loads(line.removeprefix("# "))[setting.place[-1]] for line in stated]
        default = setting.field.default
        assert (list(default) if isinstance(default, tuple) else default) in values


def test_init_writes_into_a_folder_or_one_policy(tmp_path: Path, capsys: Said) -> None:
    assert call(["init", str(tmp_path / "new")]) == 0
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"auditkit.toml", "policy.toml"}
    assert f"Next, in {tmp_path / 'new'}: auditkit run" in capsys.readouterr().out
    assert call(["init", str(tmp_path / "mine.toml")]) == 0
    assert read_policy(tmp_path / "mine.toml").name == "mine"
    assert len(read_policy(tmp_path / "mine.toml").limits) == len(default_policy().limits)
    assert call(["init", str(tmp_path / "other"), "--profile", "none"]) == 2
    assert not (tmp_path / "other").exists()


def test_doctor_lists_packages_extras_and_the_device(capsys: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(["doctor"]) == 0
    said = capsys.readouterr().out
    assert f"auditkit {version('auditkit')}" in said
    assert f"torch              {version('torch')}" in said
    assert "extra pdf" in said
    assert "device: c" in said
    monkeypatch.setattr(extras, "installed_version", lambda package: None)
    assert call(["doctor"]) == 0
    said = capsys.readouterr().out
    assert "Not installed: babel, captum, " in said
    assert "audits need: pip install 'babel>=" in said
    assert "not installed; pip install 'weasyprint>=" in said


def test_every_extra_says_what_it_brings() -> None:
    assert set(extras.needed()[1]) <= set(extras.BRINGS)


def test_the_list_of_auditors_shows_settings_as_they_are_stated(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["auditors"]) == 0
    listed = capsys.readouterr().out
    assert "  setting  population = none\n" in listed
    assert "MISSING" not in listed
    assert "measures fairness.selection_rate\n" in listed
