"""What somebody meets who knows no command yet: the list of commands, and where a mistake sends them."""

from __future__ import annotations

import re

import pytest
from typer.main import get_command

from auditkit.cli import app, call
from auditkit.config import AuditConfig
from auditkit.config_settings import settings_of

Said = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("TERMINAL_WIDTH", raising=False)


@pytest.mark.parametrize("group", [(), ("schema",)])
def test_the_list_of_commands_says_each_in_a_whole_sentence(group: tuple[str, ...], capsys: Said) -> None:
    assert call([*group, "--help"]) == 0
    listed = capsys.readouterr().out.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert len(listed) == (1 if group else 23)
    assert [line for line in listed if not re.fullmatch(r"  [a-z]+ +[A-Z].*[^.]\.", line)] == []


def test_the_many_options_of_run_stand_under_headings(capsys: Said) -> None:
    run = get_command(app).commands["run"]  # type: ignore[attr-defined]  # typer's stubs say Command
    assert call(["run", "--help"]) == 0
    help_text = capsys.readouterr().out
    headings = re.findall(r"^(\w[\w ]*):$", help_text, re.MULTILINE)
    sections = dict.fromkeys(setting.heading for setting in settings_of(AuditConfig).values())
    assert headings == ["Arguments", *sections, "Configuration"]
    assert len(re.findall(r"^  --", help_text, re.MULTILINE)) == len(run.params)  # --help stands for the argument


def test_no_option_shows_a_type_of_python(capsys: Said) -> None:
    for name in (*get_command(app).commands, "schema infer"):  # type: ignore[attr-defined]  # typer's stubs say Command
        assert call([*name.split(), "--help"]) == 0
        assert re.findall(r"<(?:str|int range|float|list\[\w+\])>", capsys.readouterr().out) == [], name


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["run", "model.pt"], "Missing option '--dataset'; see 'auditkit run --help'."),
        (["schema", "infer"], "Missing argument 'dataset'; see 'auditkit schema infer --help'."),
        (["runn"], "No such command 'runn'. Did you mean 'run'?; see 'auditkit --help'."),
        (
            ["index", "--lang", "de"],
            "Invalid value for '--lang': 'de' is not one of 'en', 'zh'; see 'auditkit index --help'.",
        ),
    ],
)
def test_a_usage_error_sends_to_the_help_of_its_command(command: list[str], message: str, capsys: Said) -> None:
    assert call(command) == 2
    assert capsys.readouterr().err == f"auditkit: {message}\n"
