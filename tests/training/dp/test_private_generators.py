"""Generators under DP-SGD: what reads rows is clipped and noised, what does not is trained by its answers alone."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from generators import digits

from auditkit.cli import call
from auditkit.engine.inspect import inspect_model
from auditkit.models.architectures import build
from auditkit.models.capabilities import Discriminating, Generative
from auditkit.models.formats.opening import open_model
from auditkit.tasks.objectives import OwnLoss
from auditkit.training.dp.clipping import clipper_for
from auditkit.training.dp.dp_sgd import trained_part
from auditkit.training.dp.generators import DISCRIMINATOR_ONLY, Adversary, RealLosses, RowLosses, private_part
from auditkit.training.dp.per_example import clip_and_sum, looped_gradients

SMALL = {"input_shape": [1, 8, 8], "channels": 8, "latent_width": 4}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows, classes = digits()
    path = tmp_path_factory.mktemp("digits") / "digits.npz"
    np.savez(path, features=(rows[:200] * 255).astype(np.uint8), digit=classes[:200].astype(np.int64))
    return path


@pytest.mark.parametrize("architecture", ["vae", "dcgan"])
def test_a_generator_is_retrained_with_privacy_and_its_ledger_says_of_what(
    architecture: str, images: Path, tmp_path: Path
) -> None:
    out = tmp_path / "model.pt"
    small = ["--architecture-args", '{"channels": 8}', "--epochs", "1", "--quiet"]
    train = ["train", "--dataset", str(images), "--target", "digit", "--architecture", architecture]
    assert call([*train, "--out", str(out), *small]) == 0
    assert not [one for one in inspect_model(out).abilities if "Opacus cannot train" in one.reason]
    command = ["retrain", str(out), "--train-dataset", str(images), "--epsilon", "8", "--epochs", "2", "--quiet"]
    assert call(command) == 0
    private, original = open_model(tmp_path / "model-eps8.pt"), open_model(out)
    assert private.card is not None
    assert private.card.ledger is not None
    assert 0 < private.card.ledger["epsilon"] <= 8
    assert (DISCRIMINATOR_ONLY in str(private.card.ledger["trained_part"])) == (architecture == "dcgan")
    drawn = private.require(Generative).sample(10, seed=0, device=torch.device("cpu"))
    assert np.isfinite(drawn).all()
    assert not np.array_equal(drawn, original.require(Generative).sample(10, seed=0, device=torch.device("cpu")))
    judge = private.capability(Discriminating)
    assert (judge is not None) == (architecture == "dcgan")
    if judge is not None:
        logits, slopes = (way(drawn, device=torch.device("cpu")) for way in (judge.realness, judge.saliency))
        moved = drawn.copy()
        moved[:, 0, 3, 3] += 1e-3
        change = judge.realness(moved, device=torch.device("cpu")) - logits
        np.testing.assert_allclose(change / 1e-3, slopes[:, 0, 3, 3], atol=0.01)
    assert call(command) == 0  # it is finished, and kept


def test_the_gradients_of_each_rows_own_loss_are_clipped_as_a_loop_clips_them() -> None:
    rows = torch.tensor(digits()[0][:6], dtype=torch.float32)[:, None]
    for name in ("vae", "dcgan"):
        network = private_part(build(name, SMALL), sample_count=4, max_norm=1.0).eval()
        gradients = looped_gradients(network, rows, torch.zeros(6), OwnLoss())
        norms = torch.stack([part.flatten(1).norm(dim=1) for part in gradients]).norm(dim=0)
        bound = float(norms.median())
        with clipper_for(network, rows, torch.zeros(6), objective=OwnLoss()) as clipper:
            found = clipper.clipped_sum(rows, torch.zeros(6), bound)
        for one, other in zip(found, clip_and_sum(gradients, bound), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4 * bound)


def test_only_the_discriminator_reads_rows() -> None:
    pair = build("dcgan", SMALL)
    network = private_part(pair, sample_count=4, max_norm=0.5)
    assert isinstance(network, RealLosses)
    inside = {id(parameter) for parameter in network.parameters()}
    assert inside == {id(parameter) for parameter in pair.get_submodule("discriminator").parameters()}
    assert trained_part(network) == DISCRIMINATOR_ONLY
    assert isinstance(private_part(build("vae", SMALL), sample_count=4, max_norm=1.0), RowLosses)


def test_an_adversarys_gradient_is_bounded_and_its_generator_learns_from_the_trained_discriminator() -> None:
    torch.manual_seed(0)
    pair = build("dcgan", SMALL)
    before = copy.deepcopy(pair.state_dict())
    adversary = Adversary(pair, 16, 0.1)
    vector = torch.cat([one.detach().flatten() for one in pair.get_submodule("discriminator").parameters()])
    for _ in range(8):
        assert float(adversary.gradient(vector).norm()) <= 0.1 + 1e-6
        adversary.respond()
    assert all(torch.equal(value, before[name]) for name, value in pair.state_dict().items())  # a copy until the end
    adversary.finish()
    after = pair.state_dict()
    assert not torch.equal(after["generator.0.weight"], before["generator.0.weight"])
    assert torch.equal(after["discriminator.0.weight"], before["discriminator.0.weight"])
