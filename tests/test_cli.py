"""The command line as its users meet it: what it writes, its exit codes, and one clear line for bad input."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import pytest
import torch
from keys import compared
from loans import Loans

from auditkit.cli import call
from auditkit.evidence.report import read_report, results_schema

FILES = {"results.json", "report.html", "junit.xml", "summary.md", "manifest.json"}


def policy(folder: Path, *limits: str) -> Path:
    path = folder / "policy.toml"
    path.write_text("\n".join(f'[[limit]]\n{limit}\nrationale = "a test"\n' for limit in limits), encoding="utf-8")
    return path


HOLDS = 'measurement = "performance.accuracy"\nat_least = 0.5'
BROKEN = 'measurement = "performance.accuracy"\nat_least = 0.999'


def run(loans: Loans, out: Path, *more: str) -> int:
    return call(["run", str(loans.model), "--dataset", str(loans.test), "--out", str(out), *more])


@dataclass(frozen=True)
class Plain:
    """A run of a model and data without any further flag: where it was started, what it wrote and printed."""

    place: Path
    folder: Path
    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def plain(loans: Loans, tmp_path_factory: pytest.TempPathFactory) -> Plain:
    """Run once what several tests look at."""
    place, out, err = tmp_path_factory.mktemp("plain"), io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(place)
        patch.setenv("XDG_CACHE_HOME", str(place / "cache"))
        code = call(["run", str(loans.model), "--dataset", str(loans.test)])
    (folder,) = (place / "reports").iterdir()
    return Plain(place, folder, code, out.getvalue(), err.getvalue())


def test_run_needs_no_further_flag_and_writes_everything(plain: Plain) -> None:
    folder = plain.folder
    assert {path.name for path in folder.iterdir()} == FILES
    report = read_report(folder / "results.json")
    assert folder.name == f"loans-{report.run_id[:8]}"
    assert plain.code == report.exit_code
    own = [outcome.auditor for outcome in report.outcomes]
    assert [name for name in own if name in ("data", "performance", "fairness", "explainability", "privacy")] == [
        "data",
        "performance",
        "fairness",
        "explainability",
        "privacy",
    ]
    privacy = next(outcome for outcome in report.outcomes if outcome.auditor == "privacy")
    assert privacy.reason == "no training data; pass --train-dataset FILE"
    # The planted gap: income decides, and south earns a standard deviation less.
    gap = report.measurement("fairness.demographic_parity_difference", ("group",))
    assert gap is not None
    assert compared(gap) == ("south", "north")
    assert gap.interval is not None
    assert gap.interval.low > 0.2
    assert plain.err.startswith("Plan (effort standard, ")
    last = plain.out.strip().splitlines()
    assert last[-1] == f"Report: {folder.relative_to(plain.place) / 'report.html'}"
    assert "FAIL" in plain.out
    assert re.search(r"Selected: [\d.]+ % of south[^(]* \([\d,]+ of [\d,]+\) against [\d.]+ % of north", plain.out)


def test_results_match_the_published_schema(loans: Loans, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(loans, tmp_path / "out", "--train-dataset", str(loans.train), "--epsilon", "8", "--shadows", "2", "--quiet")
    assert capsys.readouterr() == ("", "")
    assert call(["schema"]) == 0
    published = json.loads(capsys.readouterr().out)
    assert published == results_schema()
    document = json.loads((tmp_path / "out/results.json").read_text())
    jsonschema.validate(document, published)
    slices = {
        part["group"]["key"][0]: part["value"]
        for outcome in document["outcomes"]
        for measurement in outcome["measurements"]
        for part in measurement["slices"]
        if measurement["id"] == "privacy.epsilon"
    }
    assert 7 < slices["epsilon 8"] <= 8
    shares = next(
        measurement["slices"]
        for outcome in document["outcomes"]
        for measurement in outcome["measurements"]
        if measurement["id"] == "explainability.attribution_share"
    )
    assert sum(part["value"] for part in shares) == pytest.approx(1)
    assert shares[0]["group"]["key"] == ["income"]


def test_every_number_has_count_unit_direction_source_and_interval_or_reason(plain: Plain) -> None:
    report = read_report(plain.folder / "results.json")
    measured = [measurement for outcome in report.outcomes for measurement in outcome.measurements]
    assert len(measured) > 30
    for measurement in measured:
        assert measurement.definition
        assert measurement.unit
        assert 0 < measurement.count <= 1000
        for number in measurement.slices or (measurement,):
            if measurement.id == "fairness.fisher_exact_p":
                continue  # a p-value is itself a statement of uncertainty
            if number.value is not None:
                assert number.interval is not None, (measurement.id, measurement.by, number)
                assert number.interval.low <= number.value <= number.interval.high
            else:
                assert number.reason


@pytest.mark.parametrize(
    ("limits", "flags", "code"),
    [
        ([HOLDS], [], 0),
        ([BROKEN], [], 1),
        ([BROKEN + '\nseverity = "warn"'], [], 0),
        ([HOLDS], ["--skip", "performance"], 3),
        ([HOLDS + "\noptional = true"], ["--skip", "performance"], 5),
        ([], [], 5),
    ],
    ids=["pass", "fail", "warn", "unmeasured", "optional-unmeasured", "no-limits"],
)
def test_exit_codes(loans: Loans, tmp_path: Path, limits: list[str], flags: list[str], code: int) -> None:
    two = ["--only", "performance", "--only", "data"]
    flags = ["--policy", str(policy(tmp_path, *limits)), *two, "--limit", "300", *flags]
    assert run(loans, tmp_path / "out", "--quiet", *flags) == code
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES, "all reports are written before the exit"


def test_inconclusive_is_loud_exits_0_and_3_under_strict(
    loans: Loans, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(loans, tmp_path / "first", "--quiet", "--only", "performance")
    accuracy = read_report(tmp_path / "first/results.json").measurement("performance.accuracy")
    assert accuracy is not None
    assert accuracy.value is not None
    limit = f'measurement = "performance.accuracy"\nat_least = {accuracy.value - 0.005}'
    flags = ["--policy", str(policy(tmp_path, limit)), "--only", "performance"]
    assert run(loans, tmp_path / "second", *flags) == 0
    out = capsys.readouterr().out
    assert "INCONCLUSIVE" in out
    assert "more records would" in out or "this data set cannot settle it" in out
    assert run(loans, tmp_path / "third", "--strict", *flags) == 3
    strictly_failing = policy(tmp_path, limit + '\ninconclusive = "fail"')
    assert run(loans, tmp_path / "fourth", "--policy", str(strictly_failing), "--only", "performance") == 1


def test_limit_audits_a_seeded_sample_and_says_so(
    loans: Loans, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name / "cache"))  # the second predicts for itself
        run(loans, Path("out"), "--quiet", "--limit", "300", "--seed", "7")
        report = read_report(tmp_path / name / "out/results.json")
        assert report.subject.dataset.audited_row_count == 300
        assert any("300 of 1,000" in note for note in report.subject.notes)
        assert "300 of 1,000" in (tmp_path / name / "out/report.html").read_text()
        texts.append(
            report.model_copy(
                update={
                    "run_id": "",
                    "created": None,
                    "outcomes": tuple(outcome.model_copy(update={"seconds": 0.0}) for outcome in report.outcomes),
                }
            ).model_dump()
        )
    assert texts[0] == texts[1]


def test_json_prints_the_results(loans: Loans, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(loans, tmp_path / "out", "--json", "--only", "performance")
    assert capsys.readouterr().out == (tmp_path / "out/results.json").read_text()


def shell(*command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=1800, env={**os.environ, **environment}, check=False
    )


def test_help_imports_no_library_that_computes(tmp_path: Path) -> None:
    script = (
        "import sys; from auditkit.cli import call; code = call(['--help']); "
        "print(code, sorted({'numpy', 'pandas', 'scipy', 'torch', 'jinja2'} & set(sys.modules)))"
    )
    done = shell(sys.executable, "-c", script, cwd=tmp_path)
    assert "Exit codes" in done.stdout
    assert done.stdout.splitlines()[-1] == "0 []"


def test_render_writes_the_same_files_without_torch(plain: Plain, tmp_path: Path) -> None:
    script = (
        "import sys; from auditkit.cli import call; "
        "code = call(['render', sys.argv[1], '--to', 'html,junit,markdown', '--out', 'again']); "
        "heavy = sorted({'torch', 'pandas', 'fairlearn', 'captum', 'opacus', 'sklearn'} & set(sys.modules)); "
        "print(heavy); sys.exit(code)"
    )
    done = shell(sys.executable, "-c", script, str(plain.folder / "results.json"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    for name in FILES - {"results.json", "manifest.json"}:
        assert (tmp_path / "again" / name).read_text() == (plain.folder / name).read_text()


def test_init_writes_the_policy_that_is_used_by_default(
    loans: Loans, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.toml"
    assert call(["init", str(path)]) == 0
    assert call(["init", str(path)]) == 2
    assert "is there already" in capsys.readouterr().err
    few = ["--quiet", "--limit", "300", "--only", "performance", "--only", "fairness"]
    run(loans, tmp_path / "default", *few)
    run(loans, tmp_path / "own", *few, "--policy", str(path))
    default, own = (read_report(tmp_path / name / "results.json") for name in ("default", "own"))
    assert default.policy.source == "shipped with auditkit"
    assert own.policy.source == str(path)
    assert own.policy.limits == default.policy.limits
    assert own.verdict == default.verdict


Breaker = Callable[[Loans, Path], list[str]]


def no_such_model(loans: Loans, tmp: Path) -> list[str]:
    return [str(tmp / "absent.pt"), "--dataset", str(loans.test)]


def no_such_data(loans: Loans, tmp: Path) -> list[str]:
    return [str(loans.model), "--dataset", str(tmp / "absent.csv")]


def not_a_model(loans: Loans, tmp: Path) -> list[str]:
    (tmp / "model.pt").write_text("hello")
    return [str(tmp / "model.pt"), "--dataset", str(loans.test)]


def pickled_module(loans: Loans, tmp: Path) -> list[str]:
    torch.save(torch.nn.Linear(2, 2), tmp / "model.pt")
    return [str(tmp / "model.pt"), "--dataset", str(loans.test)]


def edited(change: Callable[[str], str], encoding: str = "utf-8") -> Breaker:
    def breaker(loans: Loans, tmp: Path) -> list[str]:
        (tmp / "data.csv").write_bytes(change(loans.test.read_text()).encode(encoding))
        return [str(loans.model), "--dataset", str(tmp / "data.csv")]

    return breaker


def text_in_numbers(text: str) -> str:
    lines = text.splitlines()
    lines[4] = "many," + lines[4].partition(",")[2]
    return "\n".join(lines)


def flags(*more: str) -> Breaker:
    return lambda loans, tmp: [str(loans.model), "--dataset", str(loans.test), *more]


def broken_policy(text: str) -> Breaker:
    def breaker(loans: Loans, tmp: Path) -> list[str]:
        (tmp / "policy.toml").write_text(text)
        return [str(loans.model), "--dataset", str(loans.test), "--policy", str(tmp / "policy.toml")]

    return breaker


BAD_INPUT: dict[str, tuple[Breaker, list[str]]] = {
    "no such model": (no_such_model, ["absent.pt", "No such file"]),
    "no such data": (no_such_data, ["absent.csv", "No such file"]),
    "not a model": (not_a_model, ["model.pt", "not a model file"]),
    "pickled module": (pickled_module, ["refused", "torch.save(model.state_dict(), ", "--trust-pickle sha256:"]),
    "no target": (flags("--target", "aproved"), ["'aproved'", "did you mean 'approved'"]),
    "missing feature": (edited(lambda text: text.replace("years", "yeers")), ["'years'", "did you mean 'yeers'"]),
    "duplicate columns": (edited(lambda text: text.replace("years", "income", 1)), ["two columns", "'income'"]),
    "empty": (edited(lambda text: ""), ["empty"]),
    "text in a numeric column": (edited(text_in_numbers), ["line 5", "'income'", "'many'"]),
    "wrong encoding": (edited(lambda text: text.replace("clerk", "clérk"), "latin-1"), ["--encoding"]),
    "unknown sensitive column": (flags("--sensitive", "gruop"), ["'gruop'", "did you mean 'group'"]),
    "unknown auditor": (flags("--only", "fairnes"), ["'fairnes'", "did you mean 'fairness'"]),
    "unknown measurement": (
        broken_policy('[[limit]]\nmeasurement = "fairness.parity"\nat_most = 1\nrationale = "x"'),
        ["line 1", "fairness.parity"],
    ),
    "policy that is not TOML": (broken_policy('name = "x"\n[[limit]\n'), ["policy.toml", "line 2"]),
    "policy with a wrong key": (
        broken_policy('[[limit]]\nmeasurement = "performance.accuracy"\nat_lest = 1\nrationale = "x"'),
        ["line 3", "at_lest", "did you mean 'at_least'"],
    ),
    "no policy file": (flags("--policy", "absent.toml"), ["absent.toml", "auditkit init"]),
    "epsilon without data": (flags("--epsilon", "3"), ["--train-dataset"]),
    "epsilon of zero": (
        lambda loans, tmp: flags("--train-dataset", str(loans.train), "--epsilon", "0")(loans, tmp),
        ["epsilon must be a number from 0.01 to 10,000"],
    ),
    "intersections of zero": (flags("--intersections", "0"), ["intersections must be at least 1"]),
    "limit of zero": (flags("--limit", "0"), ["--limit"]),
    "no such device": (flags("--device", "gpu"), ["--device"]),
    "no such option": (flags("--datset", "x"), ["--datset"]),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_gives_one_clear_line_exit_2_and_writes_nothing(
    case: str, loans: Loans, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    breaker, words = BAD_INPUT[case]
    arguments = breaker(loans, tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert call(["run", *arguments, "--out", str(tmp_path / "new/out")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("auditkit: ")
    for word in words:
        assert word in err
    assert sorted(tmp_path.rglob("*")) == before


def test_an_output_folder_that_cannot_be_written(
    loans: Loans, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert run(loans, tmp_path / "file/out") == 2
    assert "output folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_training_refuses_bad_input(loans: Loans, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["train", "--dataset", str(loans.train), "--out", str(tmp_path / "new/model.pt")]
    for more, word in (
        (["--target", "aproved"], "did you mean 'approved'"),
        (["--target", "approved", "--sensitive", "x"], "'x'"),
        (["--target", "approved", "--drop", "grop"], "did you mean 'group'"),
        (["--target", "approved", "--epsilon", "-1"], "epsilon must be"),
    ):
        assert call([*base, *more]) == 2
        err = capsys.readouterr().err
        assert len(err.splitlines()) == 1
        assert word in err
    assert list(tmp_path.iterdir()) == []


def test_a_private_model_carries_its_ledger(loans: Loans, tmp_path: Path) -> None:
    from auditkit import open_model

    out = tmp_path / "private.pt"
    base = ["train", "--dataset", str(loans.train), "--target", "approved", "--out", str(out), "--quiet"]
    assert call([*base, "--epsilon", "3", "--epochs", "5"]) == 0
    card = open_model(out).card
    assert card is not None
    assert card.ledger is not None
    assert 0 < card.ledger["epsilon"] <= 3
    assert card.ledger["row_count"] == 1500
    assert card.ledger["seed"] is None


def test_two_runs_cannot_share_a_folder(loans: Loans, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from auditkit.run_folder import output_folder

    with output_folder(tmp_path / "out"):
        assert run(loans, tmp_path / "out") == 2
    assert "another run" in capsys.readouterr().err


def test_brackets_in_names_are_no_markup(loans: Loans, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "[bold]a[" / "b] :smile:.pt"
    model.parent.mkdir()
    model.write_bytes(loans.model.read_bytes())
    assert call(["inspect", str(model)]) == 0
    assert str(model) in capsys.readouterr().out
    out = tmp_path / "[" / "red]"
    assert (
        call(["train", "--dataset", str(loans.train), "--target", "approved", "--epochs", "1", "--out", f"{out}.pt"])
        == 0
    )
    assert f"Model: {out}.pt" in capsys.readouterr().out
