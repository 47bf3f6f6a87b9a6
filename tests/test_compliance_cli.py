"""The commands for whoever must trust a report, as their users meet them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from loans import Loans

from auditkit.cli import call
from auditkit.evidence.report import read_report

Said = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("keys")
    key = Ed25519PrivateKey.generate()
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (folder / "public.pem").write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return folder / "key.pem", folder / "public.pem"


@pytest.fixture(scope="module")
def audited(loans: Loans, keys: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("audited") / "run"
    command = ["run", str(loans.model), "--dataset", str(loans.test), "--out", str(out), "--quiet", "--limit", "600"]
    command += ["--only", "performance", "--only", "fairness", "--seed", "3"]
    assert call([*command, "--where", "income > 20", "--sign", str(keys[0])]) in (0, 1)
    return out


@pytest.fixture
def run(audited: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(audited, tmp_path / "run"))


def test_a_run_is_sealed_and_signed(run: Path, keys: tuple[Path, Path], capsys: Said) -> None:
    assert call(["verify", str(run), "--public-key", str(keys[1])]) == 0
    said = capsys.readouterr().out
    assert "4 files, each as it was sealed" in said
    assert f"Signed with {keys[1]}." in said
    assert call(["verify", str(run)]) == 0
    assert "pass --public-key to check whose it is" in capsys.readouterr().out


def test_an_edited_report_is_found(run: Path, capsys: Said) -> None:
    page = run / "report.html"
    page.write_text(page.read_text().replace("Fail", "Pass"))
    assert call(["verify", str(run)]) == 1
    assert "edited: report.html" in capsys.readouterr().out


def test_what_is_added_is_sealed_again_on_request(run: Path, keys: tuple[Path, Path], capsys: Said) -> None:
    assert call(["render", str(run / "results.json"), "--to", "cyclonedx,model-card"]) == 0
    assert call(["comply", str(run / "results.json"), "--framework", "eu-ai-act"]) == 0
    assert call(["verify", str(run)]) == 1
    assert "extra: bom.cdx.json" in capsys.readouterr().out
    assert call(["seal", str(run), "--sign", str(keys[0])]) == 0
    assert call(["verify", str(run), "--public-key", str(keys[1])]) == 0
    assert call(["seal", str(run)]) == 0
    assert call(["verify", str(run), "--public-key", str(keys[1])]) == 1, (
        "a seal without the key takes the signature off"
    )


def test_an_unsigned_run_takes_an_old_signature_away(loans: Loans, run: Path, capsys: Said) -> None:
    command = ["run", str(loans.model), "--dataset", str(loans.test), "--out", str(run), "--quiet"]
    assert call([*command, "--only", "performance"]) in (0, 1, 3)
    assert not (run / "manifest.sig").exists()
    assert call(["verify", str(run)]) == 0
    assert "Not signed" in capsys.readouterr().out


def test_a_replay_gives_every_number_again(loans: Loans, run: Path, capsys: Said) -> None:
    command = ["replay", str(run), "--model", str(loans.model), "--dataset", str(loans.test)]
    assert call(command) == 0
    assert "every number agrees" in capsys.readouterr().out
    recorded = read_report(run / "results.json")
    assert recorded.config.data.where == "income > 20"
    assert recorded.config.data.limit == 600


def test_a_replay_finds_a_number_that_was_made_up(loans: Loans, run: Path, capsys: Said) -> None:
    path = run / "results.json"
    document = json.loads(path.read_text())
    for outcome in document["outcomes"]:
        for measurement in outcome["measurements"]:
            if measurement["id"] == "performance.log_loss" and not measurement["by"]:
                measurement["value"] += 0.001
    path.write_text(json.dumps(document))
    (run / "manifest.json").unlink()
    command = ["replay", str(run), "--model", str(loans.model), "--dataset", str(loans.test)]
    assert call(command) == 1
    said = capsys.readouterr().out
    assert "performance.log_loss: recorded" in said
    assert "tolerance 1e-06: 1 departs." in said


def test_a_replay_of_other_files_is_refused(loans: Loans, run: Path, capsys: Said) -> None:
    assert call(["replay", str(run), "--model", str(loans.model), "--dataset", str(loans.train)]) == 2
    assert "not the file that was audited" in capsys.readouterr().err
    assert call(["replay", str(run), "--dataset", str(loans.test)]) == 2
    assert "pass --model FILE" in capsys.readouterr().err


def test_a_replay_runs_no_code_that_the_record_names(loans: Loans, run: Path, tmp_path: Path, capsys: Said) -> None:
    path, touched = run / "results.json", tmp_path / "touched"
    weights = tmp_path / "weights.pt"
    torch.save({"weight": torch.zeros(2)}, weights)
    document = json.loads(path.read_text())
    document["asked"] = {"architecture": "os:mkdir", "architecture_args": {"path": str(touched)}, "schema": "given"}
    document["subject"]["model"]["sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    path.write_text(json.dumps(document))
    (run / "manifest.json").unlink()
    command = ["replay", str(run), "--model", str(weights), "--dataset", str(loans.test)]
    assert call(command) == 2
    assert (
        "the record names the architecture 'os:mkdir', which is code that is not auditkit's" in capsys.readouterr().err
    )
    assert not touched.exists()
    assert call([*command, "--architecture", "os:mkdir"]) == 2
    assert touched.exists(), "the user named the code"


def test_comply_writes_three_files_for_each_framework(run: Path, tmp_path: Path, capsys: Said) -> None:
    facts = tmp_path / "facts.toml"
    assert call(["comply", "--init-facts", str(facts)]) == 0
    assert call(["comply", "--init-facts", str(facts)]) == 2
    facts.write_text(facts.read_text().replace('signatory = ""', 'signatory = "A. Person, head of risk"'))
    out = tmp_path / "tables"
    command = ["comply", str(run / "results.json"), "--facts", str(facts), "--out", str(out)]
    assert call([*command, "--framework", "eu-ai-act", "--framework", "nyc-ll144"]) == 0
    expected = {f"comply-{name}.{kind}" for name in ("eu-ai-act", "nyc-ll144") for kind in ("html", "md", "csv")}
    assert {path.name for path in out.iterdir()} == expected
    page = (out / "comply-eu-ai-act.html").read_text()
    assert "A. Person, head of risk" in page
    assert 'href="../run/report.html#auditor-' in page
    said = capsys.readouterr()
    assert "eu-ai-act: 28 clauses:" in said.out


def test_compare_tells_two_runs_apart(run: Path, loans: Loans, tmp_path: Path, capsys: Said) -> None:
    other = tmp_path / "other"
    command = ["run", str(loans.model), "--dataset", str(loans.test), "--out", str(other), "--quiet"]
    assert call([*command, "--only", "performance"]) in (0, 1, 3)
    assert call(["compare", str(run), str(other / "results.json"), "--out", str(tmp_path / "cmp")]) == 0
    assert {path.name for path in (tmp_path / "cmp").iterdir()} == {"compare.html", "compare.json"}
    assert "no longer measured" in capsys.readouterr().out
    assert call(["compare", str(run), str(run), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {change["reading"] for change in document["changes"]} <= {"same", "undefined"}


def test_index_lists_the_runs_of_a_folder(run: Path, tmp_path: Path, capsys: Said) -> None:
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn/results.json").write_text("{")
    assert call(["index", str(tmp_path)]) == 0
    page = (tmp_path / "index.html").read_text()
    assert 'href="run/report.html"' in page
    assert "torn/results.json" in page
    assert call(["index", str(tmp_path / "torn/none")]) == 2
    assert "holds no results.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["comply", "RESULTS"], "--framework must name one of"),
        (["comply", "RESULTS", "--framework", "eu-ai"], "unknown framework 'eu-ai'"),
        (["comply", "--framework", "eu-ai-act"], "which report"),
        (["comply", "RESULTS", "--framework", "eu-ai-act", "--facts", "absent.toml"], "--init-facts"),
        (["verify", "absent"], "'auditkit run' writes one"),
        (["seal", "RUN", "--sign", "absent.pem"], "absent.pem"),
        (["compare", "RESULTS", "absent.json"], "absent.json"),
        (["render", "RESULTS", "--to", "cyclondx"], "did you mean 'cyclonedx'"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_bad_input_gives_one_line_and_exit_2(run: Path, capsys: Said, command: list[str], words: str) -> None:
    places = {"RESULTS": str(run / "results.json"), "RUN": str(run)}
    before = sorted(run.rglob("*"))
    assert call([places.get(word, word) for word in command]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert words in err
    assert sorted(run.rglob("*")) == before


def test_none_of_them_needs_torch_and_none_fails_without_cryptography(run: Path) -> None:
    script = (
        "import sys; sys.modules['cryptography'] = None; from auditkit.cli import call; "
        "(__import__('pathlib').Path('run/manifest.sig')).unlink(); "
        "codes = [call(command.split()) for command in ("
        "'verify run', 'comply run/results.json --framework nist-ai-rmf --out t', 'compare run run --out c', "
        "'index .', 'render run/results.json --to model-card,cyclonedx,in-toto,ai-verify --out e', "
        "'seal run --sign k.pem')]; "
        "print(codes, sorted({'torch', 'pandas', 'fairlearn', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=run.parent, capture_output=True, text=True, env=os.environ, check=False
    )
    assert done.stdout.splitlines()[-1] == "[0, 0, 0, 0, 0, 2] []", done.stderr
    assert "pip install 'cryptography>=" in done.stderr


def test_a_run_is_told_purpose_and_owner_and_refuses_what_it_cannot_read(
    loans: Loans, tmp_path: Path, capsys: Said
) -> None:
    facts = tmp_path / "facts.toml"
    command = ["run", str(loans.model), "--dataset", str(loans.test), "--only", "performance", "--limit", "300"]
    command += ["--quiet", "--out", str(tmp_path / "out"), "--facts", str(facts), "--to", "html,model-card"]
    assert call(command) == 2
    assert "facts.toml" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    facts.write_text('owner = "Credit desk"\nintended_purpose = "To rank applications"\n', encoding="utf-8")
    assert call(command) == 0
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "To rank applications" in page
    assert "Credit desk" in page
    assert "- Owner: Credit desk" in (tmp_path / "out/model-card.md").read_text(encoding="utf-8")
