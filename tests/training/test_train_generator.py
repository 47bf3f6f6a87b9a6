"""Generators from the command line: trained, packed, opened, sampled; and what cannot be trained is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from generators import digits

from auditkit.cli import call
from auditkit.models.architectures import IMAGE_GENERATORS, build
from auditkit.models.capabilities import Differentiable, Generative
from auditkit.models.formats.opening import open_model
from auditkit.training.generators import GeneratorFit, fit_row_losses


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows, classes = digits()
    path = tmp_path_factory.mktemp("digits") / "digits.npz"
    np.savez(path, features=(rows[:200] * 255).astype(np.uint8), digit=classes[:200].astype(np.int64))
    return path


@pytest.mark.parametrize("architecture", IMAGE_GENERATORS)
def test_a_generator_is_trained_packed_and_sampled(architecture: str, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.pt"
    command = ["train", "--dataset", str(images), "--architecture", architecture, "--target", "digit"]
    assert call([*command, "--out", str(out), "--epochs", "1", "--quiet"]) == 0
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    model = open_model(out)
    assert model.schema.task == "generation"
    assert model.info.architecture == architecture
    assert model.capability(Differentiable) is None
    able = model.require(Generative)
    first, again, other = (able.sample(20, seed=seed, device=torch.device("cpu")) for seed in (1, 1, 2))
    assert first.shape == (20, 1, 8, 8)
    assert 0 <= first.min() <= first.max() <= 1
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    samples = tmp_path / "samples.npz"
    assert call(["sample", str(out), "--count", "30", "--out", str(samples)]) == 0
    with np.load(samples) as archive:
        assert archive["features"].shape == (30, 8, 8)
        assert archive["features"].max() <= 255


def test_the_loss_of_a_vae_falls_and_the_same_seed_gives_the_same_weights() -> None:
    rows = torch.tensor(digits()[0][:256], dtype=torch.float32)[:, None]
    fits = []
    for _ in range(2):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            module = build("vae", {"input_shape": [1, 8, 8], "channels": 8, "latent_width": 4})
        losses = fit_row_losses(module, rows, settings=GeneratorFit(epochs=40, seed=0, device=torch.device("cpu")))
        fits.append((losses, module.state_dict()))
    assert fits[0][0][-1] < 0.9 * fits[0][0][0]
    for name, value in fits[0][1].items():
        torch.testing.assert_close(value, fits[1][1][name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--architecture", "vae", "--out", "m.safetensors"], "must end in .pt"),
        (["--out", "m.pt"], "target must name the label's column"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    words: list[str], expected: str, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(["train", "--dataset", str(images), *words]) == 2
    assert expected in capsys.readouterr().err


def test_a_table_is_no_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "t.csv"
    table.write_text("a,b\n1,2\n3,4\n")
    assert call(["train", "--dataset", str(table), "--architecture", "vae", "--out", str(tmp_path / "m.pt")]) == 2
    assert "holds no images" in capsys.readouterr().err
