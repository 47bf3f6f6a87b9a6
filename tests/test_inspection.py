"""auditkit inspect: what a file is and what could be done with it, while nothing of the file runs."""

from __future__ import annotations

import hashlib
import json
import math
import os
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import safetensors.torch
import torch
from loans import Loans

import auditkit
from auditkit.auditors.robustness.auditor import Robustness
from auditkit.cli import call
from auditkit.engine.inspect import inspect_model
from auditkit.engine.plan import Plan
from auditkit.errors import InputError
from auditkit.models.formats.opening import open_model


def test_a_native_file_is_told_whole(loans: Loans, monkeypatch: pytest.MonkeyPatch) -> None:
    load = torch.load

    def weights_alone(*arguments: Any, **options: Any) -> Any:
        assert options["weights_only"]
        return load(*arguments, **options)

    monkeypatch.setattr("torch.load", weights_alone)
    for name in ("jit.load", "export.load"):
        monkeypatch.setattr(f"torch.{name}", lambda *_, **__: pytest.fail("a program was loaded"))
    assert inspect_model(loans.model).opens
    monkeypatch.undo()
    found = inspect_model(loans.model, dataset=loans.test)
    model = open_model(loans.model)
    assert (found.kind, found.opens, found.problems) == ("auditkit", True, ())
    assert found.trust == "weights only: nothing of it is run"
    assert found.sha256 == hashlib.sha256(loans.model.read_bytes()).hexdigest()
    assert found.parameter_count == model.parameter_count
    assert found.architecture == "mlp"
    assert {key: shape for key, shape, _ in found.tensors} == {
        key: tuple(value.shape) for key, value in model.module.state_dict().items()
    }
    # A multiplication and an addition for every weight of a linear layer.
    weights = sum(value.numel() for key, value in model.module.state_dict().items() if key.endswith("weight"))
    assert found.operations_per_row == 2 * weights
    assert found.row_count == 1000
    assert found.training["row_count"] == 1500
    abilities = {ability.auditor: ability for ability in found.abilities}
    of_other_models = {"language", "generation", "synthetic", "memorisation", "bias", "private_training"}
    of_other_models |= {"identity_terms"}  # it reads columns, and no text
    assert {name for name, ability in abilities.items() if not ability.able} == of_other_models
    assert abilities["language"].reason.startswith("the model is no language model")
    assert abilities["fairness"].reason == ""
    assert "--train-dataset" in abilities["privacy"].reason
    plans: list[Plan] = []
    auditors = [Robustness()]
    auditkit.audit(loans.model, loans.test, auditors=auditors, announce=plans.append)
    passes = {cost.part: cost.row_passes for cost in found.costs}
    assert passes["predictions"] == 1000
    assert passes["explainability"] > 100_000
    assert passes["robustness"] == plans[0].parts[-1].passes, "the plan of a run"
    assert "privacy" not in passes, "there are no training data"
    trained = inspect_model(loans.model, dataset=loans.test, train_dataset=loans.train)
    assert {cost.part: cost.row_passes for cost in trained.costs}["privacy"] > 1500 * 20


def test_missing_columns_are_told(loans: Loans, tmp_path: Path) -> None:
    frame = "\n".join(
        ",".join(line.split(",")[index] for index in (1, 2, 3, 5)) for line in loans.test.read_text().splitlines()
    )
    (tmp_path / "part.csv").write_text(frame + "\n")
    found = inspect_model(loans.model, dataset=tmp_path / "part.csv")
    assert not found.opens
    assert "has no column 'income' (and 1 more), which the model reads" in found.problems[0]
    abilities = {ability.auditor: ability for ability in found.abilities}
    assert not abilities["performance"].able
    assert "the data has no column 'approved'" in abilities["performance"].reason
    assert "the data has no sensitive column 'group'" in abilities["fairness"].reason
    assert found.costs == ()


def test_what_would_stop_an_audit_is_told_before_it(loans: Loans, tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(4, 2).state_dict(), tmp_path / "weights.pt")
    (tmp_path / "rows.csv").write_text("a,b,c,y\n1,2,3,no\n4,5,6,yes\n7,8,9,no\n")
    found = inspect_model(
        tmp_path / "weights.pt",
        dataset=tmp_path / "rows.csv",
        target="y",
        architecture="torch.nn:Linear",
        architecture_args={"in_features": 4, "out_features": 2},
    )
    assert not found.opens
    assert "a=1, b=1, c=1" in found.problems[0]
    assert not any(ability.able for ability in found.abilities)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"expect": "scores"}, "the model does not give the scores of 'scores'"),
        ({}, "clearly less often than chance"),
        ({"only": ("nonsense",)}, "unknown auditor 'nonsense'"),
        ({"policy": "none.toml"}, "policy none.toml: No such file"),
        ({"shift": ("g=w:+0.1",)}, "column g has no group 'w'"),
        ({"trust_pickle": "sha256:" + "0" * 64}, "--trust-pickle"),
    ],
)
def test_nothing_is_able_where_run_would_exit_with_2(
    options: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that knows the sign of one column, and requests that a run refuses."""
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": torch.tensor([[-1.0], [1.0]]), "bias": torch.zeros(2)}, "weights.pt")
    positive = "yes" if options else "no"  # without options the labels contradict the outputs
    negative = "no" if options else "yes"
    rows = [(n % 7 - 3, positive if n % 7 >= 3 else negative, "uv"[n % 2]) for n in range(84)]
    frame = pd.DataFrame(rows, columns=["a", "y", "g"])
    frame.assign(**{"scores": 0.25} if "expect" in options else {}).to_csv("rows.csv", index=False)
    asked: dict[str, Any] = {"dataset": Path("rows.csv"), "target": "y", "sensitive": ("g",), **options}
    asked |= {"architecture": "torch.nn:Linear", "architecture_args": {"in_features": 1, "out_features": 2}}
    with pytest.raises(InputError, match=said):
        auditkit.audit("weights.pt", **asked)
    found = inspect_model("weights.pt", **asked)
    assert not found.opens
    assert said in found.problems[0]
    assert not any(ability.able for ability in found.abilities)


def net(width: int = 3) -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(width, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))


def test_foreign_weights_and_what_they_lack(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"model": net().state_dict()}, path)
    found = inspect_model(path)
    assert (found.kind, found.opens, found.architecture) == ("weights", False, None)
    assert "pass --architecture" in found.problems[0]
    assert found.parameter_count == 3 * 4 + 4 + 4 * 4 + 1 + 4 * 2 + 2
    found = inspect_model(path, architecture=f"{__name__}:net")
    assert found.opens
    assert found.parameter_count == 3 * 4 + 4 + 2 * 4 + 4 * 2 + 2
    abilities = {ability.auditor: ability for ability in found.abilities}
    assert "--target" in abilities["performance"].reason
    assert not abilities["privacy"].able
    assert "Opacus cannot train it: BatchNorm cannot support training" in abilities["privacy"].reason
    found = inspect_model(path, architecture=f"{__name__}:net", architecture_args={"width": 5})
    assert not found.opens
    assert "must have shape (4, 5), got (4, 3)" in found.problems[0]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_weights_that_are_not_finite_are_told_without_data(value: float, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights.{suffix}"
    state = net().state_dict()
    state["2.weight"][1, 2:] = value
    if suffix == "pt":
        torch.save({"epoch": 3, "state_dict": state}, path)
    else:
        safetensors.torch.save_file(state, path)
    for architecture in (None, f"{__name__}:net"):
        found = inspect_model(path, architecture=architecture)
        assert not found.opens
        assert found.problems == (
            f"model {path}: weight '2.weight' has 2 values that are NaN or infinite; train it again.",
        )
        assert not any(ability.able for ability in found.abilities)
        assert "no check can begin" in {one.auditor: one for one in found.abilities}["data"].reason


class Evil:
    def __reduce__(self) -> Any:
        return (os._exit, (9,))


def test_programs_are_told_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(Evil(), path)
    found = inspect_model(path)
    assert (found.kind, found.opens, found.parameter_count) == ("pickled module", False, None)
    assert found.trust == f"opens only with --trust-pickle sha256:{found.sha256}"
    program = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),))
    torch.export.save(program, tmp_path / "model.pt2")
    found = inspect_model(tmp_path / "model.pt2")
    assert found.kind == "torch.export"
    abilities = {ability.auditor: ability for ability in found.abilities}
    assert abilities["explainability"].able
    assert "methods that hook its layers would be silently wrong" in abilities["explainability"].reason
    assert "pass --train-dataset FILE" in abilities["privacy"].reason
    assert abilities["privacy"].able
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit is deprecated
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    abilities = {ability.auditor: ability for ability in inspect_model(path).abilities}
    assert "a TorchScript program has no architecture to build anew" in abilities["privacy"].reason
    assert not abilities["privacy"].able


def test_the_commands(loans: Loans, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["inspect", str(loans.model), "--dataset", str(loans.test)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for words in ("weights only: nothing of it is run", "architecture  mlp(", "passes of a row"):
        assert words in out
    lines = [line for line in out.splitlines() if line[:2] in ("✔ ", "✘ ")]
    assert any(line[0] == "✔" and "fairness" in line.partition("  ")[0] for line in lines)
    assert len({(line[0], line.partition("  ")[2]) for line in lines}) == len(lines)  # each reason once
    assert call(["inspect", str(loans.model), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["kind"] == "auditkit"
    assert document["schema"]["target"] == "approved"
    assert call(["inspect", str(loans.test)]) == 2
    assert "a text file, not a model file; models are files of torch.save" in capsys.readouterr().err
    # A native file, unpacked to weights and a schema, and packed again.
    model = open_model(loans.model)
    torch.save({"state_dict": model.module.state_dict()}, tmp_path / "weights.pt")
    (tmp_path / "schema.json").write_text(model.schema.model_dump_json())
    assert model.card is not None
    flags = ["--architecture", "mlp", "--architecture-args", json.dumps(model.card.arguments)]
    flags += ["--schema", str(tmp_path / "schema.json")]
    packed = tmp_path / "packed.safetensors"
    assert call(["pack", str(tmp_path / "weights.pt"), *flags, "--out", str(packed)]) == 0
    assert "The weights were found under 'state_dict'" in capsys.readouterr().out
    only = ["--dataset", str(loans.test), "--only", "performance", "--json"]
    values: list[Any] = []
    for arguments in ([str(loans.model)], [str(packed)], [str(tmp_path / "weights.pt"), *flags]):
        call(["run", *arguments, *only, "--out", str(tmp_path / f"out{len(values)}")])
        document = json.loads(capsys.readouterr().out)
        measured = [outcome["measurements"] for outcome in document["outcomes"] if outcome["measurements"]]
        values.append([(part["id"], part["by"], part["value"]) for parts in measured for part in parts])
    assert values[0]
    assert values[0] == values[1] == values[2]


def test_run_opens_what_is_trusted_and_says_so_in_red(
    loans: Loans, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = open_model(loans.model)
    path = tmp_path / "whole.pt"
    torch.save(model.module, path)
    (tmp_path / "schema.json").write_text(model.schema.model_dump_json())
    command = ["run", str(path), "--dataset", str(loans.test), "--schema", str(tmp_path / "schema.json"), "--quiet"]
    command += ["--only", "performance", "--out", str(tmp_path / "out")]
    assert call(command) == 2
    refusal = capsys.readouterr().err
    option = refusal.strip().rpartition("run what is inside: ")[2].removesuffix(".").split()
    assert option[0] == "--trust-pickle"
    assert call([*command, *option]) in (0, 1)
    document = json.loads((tmp_path / "out/results.json").read_text())
    assert document["subject"]["model"]["trust"]["text"] == "trusted by its hash: its author's code was run"
    assert document["subject"]["model"]["kind"] == "pickled module"
    page = (tmp_path / "out/report.html").read_text()
    assert '<strong class="trusted">' in page
    capsys.readouterr()
    call([word for word in [*command, *option] if word != "--quiet"])
    assert "The model file was trusted by its hash: its author's code was run." in capsys.readouterr().out
    assert call([*command, "--trust-pickle", "sha256:" + "0" * 64]) == 2
    for wrong, match in (
        (["--output", "score"], "needs a threshold"),
        (["--task", "regression"], "the model's schema names the classes no, yes"),
        (["--classes", "a"], "at least two different classes"),
        (["--architecture-args", "["], "must be a JSON object"),
    ):
        capsys.readouterr()
        assert call([*command, *option, *wrong]) == 2
        assert match in capsys.readouterr().err


def test_weights_without_a_schema_read_the_columns_as_they_are(
    loans: Loans, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "\n".join(",".join(line.split(",")[i] for i in (0, 1, 4, 6)) for line in loans.test.read_text().splitlines())
    (tmp_path / "rows.csv").write_text(rows + "\n")
    torch.manual_seed(0)
    torch.save(net(2).state_dict(), tmp_path / "weights.pt")
    command = ["run", str(tmp_path / "weights.pt"), "--dataset", str(tmp_path / "rows.csv"), "--only", "performance"]
    command += ["--architecture", f"{__name__}:net", "--architecture-args", '{"width": 2}', "--json"]
    command += ["--sensitive", "group", "--out", str(tmp_path / "out")]
    assert call(command) == 2
    assert "target must name the label's column" in capsys.readouterr().err
    assert call([*command, "--target", "approved", "--classes", "yes,no"]) in (0, 1)
    document = json.loads(capsys.readouterr().out)
    notes = " ".join(note["text"] for note in document["subject"]["notes"])
    assert "as one tensor of 2 numbers a row: income, years." in notes
    assert "recognised as logits" in notes
    assert document["subject"]["schema"]["classes"] == ["yes", "no"]
