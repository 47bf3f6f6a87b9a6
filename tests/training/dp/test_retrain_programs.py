"""Private models of torch.export archives: packed with their ledger in them, for every architecture and odd graphs."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from loans import Loans
from torch import nn

from auditkit.cli import call
from auditkit.data.dataset import Data
from auditkit.errors import InputError, ModelFileError
from auditkit.models.architectures import build
from auditkit.models.formats.exported import program_in
from auditkit.models.formats.native import save_model
from auditkit.models.formats.opening import open_model, read_model_file
from auditkit.models.model import Card, Model
from auditkit.schema.infer import infer_schema, numeric_schema
from auditkit.schema.schema import Schema
from auditkit.tasks.base import task_for
from auditkit.training.dp.accounting import NOT_COVERED, Ledger
from auditkit.training.dp.plan import PrivateSettings
from auditkit.training.dp.retrain import retrain
from auditkit.training.dp.retrained import Retrained

pytestmark = pytest.mark.filterwarnings("ignore")  # torch.export's own

SMALL: dict[str, dict[str, Any]] = {
    "mlp": {"hidden": [4]},
    "cnn": {"channels": [3], "hidden": 4},
    "lstm": {"embedding_width": 4, "hidden": 4},
    "gru": {"embedding_width": 4, "hidden": 4},
    "transformer": {"width": 4, "heads": 2},
}


def trust(path: Path) -> str:
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def write(module: nn.Module, inputs: torch.Tensor, path: Path, *, fixed: bool = False) -> Path:
    shapes = None if fixed else ({0: torch.export.Dim("rows", min=2)},)
    torch.export.save(torch.export.export(module.eval(), (inputs,), dynamic_shapes=shapes), path)
    return path


def opened(path: Path, schema: Schema | None = None) -> Model:
    return open_model(path, schema=schema, trust_model=trust(path))


def small_data(name: str) -> tuple[Data, Schema]:
    generator = np.random.default_rng(3)
    label = np.array(["no", "yes"])[np.arange(80) % 2]
    if name == "mlp":
        frame = pd.DataFrame(generator.normal(size=(80, 3)), columns=["a", "b", "c"]).assign(label=label)
        schema = infer_schema(frame, target="label")
    elif name == "cnn":
        frame = pd.DataFrame(generator.integers(0, 256, (80, 36))).rename(columns=str).assign(label=label)
        schema = infer_schema(frame, target="label", image=(1, 6, 6))
    else:
        texts = [" ".join(generator.choice(["good", "bad", "film", "plot"], 3)) for _ in label]
        frame = pd.DataFrame({"text": texts, "label": label}, dtype=object)
        schema = infer_schema(frame, target="label", text="text")
    return Data(frame=frame, path=None, sha256="of these rows"), schema


def quick(model: Model, data: Data, out: Path, **more: Any) -> Retrained:
    return retrain(model, data, out=out, **{"epsilon": (1.0,), "epochs": 1, **more})


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "lstm")) for name in SMALL])
def test_every_architecture_is_retrained_and_opens_with_its_ledger(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, schema = small_data(name)
    rows = torch.from_numpy(schema.encode(data.frame))
    original = opened(
        write(build(name, {**schema.network_arguments(), **SMALL[name]}), rows[:3], tmp_path / "net.pt2"), schema
    )
    said = original.module(rows)
    in_memory: list[nn.Module] = []
    monkeypatch.setattr(
        "auditkit.training.dp.retrain.save_model",
        lambda path, module, card: (in_memory.append(copy.deepcopy(module)), save_model(path, module, card)),  # type: ignore[func-returns-value]  # both are called for what they do
    )
    ((path, ledger),) = quick(original, data, tmp_path).files
    assert path == tmp_path / "net-eps1.pt2"
    assert (ledger.clipping, ledger.clipping_passed_over) == ("bookkeeping", ())
    assert ledger.epsilon <= 1
    assert "layer whose operator reads them" in ledger.initial_weights
    assert original.sha256 is not None
    assert original.sha256 in ledger.initial_weights
    assert ledger.not_covered[:-1] == NOT_COVERED
    assert "exported graph" in ledger.not_covered[-1]
    with pytest.raises(ModelFileError, match=r"refused: a torch\.export archive"):
        open_model(path)
    packed = opened(path)
    assert torch.equal(packed.module(rows), in_memory[0](rows))
    assert torch.equal(original.module(rows), said)
    assert not torch.equal(packed.module(rows), said)
    assert packed.card is not None
    assert packed.card.ledger is not None
    assert Ledger.model_validate(packed.card.ledger) == ledger
    assert (packed.schema, packed.card.architecture, packed.architecture) == (schema, "torch.export", None)
    assert packed.was_trained_on("of these rows")
    found = read_model_file(path)
    assert (found.kind, found.card, found.weights) == ("torch.export", packed.card, None)
    again = quick(original, data, tmp_path)
    assert again.files == ((path, ledger),)
    assert any("is kept" in note for note in again.notes)


def test_seeds_draw_fresh_weights_as_for_other_models(tmp_path: Path) -> None:
    data, schema = small_data("mlp")
    rows = torch.from_numpy(schema.encode(data.frame))
    module = build("mlp", schema.network_arguments())
    model = opened(write(module, rows[:3], tmp_path / "net.pt2"), schema)
    state = torch.random.get_rng_state()
    one, same, other = model.fresh(1), model.fresh(1), model.fresh(2)
    assert torch.equal(state, torch.random.get_rng_state())
    assert torch.equal(one(rows), same(rows))
    assert not torch.equal(one(rows), other(rows))
    trained = dict(model.module.named_parameters())
    assert all(not torch.equal(value, trained[name]) for name, value in one.named_parameters())
    assert all(value.requires_grad for value in one.parameters())


def test_a_program_of_one_batch_size_clips_each_row_alone(tmp_path: Path) -> None:
    """Rows are given to it in copies: the same seed must give the weights that a program of any batch size gets."""
    from auditkit.training.dp.dp_sgd import fit_private

    data, schema = small_data("mlp")
    rows = torch.from_numpy(schema.encode(data.frame))
    module = build("mlp", {**schema.network_arguments(), "hidden": [4]})
    found = {}
    for fixed in (False, True):
        model = opened(write(module, rows[:5], tmp_path / f"{fixed}.pt2", fixed=fixed), schema)
        network = model.fresh(0)
        fit_private(
            network,
            rows.numpy(),
            task_for(schema).encode_labels(data.frame),
            PrivateSettings(epsilon=1.0, epochs=2, seed=5),
            device=torch.device("cpu"),
        )
        found[fixed] = network(rows).detach()
    torch.testing.assert_close(found[True], found[False], atol=1e-5, rtol=0)
    notes = quick(model, data, tmp_path).notes
    assert any("exactly 5 rows at once" in note for note in notes)
    assert any("without dropout" in note for note in notes)


def test_a_killed_retraining_of_a_program_goes_on(tmp_path: Path) -> None:
    data, schema = small_data("mlp")
    rows = torch.from_numpy(schema.encode(data.frame))
    model = opened(write(build("mlp", schema.network_arguments()), rows[:3], tmp_path / "net.pt2"), schema)

    def kill(share: float, what: str) -> None:
        if share >= 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quick(model, data, tmp_path / ".", epochs=10, progress=kill)
    assert (tmp_path / ".net-eps1.pt2.checkpoint").exists()
    ((path, ledger),) = quick(model, data, tmp_path, epochs=10).files
    assert ledger.lost_steps > 0
    assert 0.99 <= ledger.epsilon <= 1
    assert sorted(file.name for file in tmp_path.iterdir()) == [path.name, "net.pt2"]


class Parts(nn.Module):
    """Logits and a state, of a table of three columns."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.output = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        state = torch.tanh(self.body(x))
        return self.output(state), state


def test_the_command_line_from_a_bare_archive_to_an_audit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, _ = small_data("mlp")
    rows, model = tmp_path / "rows.csv", tmp_path / "net.pt2"
    data.frame.to_csv(rows, index=False)
    write(Parts(), torch.zeros(3, 3), model)
    command = ["retrain", str(model), "--train-dataset", str(rows), "--epsilon", "3", "--epochs", "2"]
    assert call(command) == 2
    assert "--trust-model sha256:" in capsys.readouterr().err
    trusted = [*command, "--trust-model", trust(model)]
    assert call(trusted) == 2
    assert "pass --target COLUMN" in capsys.readouterr().err
    assert call([*trusted, "--target", "label"]) == 0
    made = tmp_path / "net-eps3.pt2"
    said = capsys.readouterr().out
    assert f"auditkit run {made} --trust-model {trust(made)}" in said.replace("\n", " ")
    audit = ["run", str(made), "--dataset", str(rows), "--out", str(tmp_path / "report"), "--quiet"]
    assert call([*audit, "--trust-model", trust(made), "--only", "performance"]) in (0, 1)
    for options, words in (
        (["--lora-rank", "2", "--public-init", str(made), "--trust-model", trust(made)], "a program has none"),
        (["--trainable", "output.*"], "these must be public"),
        (["--public-init", str(model)], "model's own weights"),
        (["--public-init", str(made)], "but this file is sha256:"),
    ):
        assert call([*trusted, "--target", "label", "--out", str(tmp_path / "other"), *options]) == 2
        refusal = capsys.readouterr().err
        assert words in refusal
        assert refusal.count("\n") == 1
    part = ["--public-init", str(made), "--trust-model", trust(made), "--trainable", "output.*"]
    assert call([*trusted, "--target", "label", "--out", str(tmp_path / "part"), *part]) == 0
    tuned = opened(tmp_path / "part" / "net-eps3.pt2")
    assert tuned.card is not None
    assert tuned.card.ledger is not None
    assert "declared public" in tuned.card.ledger["initial_weights"]
    assert "10 of 26 parameters (output.weight, output.bias)" in tuned.card.ledger["trained_part"]
    one, other = (program_in(opened(path).module) for path in (made, tmp_path / "part" / "net-eps3.pt2"))
    assert one is not None
    assert other is not None
    assert torch.equal(one.network.get_parameter("body.weight"), other.network.get_parameter("body.weight"))
    assert not torch.equal(one.network.get_parameter("output.weight"), other.network.get_parameter("output.weight"))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cells, self.output = nn.GRU(1, 3, batch_first=True), nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.output(self.cells(x[:, :, None])[0].mean(1))
        return out


def test_a_fused_gru_is_refused_with_the_remedy_which_helps(tmp_path: Path) -> None:
    data, schema = small_data("mlp")
    path = write(Recurrent(), torch.zeros(3, 3), tmp_path / "gru.pt2")
    with pytest.raises(InputError, match=r"row by row .* export it anew with program\.run_decompositions\(\)"):
        quick(opened(path, schema), data, tmp_path)
    torch.export.save(torch.export.load(path).run_decompositions(), path)
    ((_, ledger),) = quick(opened(path, schema), data, tmp_path).files
    assert ledger.clipping == "chunked"


def test_refusals_are_one_line(tmp_path: Path) -> None:
    data, schema = small_data("mlp")
    zeros = torch.zeros(3, 3)
    norm = opened(
        write(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)), zeros, tmp_path / "b.pt2"), schema
    )
    with pytest.raises(InputError, match=r"batch_norm.*GroupNorm"):
        quick(norm, data, tmp_path)
    net = opened(write(nn.Linear(3, 2), zeros, tmp_path / "l.pt2"), schema)
    other = opened(write(nn.Sequential(nn.Linear(3, 2), nn.Tanh()), zeros, tmp_path / "o.pt2"), schema)
    with pytest.raises(InputError, match="not of the same exported graph"):
        quick(net, data, tmp_path, public=other)
    script = tmp_path / "s.pt"
    torch.jit.save(torch.jit.script(nn.Linear(3, 2)), script)
    with pytest.raises(InputError, match="is a TorchScript, which has no architecture"):
        quick(opened(script, schema), data, tmp_path)
    assert not list(tmp_path.glob("*-eps*"))


def test_a_card_that_is_damaged_or_of_no_program_is_refused(tmp_path: Path) -> None:
    schema = numeric_schema(["a"], target="y", classes=("0", "1"), sensitive=(), output="logits", task="binary")
    program = torch.export.export(nn.Linear(1, 2).eval(), (torch.zeros(2, 1),))
    path = tmp_path / "model.pt2"
    torch.export.save(program, path, extra_files={"auditkit_card.json": "{}", "readme.txt": "anything"})
    with pytest.raises(ModelFileError, match="its card is not valid: schema"):
        read_model_file(path)
    card = Card(schema=schema, architecture="torch.export")
    torch.export.save(program, path, extra_files={"readme.txt": card.model_dump_json()})
    assert read_model_file(path).card is None
    native = tmp_path / "model.pt"
    torch.save({"auditkit_card": card.model_dump_json(), "state_dict": nn.Linear(1, 2).state_dict()}, native)
    with pytest.raises(ModelFileError, match=r"'torch\.export' is unknown"):
        open_model(native)


def test_the_loans_archive_costs_what_the_native_model_costs(loans: Loans, tmp_path: Path) -> None:
    """The same data, budget, steps and way of clipping: the ledgers agree but for what was drawn and kept."""
    native = open_model(loans.model)
    path = write(native.module, torch.zeros(3, native.schema.input_width), tmp_path / "loans.pt2")
    from auditkit.data.dataset import read_data

    data = read_data(loans.train)
    ((_, one),) = quick(native, data, tmp_path).files
    ((_, other),) = quick(opened(path, native.schema), data, tmp_path).files
    differing = {name for name, value in one if getattr(other, name) != value}
    assert differing == {"initial_weights", "not_covered"}
