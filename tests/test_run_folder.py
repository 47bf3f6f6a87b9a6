"""FACTS 13.10 and 12: what a folder held before a run is void once the run starts, whatever becomes of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from loans import Loans

from auditkit.cli import call
from auditkit.errors import InputError
from auditkit.run_folder import PARTIAL, output_folder, replace_run, write_files


def audited(loans: Loans, out: Path, *more: str, code: tuple[int, ...] = (0, 1)) -> None:
    command = ["run", str(loans.model), "--dataset", str(loans.test), "--only", "performance", "--quiet"]
    assert call([*command, "--out", str(out), *more]) in code


@pytest.fixture(scope="module")
def reported(loans: Loans, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run once what each test finds in a folder of its own."""
    out = tmp_path_factory.mktemp("reported") / "audit"
    with pytest.MonkeyPatch.context() as patch:  # as every test has it
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.getbasetemp() / "data"))
        audited(loans, out)
        assert call(["render", str(out / "results.json"), "--to", "sarif,model-card"]) == 0
    (out / "minutes.txt").write_text("a meeting")
    return out


@pytest.fixture
def earlier(reported: Path, tmp_path: Path) -> Path:
    """A folder with the report of a run, what was made of it since, and a file of the user's own."""
    return Path(shutil.copytree(reported, tmp_path / "audit"))


@pytest.mark.parametrize("fault", ["--dataset", "--policy", "--where"])
def test_a_run_that_fails_leaves_no_earlier_report(
    earlier: Path, loans: Loans, tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    value = {"--dataset": str(tmp_path / "none.csv"), "--policy": str(tmp_path / "none.toml"), "--where": "income >"}
    audited(loans, earlier, fault, value[fault], code=(2,))
    assert sorted(path.name for path in earlier.iterdir()) == ["minutes.txt", "results.json"]
    assert json.loads((earlier / "results.json").read_text())["state"] == "unfinished"
    capsys.readouterr()
    for command in (
        ["gate", str(earlier)], ["render", str(earlier / "results.json")], ["compare", str(earlier), str(earlier)],
        ["comply", str(earlier), "--framework", "eu-ai-act"], ["verify", str(earlier)],
    ):  # fmt: skip
        assert call(command) == 2, command
        err = capsys.readouterr().err
        assert "has not finished, or failed" in err
        assert err.count("\n") == 1
    audited(loans, earlier)
    assert call(["verify", str(earlier)]) == 1, "the user's own file is no part of the report"
    (earlier / "minutes.txt").unlink()
    assert call(["verify", str(earlier)]) == 0


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_run_that_is_killed_leaves_no_earlier_report(earlier: Path, loans: Loans) -> None:
    command = [sys.executable, "-m", "auditkit", "run", str(loans.model), "--dataset", str(loans.test), "--quiet"]
    process = subprocess.Popen([*command, "--out", str(earlier)])
    # First results.json says that a run is unfinished, then the other files go: the kill comes after the last of them.
    while process.poll() is None:
        left = {path.name for path in earlier.iterdir() if not path.name.startswith(".")}
        if left == {"results.json", "minutes.txt"}:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert json.loads((earlier / "results.json").read_text())["state"] == "unfinished"
    assert call(["gate", str(earlier)]) == 2
    assert not (earlier / "summary.md").exists()
    assert not (earlier / "manifest.json").exists()


def test_a_first_run_that_fails_leaves_nothing(loans: Loans, tmp_path: Path) -> None:
    audited(loans, tmp_path / "new", "--where", "income >", code=(2,))
    assert not (tmp_path / "new").exists()


def test_what_a_killed_run_was_writing_is_no_part_of_a_report_and_goes_with_the_next(
    earlier: Path, loans: Loans
) -> None:
    (earlier / "minutes.txt").unlink()
    assert call(["seal", str(earlier)]) == 0
    left = earlier / f".report.html.x1y2{PARTIAL}"
    left.write_text("half a page")
    assert call(["verify", str(earlier)]) == 0
    (earlier / f"visible{PARTIAL}").write_text("not hidden")
    assert call(["verify", str(earlier)]) == 1
    (earlier / f"visible{PARTIAL}").unlink()
    audited(loans, earlier)
    assert not left.exists()


def test_a_gate_into_the_folder_of_another_report_replaces_it_whole(earlier: Path, tmp_path: Path) -> None:
    out = tmp_path / "gated"
    write_files(out.parent / "gated" if out.mkdir() is None else out, {"results.json": "{}", "results.sarif": "old"})  # type: ignore[func-returns-value]  # both are called for what they do
    assert call(["gate", str(earlier / "results.json"), "--out", str(out)]) in (0, 1)
    assert not (out / "results.sarif").exists()
    assert call(["verify", str(out)]) == 0


def test_an_empty_folder_stays_empty(tmp_path: Path) -> None:
    with output_folder(tmp_path) as folder:
        replace_run(folder, "r")
        assert list(folder.iterdir()) == []


def test_a_folder_that_is_taken_away_or_swapped_during_the_run_gets_the_report(tmp_path: Path) -> None:
    taken, swapped = tmp_path / "a" / "taken", tmp_path / "swapped"
    with output_folder(taken) as folder:
        shutil.rmtree(tmp_path / "a")
        write_files(folder, {"results.json": "{}"})
    assert (taken / "results.json").read_text() == "{}"
    with output_folder(swapped) as folder:
        folder.rename(tmp_path / "elsewhere")
        swapped.mkdir()
        (swapped / "results.json").write_text('{"verdict": "pass"}')
        write_files(folder, {"results.json": "{}"})
    assert (swapped / "results.json").read_text() == "{}"


def test_links_in_a_folder_are_replaced_and_not_written_through(earlier: Path, loans: Loans, tmp_path: Path) -> None:
    for name, link in (("outside.html", os.symlink), ("other.html", os.link)):
        (tmp_path / name).write_text("mine")
        (earlier / "report.html").unlink()
        link(tmp_path / name, earlier / "report.html")
        audited(loans, earlier)
        assert (tmp_path / name).read_text() == "mine"
        assert "<html" in (earlier / "report.html").read_text()
        assert not (earlier / "report.html").is_symlink()


@pytest.mark.parametrize("name", ["report.html", "junit.xml", "results.json", "report-old.html"])
def test_a_folder_in_the_place_of_a_file_is_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / name).mkdir()
    (tmp_path / f".x{PARTIAL}").mkdir()
    with pytest.raises(InputError, match="output folder") as raised, output_folder(tmp_path) as folder:
        replace_run(folder, "r")
    assert "\n" not in str(raised.value)
