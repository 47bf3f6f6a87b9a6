"""Training a part of public weights with privacy: what moves, what stays, and that adapters leave a plain network."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from loans import Loans
from torch import nn
from torch.nn import functional

from auditkit.cli import call
from auditkit.errors import InputError
from auditkit.models.architectures import build
from auditkit.models.formats.native import save_model
from auditkit.models.formats.opening import open_model
from auditkit.models.model import Model
from auditkit.tasks.objectives import CrossEntropy
from auditkit.training.adapters import LowRank, merge_adapters, train_only
from auditkit.training.dp.accounting import ALL_TRAINED, Ledger
from auditkit.training.dp.clipping import clipper_for
from auditkit.training.dp.dp_sgd import trained_part
from auditkit.training.dp.settings import Clipping

TEXT = {"vocabulary_size": 12, "length": 5, "output_width": 3, "dropout": 0.0}
MLP = {"input_width": 6, "output_width": 3, "hidden": [8, 7], "dropout": 0.0}


def network(name: str, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build(name, MLP if name == "mlp" else TEXT)


def rows(name: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    if name == "mlp":
        return torch.randn(9, 6, generator=generator)
    return torch.randint(1, 12, (9, 5), generator=generator)


@pytest.mark.parametrize("name", ["mlp", "lstm", "gru", "transformer"])
def test_adapters_start_at_nothing_and_merge_into_plain_weights(name: str) -> None:
    module, plain = network(name), network(name)
    train_only(module, (), rank=2)
    assert torch.equal(module.eval()(rows(name)), plain.eval()(rows(name)))
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, LowRank):
                layer.up.weight.normal_()
    adapted = module(rows(name))
    merge_adapters(module)
    assert list(module.state_dict()) == list(plain.state_dict())
    assert torch.allclose(module(rows(name)), adapted, atol=1e-5)
    assert not torch.allclose(adapted, plain(rows(name)), atol=1e-3)


@pytest.mark.parametrize("clipping", ["auto", "opacus"])
@pytest.mark.parametrize("name", ["mlp", "lstm", "transformer"])
def test_the_gradients_of_adapters_are_clipped_as_by_a_float64_loop(name: str, clipping: Clipping) -> None:
    module = network(name)
    train_only(module, (), rank=2)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, LowRank):
                layer.up.weight.normal_(generator=torch.Generator().manual_seed(2))
    inputs, labels = rows(name), torch.arange(9) % 3
    exact = copy.deepcopy(module).double().train()
    gradients = []
    for x, y in zip(inputs.double() if name == "mlp" else inputs, labels, strict=True):
        exact.zero_grad()
        functional.cross_entropy(exact(x[None]), y[None]).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in exact.parameters() if p.grad is not None]))
    rowwise = torch.stack(gradients)
    expected = (rowwise * (0.05 / rowwise.norm(dim=1, keepdim=True)).clamp(max=1)).sum(0)
    with clipper_for(module.train(), inputs, labels, objective=CrossEntropy(), clipping=clipping) as clipper:
        got = torch.cat([part.flatten() for part in clipper.clipped_sum(inputs, labels, 0.05)])
    assert (got.double() - expected).abs().max() < 2e-6 * max(1.0, float(expected.norm()))


def test_only_what_a_pattern_names_is_trained_and_small_layers_are_trained_whole() -> None:
    module = network("mlp")
    train_only(module, ["*.bias"], rank=None)
    assert {name.rpartition(".")[2] for name, part in module.named_parameters() if part.requires_grad} == {"bias"}
    assert trained_part(module).startswith(f"{8 + 7 + 3:,} of {6 * 8 + 8 + 8 * 7 + 7 + 7 * 3 + 3:,} parameters (")
    module = network("mlp")
    train_only(module, (), rank=3)  # the last layer has three outputs
    kinds = [type(layer) for layer in module.modules() if isinstance(layer, LowRank | nn.Linear)]
    assert kinds.count(LowRank) == 2
    trained = [name for name, part in module.named_parameters() if part.requires_grad]
    assert sum("down" in name or "up" in name for name in trained) == 4
    assert len(trained) == 6
    assert trained_part(network("mlp")) == ALL_TRAINED
    with pytest.raises(InputError, match=r"trainable 'head\.\*' matches no parameter; there are .*weight"):
        train_only(network("mlp"), ["head.*"], rank=None)
    with pytest.raises(InputError, match="no frozen Linear layer"):
        train_only(network("mlp"), (), rank=100)
    with pytest.raises(InputError, match="at least 1"):
        train_only(network("mlp"), (), rank=0)


def weights(path: Path | Model) -> dict[str, torch.Tensor]:
    model = path if isinstance(path, Model) else open_model(path)
    return dict(model.module.state_dict())


def test_the_command_fine_tunes_a_part_and_packs_a_plain_model(
    loans: Loans, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = open_model(loans.model)
    assert model.card is not None
    public = tmp_path / "public.pt"
    save_model(public, model.fresh(7), model.card)
    names = list(weights(public))
    last = f"{names[-1].rpartition('.')[0]}.*"
    command = ["retrain", str(loans.model), "--train-dataset", str(loans.train), "--epsilon", "3", "--epochs", "3"]
    assert call([*command, "--trainable", last, "--out", str(tmp_path)]) == 2
    assert "must be public: --public-init" in capsys.readouterr().err
    command += ["--public-init", str(public)]
    assert call([*command, "--trainable", last, "--out", str(tmp_path / "head")]) == 0
    assert call([*command, "--lora-rank", "2", "--out", str(tmp_path / "lora")]) == 0
    start = weights(public)
    head, lora = (weights(tmp_path / kind / "loans-eps3.pt") for kind in ("head", "lora"))
    assert list(head) == list(lora) == names
    assert [name for name in names if not torch.equal(head[name], start[name])] == names[-2:]
    for name in names[:-2]:
        change = lora[name] - start[name]
        if change.ndim == 2:
            assert torch.linalg.matrix_rank(change, rtol=1e-4) == 2
        else:
            assert not change.any()
    card = open_model(tmp_path / "lora" / "loans-eps3.pt").card
    assert card is not None
    ledger = Ledger.model_validate(card.ledger)
    assert "declared public" in ledger.initial_weights
    assert "adapters of rank 2" in ledger.initial_weights
    assert "the others stay as they began" in ledger.trained_part
    # The same command with another part does not pass the first one's model off as its own.
    assert call([*command, "--lora-rank", "2", "--out", str(tmp_path / "head")]) == 2
    assert "is not of this retraining" in capsys.readouterr().err
