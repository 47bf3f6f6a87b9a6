"""What people and programs write into TOML and JSON: no text or boolean stands for a number, and nothing is blank."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from counted import counted_report
from sample import build_report

from auditkit.cli import call
from auditkit.config import configured
from auditkit.config_sources import resolve
from auditkit.engine.settings import check_settings
from auditkit.errors import InputError
from auditkit.evidence.policy import check_measurements_exist, parse_policy
from auditkit.evidence.report import read_report
from auditkit.evidence.waivers import parse_waivers
from auditkit.schema.infer import numeric_schema
from auditkit.schema.schema import read_schema

LIMIT = {"measurement": '"performance.accuracy"', "at_least": "0.5", "rationale": '"r"'}
WAIVER = {
    "id": '"w"', "measurement": '"performance.accuracy"', "owner": '"o"', "approver": '"a"', "statement": '"s"',
    "expires": "2027-01-31",
}  # fmt: skip
NO_NUMBERS = ('"0.5"', '""', "true", "nan", "inf", "1e400", "1" + "0" * 400, "[0.5]", "{}", "2026-01-01")
NO_COUNTS = ('"10"', "true", "10.0", "0", "-1", "nan")
NO_FLAGS = ('"yes"', '"true"', "1", "0", "1.0")
NO_WORDS = ('""', '" "', '"\\u00a0"', '"\\u200b\\ufeff"', "1", "true", "[]")
NO_COLUMNS = ('"sex"', '[""]', '["sex", "sex"]', '["*"]', "[1]", '[["sex"]]')


def table(name: str, honest: dict[str, str], key: str, value: str) -> str:
    return f"[[{name}]]\n" + "\n".join(f"{one} = {text}" for one, text in {**honest, key: value}.items())


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("at_least", NO_NUMBERS),
        ("warn_at", NO_NUMBERS),
        ("level", NO_NUMBERS),
        ("min_count", NO_COUNTS),
        ("optional", NO_FLAGS),
        ("measurement", NO_WORDS),
        ("rationale", NO_WORDS),
        ("by", NO_COLUMNS),
        ("line", ("7",)),
    ],
)
def test_slips_in_a_limit_are_one_line_with_the_key(key: str, values: tuple[str, ...]) -> None:
    for value in values:
        with pytest.raises(InputError, match=rf"policy p\.toml, line \d: (unknown key ')?{key}") as caught:
            parse_policy(table("limit", LIMIT, key, value), source="p.toml")
        assert "\n" not in str(caught.value), value


@pytest.mark.parametrize(
    ("key", "values"),
    [
        *((key, NO_WORDS) for key in ("id", "measurement", "owner", "approver", "statement")),
        ("expires", ("20270101", "true", '"2027-1-31"', '"2027-02-30"', "2027-01-31T00:00:00Z", "12:00:00", '""')),
        ("regression", NO_FLAGS),
        ("by", NO_COLUMNS),
        ("slice", ("1", '""', "[]", '["Female"]')),  # without by, or by nothing
        ("model", ('""', '"x"', f'"sha256:{"A" * 64}"', f'"sha256:{"a" * 64}\\n"')),
    ],
)
def test_slips_in_a_waiver_are_one_line_with_the_key(key: str, values: tuple[str, ...]) -> None:
    for value in values:
        with pytest.raises(InputError, match=rf"waivers w\.toml, line \d: {key}") as caught:
            parse_waivers(table("waiver", WAIVER, key, value), source="w.toml")
        assert "\n" not in str(caught.value), value


def test_a_name_that_is_blank_and_a_dependency_that_does_not_exist() -> None:
    for value in ('""', '" "', "1", "[]"):
        with pytest.raises(InputError, match="'name' must be text that is not blank"):
            parse_policy(f"name = {value}\n", source="p.toml")
    policy = parse_policy(table("limit", LIMIT, "only_with", '["memorisation.ratte"]'), source="p.toml")
    with pytest.raises(InputError, match=r"line 1: unknown measurement 'memorisation\.ratte' .did you mean"):
        check_measurements_exist(policy, ["performance.accuracy", "memorisation.rate"])


def test_a_policy_of_more_limits_than_can_be_judged_is_refused() -> None:
    many = "\n".join([table("limit", LIMIT, "severity", '"warn"')] * 5_001)
    with pytest.raises(
        InputError, match=r"policy p\.toml: 5,001 tables, and auditkit reads at most 5,000; --allow-large"
    ):
        parse_policy(many, source="p.toml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[run]\nseed = "3"', "seed must be a whole number, got '3'"),
        ("[run]\nseed = true", "seed must be a whole number, got True"),
        ("[run]\nseed = 3.0", "seed must be a whole number, got 3.0"),
        ('[policy]\nconf_level = "0.9"', "conf_level must be a number, got '0.9'"),
        ("[policy]\nconf_level = nan", "conf_level must be a finite number"),
        ('[policy]\nstrict = "yes"', "strict must be true or false, got 'yes'"),
        ("[policy]\nstrict = 1", "strict must be true or false, got 1"),
        ('[model]\nthreshold = "0.5"', "threshold must be a number"),
        ("[auditors.privacy]\nepsilon = [3.0, true]", r"epsilon must be a number, got \[3.0, True\]"),
        ('[auditors.leakage]\nshadows = "4"', "shadows must be a whole number"),
        ("[auditors.explainability]\nrows = true", "explainability.rows must be a whole number, got True"),
        ('[auditors.explainability]\nrows = "5"', "explainability.rows must be a whole number, got '5'"),
    ],
)
def test_slips_in_auditkit_toml_are_one_line(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "auditkit.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"auditkit\.toml, line 2: {words}"):
        check_settings(resolve(file=path, environment={}))


def test_the_command_line_and_the_environment_have_only_texts(tmp_path: Path) -> None:
    found = resolve(settings=["explainability.rows=5"], environment={"AUDITKIT_SEED": "3"})
    check_settings(found)
    assert (found.config.run.seed, found.config.auditors.given("explainability")) == (3, {"rows": "5"})


def places(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every number and boolean of a JSON document."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(item, (*here, key))
    elif isinstance(value, bool | int | float):
        yield here


def edited(document: Any, way: tuple[Any, ...], change: Any) -> str:
    """Return a JSON document with the value at the end of a way changed."""
    copy = json.loads(json.dumps(document))
    part = copy
    for key in way[:-1]:
        part = part[key]
    part[way[-1]] = change(part[way[-1]])
    return json.dumps(copy)


def as_text(value: float) -> str:
    return json.dumps(value)


def as_the_other_kind(value: float) -> Any:
    return int(value) if isinstance(value, bool) else True


FREE = ("arguments", "settings", "rows", "packages", "schema_", "schema")
"""Where a document holds whatever its writer had, or the cells of a table, which may be texts."""


def test_no_number_of_a_report_may_be_a_text_or_a_boolean(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(counted_report().to_json(), encoding="utf-8")
    read_report(path)
    document = json.loads(path.read_text())
    kinds = {tuple(key for key in way if isinstance(key, str)): way for way in places(document)}
    ways = [way for kind, way in kinds.items() if not set(kind) & set(FREE)]
    assert len(ways) > 40
    for way in ways:
        for change in (as_text, as_the_other_kind):
            path.write_text(edited(document, way, change))
            with pytest.raises(InputError, match=r"results .*results\.json"):
                print(way, change, read_report(path))


def test_no_number_of_a_schema_may_be_a_text_or_a_boolean(tmp_path: Path) -> None:
    schema = numeric_schema(["a"], target="y", classes=["no", "yes"]).model_copy(update={"threshold": 0.4})
    path = tmp_path / "schema.json"
    path.write_text(schema.model_dump_json())
    assert read_schema(path) == schema
    document = json.loads(path.read_text())
    for way in places(document):
        if way == ("version",):
            continue
        for change in (as_text, as_the_other_kind):
            path.write_text(edited(document, way, change))
            with pytest.raises(InputError, match=r"schema\.json"):
                print(way, change, read_schema(path))


def test_a_slip_ends_a_command_with_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "results.json").write_text(build_report().to_json(), encoding="utf-8")
    (tmp_path / "policy.toml").write_text(table("limit", LIMIT, "at_least", '"0.5"'))
    command = ["gate", str(tmp_path / "results.json"), "--policy", str(tmp_path / "policy.toml")]
    assert call([*command, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.strip().splitlines() == [
        f"auditkit: policy {tmp_path}/policy.toml, line 3: at_least: must be a number, got '0.5'."
    ]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("option", "requirement"),
    [("min_group", "be a whole number"), ("conf_level", "be a number"), ("epsilon", "be a number")],
)
def test_true_is_no_number_in_python_either(option: str, requirement: str) -> None:
    with pytest.raises(InputError, match=f"{option} must {requirement}, got True"):
        configured(options={option: True})
