"""The gate as its users meet it: fast, without torch, the same verdict as the run, one line for bad input."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from loans import Loans

from auditkit.cli import call
from auditkit.evidence.messages import Message
from auditkit.evidence.policy import PROFILES, check_measurements_exist, profile
from auditkit.evidence.report import read_report

POLICY = """name = "ours"

[[limit]]
measurement = "performance.accuracy"
at_least = 0.5
warn_at = 0.6
rationale = "holds"

[[limit]]
measurement = "performance.accuracy"
regression_at_most = 0.001
rationale = "no worse than what is in use"

[[limit]]
measurement = "fairness.demographic_parity_difference"
by = "*"
at_most = 0.1
rationale = "is broken for group"
"""
MEASUREMENT = "fairness.demographic_parity_difference"
WAIVERS = """[[waiver]]
id = "W-1"
measurement = "fairness.demographic_parity_difference"
by = "*"
owner = "Ana"
approver = "Risk committee"
statement = "Known"
expires = 9999-12-31
"""


@pytest.fixture(scope="module")
def audited(loans: Loans, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of the small model, a policy and waivers."""
    folder = tmp_path_factory.mktemp("gate")
    flags = ["--only", "performance", "--only", "fairness", "--quiet", "--out", str(folder / "main")]
    call(["run", str(loans.model), "--dataset", str(loans.test), *flags])
    (folder / "policy.toml").write_text(POLICY, encoding="utf-8")
    (folder / "waivers.toml").write_text(WAIVERS, encoding="utf-8")
    return folder


def gate(audited: Path, *more: str) -> int:
    return call(["gate", str(audited / "main/results.json"), "--policy", str(audited / "policy.toml"), *more])


def test_the_gate_imports_no_library_for_models_or_data(audited: Path) -> None:
    results = str(audited / "main/results.json")
    script = (
        "import sys; from auditkit.cli import call; "
        f"code = call(['gate', {results!r}, '--baseline', {results!r}, '--quiet', '--policy', 'policy.toml', "
        "'--out', 'fast', '--to', 'html,junit,markdown,sarif,gitlab']); "
        "print(sorted({'torch', 'pandas', 'pyarrow', 'fairlearn', 'sklearn', 'scipy.stats'} & set(sys.modules)), code)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=audited, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] 1", done.stderr


def test_the_gate_writes_nothing_unless_asked(audited: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(audited.rglob("*"))
    assert gate(audited, "--baseline", str(audited / "main/results.json")) == 1
    assert sorted(audited.rglob("*")) == before
    out = capsys.readouterr().out
    assert "FAIL" in out
    assert re.search(r"Selected: [\d.]+ % of south[^(]* \([\d,]+ of [\d,]+\) against [\d.]+ % of north", out)


def test_a_run_is_named_by_its_folder_as_well(audited: Path, tmp_path: Path) -> None:
    folder = audited / "main"
    by_file, by_folder = (tmp_path / "file", tmp_path / "folder")
    for results, out in ((folder / "results.json", by_file), (folder, by_folder)):
        assert call(["gate", str(results), "--baseline", str(results), "--out", str(out), "--quiet"]) in (0, 1)
        assert call(["render", str(results), "--to", "junit", "--out", str(out)]) == 0
        assert call(["comply", str(results), "--framework", "nist-ai-rmf", "--out", str(out / "comply")]) == 0
    assert (by_folder / "junit.xml").read_bytes() == (by_file / "junit.xml").read_bytes()
    table = "comply/comply-nist-ai-rmf.csv"
    assert (by_folder / table).read_bytes() == (by_file / table).read_bytes()


def test_what_the_policy_lets_go_unmeasured_is_one_line(audited: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert call(["gate", str(audited / "main")]) in (0, 1)
    lines = [line for line in capsys.readouterr().out.splitlines() if "Not measured" in line]
    assert len(lines) == 1
    assert lines[0].startswith("– Not measured, as the policy allows: ")
    assert "privacy.epsilon" in lines[0]
    required = audited / "required.toml"
    required.write_text(POLICY + '[[limit]]\nmeasurement = "privacy.epsilon"\nat_most = 3\nrationale = "r"\n', "utf-8")
    assert call(["gate", str(audited / "main"), "--policy", str(required)]) == 3
    assert "– Epsilon was not measured: left out of this run" in capsys.readouterr().out


def test_out_gets_the_judged_report_and_the_formats(audited: Path, tmp_path: Path) -> None:
    flags = ["--out", str(tmp_path / "out"), "--to", "sarif, gitlab", "--quiet"]
    assert gate(audited, *flags, "--baseline", str(audited / "main/results.json")) == 1
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"results.json", "results.sarif", "gl-code-quality-report.json", "manifest.json"}
    judged = read_report(tmp_path / "out/results.json")
    assert judged.policy.name == "ours"
    assert judged.exit_code == 1


def test_pages_of_the_judged_report_are_written_in_chinese_too(audited: Path, tmp_path: Path) -> None:
    flags = ["--out", str(tmp_path / "out"), "--lang", "zh", "--to", "html,junit", "--quiet"]
    assert gate(audited, *flags, "--baseline", str(audited / "main/results.json")) == 1
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"results.json", "report.html", "report.zh.html", "junit.xml", "manifest.json"}
    assert '<html lang="zh' in (tmp_path / "out/report.zh.html").read_text(encoding="utf-8")


def test_two_limits_on_one_number_say_once_that_it_was_not_measured(
    audited: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limit = '[[limit]]\nmeasurement = "language.perplexity"\nseverity = "error"\nrationale = "agreed"\n'
    (tmp_path / "policy.toml").write_text(f'name = "two"\n\n{limit}at_most = 9.0\n\n{limit}at_least = 2.0\n')
    capsys.readouterr()
    assert call(["gate", str(audited / "main/results.json"), "--policy", str(tmp_path / "policy.toml")]) == 3
    said = [line for line in capsys.readouterr().out.splitlines() if "Perplexity" in line]
    assert len(said) == 1, said


def test_the_record_of_the_audit_is_never_overwritten(audited: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (audited / "main/results.json").read_bytes()
    assert gate(audited, "--out", str(audited / "main")) == 2
    assert "would overwrite" in capsys.readouterr().err
    assert (audited / "main/results.json").read_bytes() == before


def test_run_and_gate_judge_alike(loans: Loans, audited: Path, tmp_path: Path) -> None:
    """A run with --policy, --baseline and --waivers finds what a gate over its record finds."""
    results = str(audited / "main/results.json")
    flags = [
        "--policy",
        str(audited / "policy.toml"),
        "--baseline",
        results,
        "--waivers",
        str(audited / "waivers.toml"),
    ]
    run = [
        "run",
        str(loans.model),
        "--dataset",
        str(loans.test),
        "--only",
        "performance",
        "--only",
        "fairness",
        "--quiet",
    ]
    assert call([*run, *flags, "--out", str(tmp_path / "run")]) == 0
    assert call(["gate", str(tmp_path / "run/results.json"), *flags, "--quiet", "--out", str(tmp_path / "gate")]) == 0
    ran, gated = (read_report(tmp_path / name / "results.json") for name in ("run", "gate"))
    assert gated == ran
    regression = next(finding for finding in ran.findings if finding.limit.regression_at_most is not None)
    assert (regression.verdict, regression.value) == ("pass", 0.0)
    assert ran.baseline is not None
    assert ran.baseline.same_rows
    page = (tmp_path / "run/report.html").read_text()
    for words in ("W-1", "Known", "Owner Ana, approved by Risk committee", "Both audits saw the same rows."):
        assert words in page
    assert "Known" in (tmp_path / "run/summary.md").read_text()


def test_another_model_on_the_same_rows_is_a_pair_and_on_other_rows_is_not(
    loans: Loans, audited: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.pt"
    train = ["train", "--dataset", str(loans.train), "--target", "approved", "--out", str(other), "--quiet"]
    assert call([*train, "--seed", "9", "--epochs", "1", "--sensitive", "group", "--sensitive", "region"]) == 0
    (tmp_path / "p.toml").write_text(POLICY.split("\n\n")[2] + "\n", encoding="utf-8")
    methods = []
    for name, dataset in (("same", loans.test), ("else", loans.train)):
        flags = [
            "--only",
            "performance",
            "--quiet",
            "--policy",
            str(tmp_path / "p.toml"),
            "--out",
            str(tmp_path / name),
        ]
        flags += ["--baseline", str(audited / "main/results.json")]
        call(["run", str(other), "--dataset", str(dataset), *flags])
        (finding,) = read_report(tmp_path / name / "results.json").findings
        assert finding.interval is not None
        methods.append(finding.interval.method)
    assert methods == [
        "Bonett-Price and MOVER over 20 blocks of rows, paired",
        "MOVER of the two intervals, unpaired",
    ]


def test_waived_and_unused_waivers_always_print(
    audited: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    waivers = tmp_path / "w.toml"
    waivers.write_text(
        WAIVERS + WAIVERS.replace("W-1", "W-2").replace(MEASUREMENT, "performance.accuracy"), encoding="utf-8"
    )
    baseline = ["--baseline", str(audited / "main/results.json")]
    assert gate(audited, "--waivers", str(waivers), *baseline) == 0
    out = capsys.readouterr().out
    assert "Waived until 9999-12-31: Known (waiver W-1, owner Ana, approved by Risk committee)." in out
    assert "Waiver W-2 covers nothing that needs one: remove it." in out
    expired = tmp_path / "expired.toml"
    expired.write_text(WAIVERS.replace("9999-12-31", "2020-01-31"), encoding="utf-8")
    assert gate(audited, "--waivers", str(expired), *baseline) == 1
    assert "Waiver W-1 of Ana expired on 2020-01-31: fail." in capsys.readouterr().out


def test_a_waiver_of_a_measurement_that_does_not_exist_is_refused_as_a_limit_is(
    audited: Path, loans: Loans, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "w.toml"
    path.write_text(WAIVERS + WAIVERS.replace("W-1", "W-2").replace("parity", "partiy"), encoding="utf-8")
    run = ["run", str(loans.model), "--dataset", str(loans.test), "--out", str(tmp_path / "out")]
    judge = ["gate", str(audited / "main/results.json"), "--policy", str(audited / "policy.toml")]
    for command in (judge, run):
        assert call([*command, "--waivers", str(path)]) == 2
        assert (
            f"waivers {path}, line 9: unknown measurement 'fairness.demographic_partiy_difference' (did you mean "
            f"'{MEASUREMENT}'?); 'auditkit auditors' lists them."
        ) in capsys.readouterr().err
    path.write_text(WAIVERS.replace(MEASUREMENT, "carbon.kilograms"), encoding="utf-8")
    gate(audited, "--waivers", str(path))
    assert "Waiver W-1 covers nothing that needs one: remove it." in capsys.readouterr().out, "of an absent auditor"
    path.write_text(WAIVERS.replace('by = "*"', 'by = ["sex"]\nslice = "F\'s, \\"x\\" & Übrige"'), encoding="utf-8")
    gate(audited, "--waivers", str(path))
    assert "Waiver W-1 covers nothing that needs one: remove it, or correct its slice." in capsys.readouterr().out


def test_formats_of_standard_output(
    audited: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    assert gate(audited, "--format", "json") == 3, "a regression limit without a baseline is not measured"
    assert json.loads(capsys.readouterr().out)["verdict"] == "error"
    assert not (tmp_path / "summary").exists()
    assert gate(audited, "--format", "github") == 3
    assert "::error file=" in capsys.readouterr().out
    assert (tmp_path / "summary").read_text().startswith("## 🛑 Incomplete")


@pytest.mark.parametrize("name", PROFILES)
def test_profiles_by_name_and_as_a_start(audited: Path, tmp_path: Path, name: str) -> None:
    results = str(audited / "main/results.json")
    mine = tmp_path / "mine.toml"
    assert call(["init", str(mine), "--profile", name]) == 0
    for policy, folder in ((name, "named"), (str(mine), "own")):
        assert call(["gate", results, "--policy", policy, "--quiet", "--out", str(tmp_path / folder)]) in (0, 1, 3)
    named, own = (read_report(tmp_path / folder / "results.json") for folder in ("named", "own"))
    assert (named.verdict, named.policy.limits) == (own.verdict, own.policy.limits)
    assert own.policy.name == "mine"
    assert "shipped with auditkit" in (tmp_path / "named/report.html").read_text()


@pytest.mark.parametrize("name", PROFILES)
def test_profiles_name_only_what_an_installed_auditor_measures(name: str) -> None:
    from auditkit.engine.audit import describe_auditors

    check_measurements_exist(profile(name), [id for auditor in describe_auditors() for id in auditor.measures])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--policy", "absent.toml"], ["absent.toml", "No such file", "profile"]),
        (["--policy", "four-fifth"], ["four-fifth"]),
        (["--waivers", "absent.toml"], ["waivers absent.toml", "No such file"]),
        (["--baseline", "absent.json"], ["absent.json", "No such file"]),
        (["--out", "x", "--to", "sarf"], ["unknown format 'sarf'", "did you mean 'sarif'"]),
        (["--format", "xml"], ["--format"]),
    ],
    ids=lambda value: " ".join(value) if value[0].startswith("--") else "",
)
def test_bad_input_gives_one_line_and_exit_2(
    audited: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(["gate", str(audited / "main/results.json"), *flags]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    for word in words:
        assert word in err
    assert os.listdir(tmp_path) == []


def test_an_edited_report_is_refused(audited: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads((audited / "main/results.json").read_text())
    document["verdict"], document["exit_code"] = "pass", 0
    (tmp_path / "results.json").write_text(json.dumps(document))
    assert call(["gate", str(tmp_path / "results.json")]) == 2
    assert "the file was edited" in capsys.readouterr().err


def test_a_finding_cannot_be_waived_by_hand(audited: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    baseline = ["--baseline", str(audited / "main/results.json"), "--quiet"]
    assert gate(audited, "--waivers", str(audited / "waivers.toml"), "--out", str(tmp_path / "out"), *baseline) == 0
    document = json.loads((tmp_path / "out/results.json").read_text())
    document["waivers"] = []
    (tmp_path / "results.json").write_text(json.dumps(document))
    assert call(["gate", str(tmp_path / "results.json")]) == 2
    assert "states waived, and its" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: "[" * 200_000, "nested deeper than 64 levels"),
        (lambda text: text.replace('"threads": ', '"threads": ' + "9" * 5000), "digits"),
        (lambda text: text.replace('"auditor": "performance"', '"auditor": "\\ud800"'), "holds half of a character"),
        (lambda text: text.replace('"outcomes": [', '"outcomes": [], "outcomes": ['), "names a key twice"),
        (lambda text: re.sub(r'"created": "[0-9-]+', '"created": "0001-01-01', text, count=1), "created: Input should"),
        (lambda text: re.sub(r'("created": "[^"]+?)(?:Z|\+00:00)"', r'\1"', text, count=1), "created: Input should"),
        (lambda text: text.replace('"features": [', '"features": 5, "was": ['), "features must be a list"),
    ],
    ids=["deep", "digits", "surrogate", "key twice", "year 1", "no zone", "features"],
)
def test_a_hostile_record_gives_one_line(
    audited: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Callable[[str], str], words: str
) -> None:
    text = (audited / "main/results.json").read_text()
    assert change(text) != text
    (tmp_path / "results.json").write_text(change(text))
    assert call(["gate", str(tmp_path / "results.json")]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def renamed(value: Any, names: dict[str, str]) -> Any:
    """Return a document with other names; the text of a message follows from its template and arguments."""
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, list):
        return [renamed(part, names) for part in value]
    if not isinstance(value, dict):
        return value
    inside = {key: renamed(part, names) for key, part in value.items()}
    return inside | {"text": str(message(inside))} if inside.keys() == {"template", "arguments", "text"} else inside


def message(document: Any) -> Any:
    if isinstance(document, list):
        return [message(part) for part in document]
    if not isinstance(document, dict):
        return document
    return Message(document["template"], **{name: message(part) for name, part in document["arguments"].items()})


def test_no_name_of_a_group_reaches_the_terminal_as_a_command(
    audited: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads((audited / "main/results.json").read_text())
    rates = [
        measurement
        for outcome in document["outcomes"]
        for measurement in outcome["measurements"]
        if measurement["id"] == "fairness.selection_rate" and len(measurement["by"]) == 1
    ]
    names = {
        part["group"]["key"][0]: f"{part['group']['key'][0]}\x1b[2J\n::error::x\r\u202e" for part in rates[0]["slices"]
    }
    (tmp_path / "results.json").write_text(json.dumps(renamed(document, names)))
    (tmp_path / "policy.toml").write_text(
        '[[limit]]\nmeasurement = "fairness.selection_rate"\nby = "*"\nat_most = 0.001\nrationale = "Fails."\n'
    )
    assert call(["gate", str(tmp_path / "results.json"), "--policy", str(tmp_path / "policy.toml")]) == 1
    said = capsys.readouterr().out
    assert "[2J ::error::x" in said
    assert not [line for line in said.splitlines() if line.startswith("::")]
    assert not set("\x1b\r\u202e") & set(said)
