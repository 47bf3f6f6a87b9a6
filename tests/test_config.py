"""One request: every field is an option, a key, a variable, an argument of Python and an entry of the record."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import tomllib
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from loans import Loans

import auditkit
from auditkit.cli import call
from auditkit.config import AuditConfig, AuditorsConfig, configured
from auditkit.config_settings import Setting, settings_of
from auditkit.config_sources import PREFIX, resolve
from auditkit.config_text import describe, toml_value
from auditkit.engine.audit import audit
from auditkit.engine.auditor import installed
from auditkit.errors import InputError
from auditkit.evidence.report import Report, read_report, results_schema

Said = pytest.CaptureFixture[str]
SETTINGS = settings_of(AuditConfig)


def example(setting: Setting) -> Any:
    """Return a value that a field can have and does not have by itself."""
    kind = setting.types[0]
    if dict[str, str] in setting.types:
        return {"age": "25,45"}
    if dict[str, Any] in setting.types and not setting.is_path:
        return {"hidden": 64}
    if setting.item is not None:
        return [4.5, 6.5] if setting.item is float else ["a", "b c"]
    if get_origin(kind) is Literal:
        return next(choice for choice in get_args(kind) if choice != setting.field.default)
    if kind in (bool, int, float):
        return {bool: True, int: 7, float: 0.75}[kind]
    return "multiclass" if setting.name == "task" else "some/text"


def as_text(value: Any) -> str:
    if isinstance(value, dict):
        return json.dumps(value)
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def as_options(setting: Setting, value: Any) -> list[str]:
    option = f"--{setting.name.replace('_', '-')}"
    if value is True:
        return [option]
    if setting.repeatable:
        parts = [f"{key}={rule}" for key, rule in value.items()] if isinstance(value, dict) else map(str, value)
        return [word for part in parts for word in (option, part)]
    return [option, as_text(value)]


def found(config: AuditConfig, setting: Setting) -> Any:
    document = config.model_dump(by_alias=True, mode="json")
    for part in setting.place:
        document = document[part]
    return document


@pytest.mark.parametrize("name", [name for name in SETTINGS if name != "config"])
def test_every_field_is_an_option_a_key_a_variable_an_argument_and_a_record(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    monkeypatch.chdir(tmp_path)
    setting, value = SETTINGS[name], example(SETTINGS[name])
    *tables, key = setting.place
    file = tmp_path / "auditkit.toml"
    file.write_text(f"[{'.'.join(tables)}]\n{json.dumps(key)} = {toml_value(value)}\n")
    pyproject = tmp_path / "pyproject.toml"
    by_file = resolve(environment={})
    assert found(by_file.config, setting) == value
    assert by_file.origin(setting.place) == "auditkit.toml, line 2"
    pyproject.write_text(f"[tool.auditkit.{'.'.join(tables)}]\n{json.dumps(key)} = {toml_value(value)}\n")
    assert found(resolve(file=pyproject, environment={}).config, setting) in (value, str(tmp_path / str(value)))
    file.unlink()
    pyproject.unlink()
    variable = f"{PREFIX}{name.upper()}"
    by_variable = resolve(environment={variable: as_text(value)})
    assert found(by_variable.config, setting) == value
    assert by_variable.origin(setting.place) == f"environment, {variable}"
    command = ["config", as_text(value)] if name == "model" else ["config", *as_options(setting, value)]
    assert call(command) == 0
    printed = capsys.readouterr().out
    assert f"{key} = {toml_value(found(by_file.config, setting))}" in printed
    line = next(line for line in printed.splitlines() if line.startswith(f"{key} = ") and "command line" in line)
    assert line.endswith("# command line")
    by_python = configured(options={name: value})
    assert found(by_python, setting) == value
    assert name in inspect.signature(audit).parameters or name in ("dataset", "train_dataset")
    assert AuditConfig.model_validate_json(by_python.model_dump_json(by_alias=True)) == by_python


def test_every_field_has_its_line_in_the_help_of_run_and_inspect(monkeypatch: pytest.MonkeyPatch, capsys: Said) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for command in ("run", "inspect", "config"):
        assert call([command, "--help"]) == 0
        text = capsys.readouterr().out
        words = " ".join(text.split())
        for name, setting in SETTINGS.items():
            option = "model" if name == "model" else f"--{name.replace('_', '-')}"
            assert re.search(rf"^  {option}\b", text, re.MULTILINE), name
            assert " ".join(setting.option.help.split()) in words, name


def test_the_record_states_every_field() -> None:
    document = json.loads(AuditConfig().model_dump_json())
    for setting in SETTINGS.values():
        assert found(AuditConfig(), setting) == json.loads(json.dumps(setting.field.default))
    assert set(document) == set(AuditConfig.model_fields)
    assert "AuditConfig" in results_schema()["$defs"]


def test_the_defaults_of_auditors_are_those_of_their_classes() -> None:
    for name, field in AuditorsConfig.model_fields.items():
        kind = installed()[name].load()
        defaults = {
            one.name: one.default_factory() if one.default is dataclasses.MISSING else one.default  # type: ignore[operator]  # mypy takes the mark for the factory
            for one in dataclasses.fields(kind)
        }
        section = field.default
        for key in type(section).model_fields:
            assert (getattr(section, key) or None) == (defaults[key] or None), f"{name}.{key}"


def test_the_command_line_outranks_the_environment_and_that_the_file(tmp_path: Path) -> None:
    file = tmp_path / "auditkit.toml"
    file.write_text('[run]\nseed = 1\n[data]\nlimit = 10\n[model]\ntask = "binary"\n[auditors.leakage]\nshadows = 2\n')
    variables = {"AUDITKIT_SEED": "2", "AUDITKIT_LIMIT": "20", "AUDITKIT_LEAKAGE__SHADOWS": "4", "AUDITKIT_POLICY": ""}
    found = resolve({"seed": 3}, settings=["leakage.shadows=6"], file=file, environment=variables)
    assert (found.config.run.seed, found.config.data.limit, found.config.model.task) == (3, 20, "binary")
    assert found.config.auditors.leakage.shadows == 6
    assert found.origin(("model", "task")) == f"{file}, line 6"
    assert found.origin(("data", "limit")) == "environment, AUDITKIT_LIMIT"
    assert found.origin(("policy", "policy")) == "default"


def test_what_config_prints_is_read_as_the_same_request(tmp_path: Path) -> None:
    settings = ["weak_spots.quantiles=7", "explainability.rows=50"]
    first = resolve({"sensitive": ["a", "b,c"], "bins": {"a": "1,2"}, "where": 'x == "y"'}, settings=settings)
    (tmp_path / "again.toml").write_text(describe(first))
    again = resolve(file=tmp_path / "again.toml", environment={})
    assert tomllib.loads(describe(first))["groups"]["sensitive"] == ["a", "b,c"]
    assert again.config.groups == first.config.groups
    assert again.config.data.where == 'x == "y"'
    assert again.config.auditors.given("weak_spots") == {"quantiles": "7"}


WRONG = {
    "section": ("[modle]\n", [], "auditkit.toml, line 1: unknown key 'modle' (did you mean 'model'?)"),
    "key": ("[data]\n\nlimt = 3\n", [], "auditkit.toml, line 3: unknown key 'limt' in [data] (did you mean 'limit'?)"),
    "key of another table": (
        '[model]\ndataset = "x"\n',
        [],
        "auditkit.toml, line 2: unknown key 'dataset' in [model]; write dataset in [data].",
    ),
    "dotted key": ("data.limt = 3\n", [], "auditkit.toml, line 1: unknown key 'limt'"),
    "type": ('[data]\nlimit = "many"\n', [], "auditkit.toml, line 2: limit must be a whole number, got 'many'."),
    "bound": ("[run]\nseed = -1\n", [], "auditkit.toml, line 2: seed must be at least 0, got -1."),
    "choice": ('[run]\ndevice = "gpu"\n', [], "line 2: device must be one of auto, cpu, cuda, got 'gpu'."),
    "table": ("run = 3\n", [], "auditkit.toml, line 1: run must be a table; write [run]."),
    "toml": ("[run\n", [], "not valid TOML"),
    "auditor": ("[auditors.leakige]\nshadows = 2\n", [], "line 2: unknown auditor 'leakige' (did you mean 'leakage'?)"),
    "setting": (
        "[auditors.weak_spots]\nquantile = 2\n",
        [],
        "line 2: unknown setting 'weak_spots.quantile' (did you mean 'quantiles'?); its settings are quantiles.",
    ),
    "setting of a section": ("[auditors.leakage]\nshadow = 2\n", [], "line 2: unknown setting 'leakage.shadow' (did"),
    "type of a setting": (
        '[auditors.weak_spots]\nquantiles = "few"\n',
        [],
        "auditkit.toml, line 2: weak_spots.quantiles must be a whole number, got 'few'.",
    ),
    "set": ("", ["--set", "leakage=3"], "--set must be AUDITOR.SETTING=VALUE"),
    "set unknown": ("", ["--set", "leakage.shadow=3"], "unknown setting 'leakage.shadow' (did you mean 'shadows'?)"),
    "set type": ("", ["--set", "leakage.shadows=four"], "shadows must be a whole number, got 'four'."),
    "set of no auditor": ("", ["--set", "robust.rows=4"], "unknown auditor 'robust' (did you mean 'robustness'?)"),
    "no such file": ("", ["--config", "none.toml"], "configuration none.toml: No such file or directory"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_no_request_can_state_is_one_line_with_its_place(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    text, flags, words = WRONG[case]
    monkeypatch.chdir(tmp_path)
    if text:
        Path("auditkit.toml").write_text(text)
    for command in ("config", "run"):
        assert call([command, *(["--dataset", "x.csv"] if command == "run" else []), *flags]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert len(err.splitlines()) == 1
        assert words in err


def test_an_unknown_variable_is_named_with_the_closest(monkeypatch: pytest.MonkeyPatch, capsys: Said) -> None:
    monkeypatch.setenv("AUDITKIT_POLCY", "strict.toml")
    assert call(["config"]) == 2
    assert "unknown variable AUDITKIT_POLCY (did you mean 'AUDITKIT_POLICY'?)" in capsys.readouterr().err
    monkeypatch.delenv("AUDITKIT_POLCY")
    monkeypatch.setenv("AUDITKIT_SEED", "one")
    assert call(["config"]) == 2
    assert "environment, AUDITKIT_SEED: seed must be a whole number, got 'one'." in capsys.readouterr().err


def test_a_run_from_a_file_and_its_replay(loans: Loans, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("auditkit.toml").write_text(
        f'[model]\nmodel = "{loans.model}"\n[data]\ndataset = "{loans.test}"\nwhere = "income > 20"\n'
        '[run]\nonly = ["performance", "weak_spots"]\n[report]\nout = "out"\nquiet = true\nto = ["markdown"]\n'
        "[groups]\nintersections = 1\n[auditors.weak_spots]\nquantiles = 3\n"
    )
    assert call(["run", "--no-quiet", "--seed", "4"]) in (0, 1, 3)
    assert {path.name for path in Path("out").iterdir()} == {
        "results.json",
        "summary.md",
        "manifest.json",
    }
    report = read_report("out/results.json")
    assert report.config.data.where == "income > 20"
    assert report.config.run.seed == report.environment.seed == 4
    settings = {outcome.auditor: outcome.settings for outcome in report.outcomes if outcome.settings}
    assert settings == {"performance": {"intersections": 1}, "weak_spots": {"quantiles": 3}}
    Path("auditkit.toml").unlink()
    assert call(["replay", "out", "--model", str(loans.model), "--dataset", str(loans.test), "--quiet"]) == 0


def test_a_record_of_version_1_states_its_request_as_asked(loans: Loans) -> None:
    report = audit(loans.model, loans.test, only=["performance"], where="income > 20", limit=600, device="cpu")
    document = json.loads(report.to_json())
    for name in ("verdict", "exit_code"):
        document.pop(name)
    for outcome in document["outcomes"]:
        outcome.pop("verdict")
    document.pop("config")
    document["asked"] = {"where": "income > 20", "limit": 600, "encoding": "utf-8", "classes": None, "gone": 1}
    old = Report.model_validate(document)
    assert (old.config.data.where, old.config.data.limit) == ("income > 20", 600)


def test_python_takes_the_request_and_names_what_it_does_not_know(loans: Loans) -> None:
    config = AuditConfig.model_validate({"data": {"limit": 300}, "run": {"only": "performance", "device": "cpu"}})
    report = auditkit.audit(loans.model, loans.test, config=config, sensitive="group")
    assert report.subject.sensitive == ("group",)
    assert report.subject.dataset.audited_row_count == 300
    assert report.config.data.dataset == loans.test
    with pytest.raises(InputError, match=r"unknown option 'limt' \(did you mean 'limit'\?\)"):
        auditkit.audit(loans.model, loans.test, limt=3)
    with pytest.raises(InputError, match="limit must be at least 1, got 0"):
        auditkit.audit(loans.model, loans.test, limit=0)
    with pytest.raises(InputError, match=r"unknown setting 'leakage.shadow' \(did you mean 'shadows'\?\)"):
        auditkit.audit(loans.model, loans.test, settings={"leakage": {"shadow": 4}})
