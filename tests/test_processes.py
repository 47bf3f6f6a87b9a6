"""What the process does when code it runs, or the world around it, ends it: never an exit code that reads as a pass."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from loans import Loans

import auditkit
from auditkit.cli import call
from auditkit.engine.audit import describe_auditors
from auditkit.engine.auditor import installed

POLICY = '[[limit]]\nmeasurement = "performance.accuracy"\nat_least = 0.0\nrationale = "Holds whatever the data."\n'

PLUGIN = """
import os, sys
from dataclasses import dataclass
if os.environ["WAY"] == "import": sys.exit(0)

@dataclass(frozen=True)
class Ending:
    def __post_init__(self):
        if os.environ["WAY"] == "settings": sys.exit(0)
    def check(self, subject):
        if os.environ["WAY"] == "check": sys.exit(0)
    def audit(self, subject):
        if os.environ["WAY"] == "audit": os._exit(0)
"""


def install(folder: Path, name: str, package: str = "ending") -> Path:
    """Install a package whose auditor `name` ends the process."""
    metadata = folder / f"{package}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[auditkit.auditors]\n{name} = {package}:Ending\n")
    (folder / f"{package}.py").write_text(PLUGIN)
    return folder


def command(*arguments: str | Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "auditkit", *map(str, arguments)],
        env={**os.environ, **environment},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.fixture(scope="module")
def results(loans: Loans, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audited") / "results.json"
    path.write_text(auditkit.audit(loans.model, loans.test, only=["performance"], limit=200).to_json())
    return path


@pytest.fixture(scope="module")
def decisions(tmp_path_factory: pytest.TempPathFactory) -> list[str | Path]:
    """Recorded decisions, as the arguments of a run: neither it nor a plug-in's process imports torch."""
    path = tmp_path_factory.mktemp("decisions") / "decisions.csv"
    path.write_text("decided,label\n" + "1,1\n0,0\n1,0\n0,1\n1,1\n" * 200)
    return ["--dataset", path, "--prediction", "decided", "--target", "label"]


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    return path


def test_a_plugin_that_ends_the_process_is_no_pass(decisions: list[str | Path], policy: Path, tmp_path: Path) -> None:
    site = install(tmp_path / "site", "ending")
    flags: list[str | Path] = ["--only=performance", "--only=ending", "--policy", policy, "--out", tmp_path / "out"]
    process = command("run", *decisions, *flags, PYTHONPATH=str(site), WAY="audit")
    printed, _ = process.communicate(timeout=1800)
    assert process.returncode == 3
    assert "The ending auditor failed: its process ended with exit code 0 without a result" in printed
    report = auditkit.read_report(tmp_path / "out/results.json")
    assert report.verdict == "error"
    assert report.measurement("performance.accuracy") is not None


@pytest.mark.parametrize("way", ["settings", "check"])
def test_a_plugin_that_exits_before_it_audits_is_no_pass(
    decisions: list[str | Path],
    policy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    way: str,
) -> None:
    monkeypatch.syspath_prepend(str(install(tmp_path / "site", "ending", package=f"exits_at_{way}")))
    monkeypatch.setenv("WAY", way)
    flags = ["--only", "ending", "--policy", str(policy), "--out", str(tmp_path / "out")]
    assert call(["run", *map(str, decisions), *flags]) == 3
    assert "its process ended with exit code 0 without a result" in capsys.readouterr().out
    assert auditkit.read_report(tmp_path / "out/results.json").verdict == "error"


def test_a_plugin_whose_import_exits_does_not_load(
    decisions: list[str | Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(install(tmp_path / "site", "ending", package="exits_at_import")))
    monkeypatch.setenv("WAY", "import")
    assert describe_auditors()[-1].summary == "does not load: SystemExit: 0"
    report = auditkit.audit(data=decisions[1], prediction="decided", target="label", only=["ending"])
    assert report.verdict == "error"


HOSTILE = """
import ctypes, os, shutil, sys, time, auditkit
print("noise on standard output")
class Way:
    def audit(self, subject):
        print("noise while auditing")
        os.chdir("/")
        getattr(self, type(self).__name__)(subject)
        one = auditkit.Measurement(id=f"{type(self).__name__}.value", value=0.5, unit="number", better="neither",
            count=len(subject.labels), definition="d")
        return auditkit.Evidence(measurements=[one])
    def quiet(self, subject): pass
    def replaces(self, subject): os.execv("/bin/true", ["true"])
    def exits(self, subject): ctypes.CDLL(None)._exit(0)
    def crashes(self, subject): os.kill(os.getpid(), 11)
    def sleeps(self, subject): time.sleep(3600)
    def fills(self, subject): self.kept = bytearray(2**30)
    def escapes(self, subject):
        class Odd(BaseException): pass
        raise Odd("no Exception")
    def rebinds(self, subject):
        from auditkit.evidence.report import Report
        Report.exit_code = property(lambda self: 0)
        raise ValueError("after it rebound the exit code")
    def buries(self, subject):
        os.chdir(os.path.join(sys.argv[1], "cwd"))
        for _ in range(2000):
            os.mkdir("d")
            os.chdir("d")
        os._exit(1)
    def pipes(self, subject):
        for name in ("output", "reply"):
            path = os.path.join(sys.argv[1], name)
            if os.path.exists(path): os.remove(path)
            os.mkfifo(path)
        os._exit(1)
    def removes(self, subject):
        shutil.rmtree(sys.argv[1])
        os._exit(1)
    def floods(self, subject):
        for _ in range(1100): os.write(1, b"x" * 2**20)
names = ("quiet", "replaces", "exits", "crashes", "sleeps", "fills", "escapes", "rebinds")
for name in (*names, "buries", "pipes", "removes", "floods"):
    globals()[name] = type(name, (Way,), {})
"""

SAID = {
    "replaces": "its process ended with exit code 0 without a result",
    "exits": "its process ended with exit code 0 without a result",
    "crashes": "its process was ended by signal 11 without a result",
    "sleeps": "took longer than 5 s; --plugin-seconds allows more",
    "fills": "out of memory; ",
    "escapes": "without a result: hostile.Way.escapes.<locals>.Odd: no Exception",
    "rebinds": "ValueError: after it rebound the exit code",
    "buries": "its process ended with exit code 1 without a result",
    "pipes": "its answer cannot be read: reply of pipes: is no regular file but a pipe",
    "removes": "its process ended with exit code 1 without a result",
    "floods": "File too large",
}
"""What each is said to have done; the last four hung the audit, ended it without a report, or filled the disk."""


def hostile_audit(
    names: Sequence[str], decisions: list[str | Path], folder: Path, *limits: str
) -> subprocess.Popen[str]:
    """Start an audit by the hostile auditors of these names beside auditkit's own, whose report goes to `out`."""
    site = folder / "site"
    metadata = site / "hostile-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: hostile\nVersion: 1.0\n")
    entries = "".join(f"{name} = hostile:{name}\n" for name in names)
    (metadata / "entry_points.txt").write_text(f"[auditkit.auditors]\n{entries}")
    (site / "hostile.py").write_text(HOSTILE)
    (folder / "policy.toml").write_text(POLICY)
    flags: list[str | Path] = [f"--only={name}" for name in (*names, "performance")]
    flags += ["--policy", folder / "policy.toml", "--out", folder / "out", "--plugin-gigabytes", "1", *limits]
    return command("run", *decisions, *flags, "--json", PYTHONPATH=str(site), XDG_CACHE_HOME=str(folder / "cache"))


def finished(process: subprocess.Popen[str], folder: Path) -> Path:
    """Wait for a hostile audit, and return the folder of its report."""
    printed, said = process.communicate(timeout=1800)
    assert process.returncode == 3
    assert said == ""
    assert printed == (folder / "out/results.json").read_text(), "what a plug-in prints is not among the results"
    return folder / "out"


@pytest.fixture(scope="module")
def hostile(decisions: list[str | Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Audit with all hostile auditors, the one that never ends apart: no machine is too slow to wait 5 s for it."""
    together = ["quiet", *(name for name in SAID if name != "sleeps")]
    folders = [tmp_path_factory.mktemp(name) for name in ("hostile", "sleeps")]
    others = hostile_audit(together, decisions, folders[0])
    sleeper = hostile_audit(["sleeps"], decisions, folders[1], "--plugin-seconds", "5")
    out, waited = (finished(process, folder) for process, folder in zip((others, sleeper), folders, strict=True))
    return {**dict.fromkeys(together, out), "sleeps": waited}


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("name", ["quiet", *SAID])
def test_whatever_a_plugin_does_is_an_error_of_that_plugin(name: str, hostile: dict[str, Path]) -> None:
    """FACTS 13.11: each of these ended the audit with exit code 0, hung it, or broke what it printed."""
    document = json.loads((hostile[name] / "results.json").read_text())
    (outcome,) = [one for one in document["outcomes"] if one["auditor"] == name]
    if name == "quiet":
        assert outcome["error"] is None
        assert outcome["measurements"][0]["count"] == 1000
        assert outcome["version"] == "1.0"
    else:
        assert SAID[name] in outcome["error"]
        assert outcome["measurements"] == []
    assert document["config"]["run"]["plugin_gigabytes"] == 1
    assert auditkit.read_report(hostile[name] / "results.json").measurement("performance.accuracy") is not None


def test_in_process_plugins_are_recorded(
    loans: Loans, policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(install(tmp_path / "site", "ending", package="in_process")))
    monkeypatch.setenv("WAY", "settings")
    command = ["run", str(loans.model), "--dataset", str(loans.test), "--only", "ending", "--in-process-plugins"]
    assert call([*command, "--out", str(tmp_path / "out")]) == 3
    monkeypatch.setenv("WAY", "none")
    assert call([*command, "--out", str(tmp_path / "out")]) == 3
    report = auditkit.read_report(tmp_path / "out/results.json")
    assert report.config is not None
    assert report.config.run.in_process_plugins


def test_two_packages_cannot_install_one_auditor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(install(tmp_path / "site", "fairness", package="rosy")))
    with pytest.raises(auditkit.InputError, match="both install an auditor named 'fairness'"):
        installed()


def test_an_error_output_that_is_closed_still_gives_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull, "w") as closed:
        monkeypatch.setattr(sys, "stderr", closed)
    assert call(["gate", "absent.json"]) == 2


@dataclass(frozen=True, kw_only=True)
class Odd:
    """Returns what it is told to."""

    returns: Callable[[], object] = field(repr=False)

    def audit(self, subject: auditkit.Subject) -> Any:
        return self.returns()


def measured(id: str = "odd.value", value: float = 0.5) -> auditkit.Measurement:
    return auditkit.Measurement(id=id, value=value, unit="number", better="neither", count=1, definition="here")


def leave() -> None:
    raise SystemExit(0)


@pytest.mark.parametrize(
    ("returns", "said"),
    [
        (lambda: None, "it returned NoneType, and must return Evidence"),
        (auditkit.Evidence, "it returned no evidence"),
        (lambda: auditkit.Evidence(measurements=[measured("fairness.selection_rate")]), "'odd.*'"),
        (lambda: auditkit.Evidence(measurements=["text"]), "AttributeError"),  # type: ignore[list-item]
        (lambda: auditkit.Evidence(exhibits=["text"]), "exhibits.0"),  # type: ignore[list-item]
        (lambda: auditkit.Evidence(notes=["\ud800"]), "surrogates not allowed"),
        (lambda: auditkit.Evidence(measurements=[measured().model_copy(update={"value": float("nan")})]), "None needs"),
        (leave, "SystemExit: 0"),
    ],
)
def test_what_an_auditor_returns_is_checked(loans: Loans, returns: Callable[[], object], said: str) -> None:
    report = auditkit.audit(loans.model, loans.test, auditors=[Odd(returns=returns)], limit=200)
    outcome = next(outcome for outcome in report.outcomes if outcome.auditor == "odd")
    assert outcome.error is not None
    assert said in outcome.error
    assert "\n" not in outcome.error
    assert report.exit_code == 3
    assert '"odd"' in report.to_json()


def test_two_auditors_of_one_name_are_refused(loans: Loans) -> None:
    with pytest.raises(auditkit.InputError, match="two are named 'odd'"):
        auditkit.audit(loans.model, loans.test, auditors=[Odd(returns=leave), Odd(returns=leave)])


@pytest.mark.parametrize("wrong", ["data", Odd])
def test_auditors_that_are_no_instances_are_refused_with_the_option_that_takes_names(
    loans: Loans, wrong: object
) -> None:
    with pytest.raises(auditkit.InputError, match=r"takes instances.*got .*; pass only=\['performance'\]"):
        auditkit.audit(loans.model, loans.test, auditors=[wrong])  # type: ignore[list-item]


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
def test_sigterm_ends_a_command_with_a_line() -> None:
    waits = (
        "import sys, time, auditkit.cli as cli\n"
        "def wait(): print('ready', flush=True); time.sleep(60)\n"
        "cli.app.command()(wait); sys.argv = ['auditkit', 'wait']; cli.main()"
    )
    process = subprocess.Popen([sys.executable, "-c", waits], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=1800) == ("", "auditkit: interrupted.\n")
    assert process.returncode == 130


def test_an_interrupted_write_leaves_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from auditkit.run_folder import write_files

    def interrupt(handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_files(tmp_path, {"results.json": "{}"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_broken_pipe_is_silent_and_no_verdict(results: Path, policy: Path, form: str) -> None:
    process = command("gate", results, "--policy", policy, "--format", form)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == ""
    assert process.wait(timeout=1800) == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the full device of Linux")
def test_an_output_that_is_full_is_no_pass(results: Path, policy: Path) -> None:
    line = f"{sys.executable} -m auditkit gate {results} --policy {policy} --format json > /dev/full"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 3
    assert "No space left on device" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_output_that_knows_ascii_only_gets_the_verdict(results: Path, policy: Path) -> None:
    process = command("gate", results, "--policy", policy, PYTHONIOENCODING="ascii")
    printed, said = process.communicate(timeout=1800)
    assert (process.returncode, said) == (0, "")
    assert "? PASS" in printed


def test_a_name_that_is_no_text_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["gate", os.fsdecode(b"r\xff.json")]) == 2
    assert "is not UTF-8 text; rename the file" in capsys.readouterr().err
