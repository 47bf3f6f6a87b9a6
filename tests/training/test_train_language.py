"""auditkit's own language model: trained by the command, opened again, and as causal as it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from languages import sentences

import auditkit
from auditkit.cli import call
from auditkit.errors import InputError, ModelFileError
from auditkit.models.architectures import build
from auditkit.models.capabilities import CausalLanguageModel
from auditkit.models.formats.opening import open_model
from auditkit.models.model import Model

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("gpt")
    frame = pd.DataFrame({"review": sentences(300, seed=1), "stars": "5"})
    frame.to_csv(place / "train.csv", index=False)
    small = '{"width": 32, "layers": 2, "heads": 2, "vocabulary_size": 400}'
    command = ["train", "--task", "language", "--dataset", str(place / "train.csv"), "--text", "review"]
    command += ["--out", str(place / "gpt.pt"), "--architecture-args", small, "--epochs", "6", "--quiet"]
    assert call(command) == 0
    return place


@pytest.fixture(scope="module")
def model(place: Path) -> Model:
    return open_model(place / "gpt.pt")


def test_a_trained_model_opens_as_a_language_model_and_has_learnt(model: Model) -> None:
    assert model.schema.task == "language"
    assert model.architecture is None or model.card is not None
    assert model.card is not None
    assert model.card.architecture == "gpt"
    assert model.card.training["row_count"] == 300
    able = model.require(CausalLanguageModel)
    usual, strange = sentences(20, seed=2), ["qzx vwk jjp " * 4] * 20
    nats = [
        -np.mean([one.log_probabilities.mean() for one in able.score(texts, device=CPU)]) for texts in (usual, strange)
    ]
    assert nats[0] < 0.7 * nats[1]
    assert able.text_of(able.tokens("A naïve 4719 ☕.")[0]) == "A naïve 4719 ☕."
    assert len(able.tokens("4719")[0]) == 4, "each digit is a token"


def test_no_logit_depends_on_later_tokens_and_the_past_changes_none(model: Model) -> None:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 300, (3, 12), generator=generator)
    network = model.module
    with torch.no_grad():
        whole = network(ids)
        torch.testing.assert_close(network(ids[:, :7]), whole[:, :7])
        first, past = network.advance(ids[:, :5], None)  # type: ignore[operator]  # of Gpt
        torch.testing.assert_close(first, whole[:, 4])
        second, past = network.advance(ids[:, 5:9], past)  # type: ignore[operator]
        torch.testing.assert_close(second, whole[:, 8])
        chosen = network.select(past, torch.tensor([2, 0, 2]))  # type: ignore[operator]
        third, _ = network.advance(ids[[2, 0, 2], 9:10], chosen)  # type: ignore[operator]
        torch.testing.assert_close(third, whole[[2, 0, 2], 9])


def test_endings_of_a_trained_model_are_differences_of_whole_texts(model: Model) -> None:
    able = model.require(CausalLanguageModel)
    texts = [f"the code is {code:02d}." for code in range(100)]
    found = able.endings(texts, device=CPU)
    whole = np.array([one.log_probabilities.sum() for one in able.score(texts, device=CPU)])
    np.testing.assert_allclose(found - found[0], whole - whole[0], atol=1e-4)


def test_a_trained_model_is_audited_from_its_file(place: Path) -> None:
    held = pd.DataFrame({"review": sentences(80, seed=4), "g": np.array(["x", "y"])[np.arange(80) % 2]})
    few = {"explainability": {"rows": 10, "method": "occlusion"}, "robustness": {"rows": 20}}
    report = auditkit.audit(place / "gpt.pt", held, sensitive=["g"], settings=few)
    assert {outcome.auditor: outcome.error for outcome in report.outcomes if outcome.error} == {}
    gap = report.measurement("language.bits_per_byte_difference", ("g",))
    assert gap is not None
    assert gap.interval is not None
    assert gap.interval.low == 0.0


def test_one_seed_gives_one_model(place: Path, model: Model) -> None:
    small = {"width": 32, "layers": 2, "heads": 2, "vocabulary_size": 400}
    command = ["train", "--architecture", "gpt", "--dataset", str(place / "train.csv"), "--text", "review", "--quiet"]
    command += ["--architecture-args", str(small).replace("'", '"'), "--epochs", "6", "--out", str(place / "again.pt")]
    assert call(command) == 0
    again = open_model(place / "again.pt").module.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in model.module.state_dict().items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--text", "reviews"], "text column 'reviews' is not in"),
        ([], "pass --text COLUMN"),
        (["--text", "review", "--target", "stars"], "leave --target out"),
        (["--text", "review", "--epsilon", "8"], "epsilon is not offered for language models yet"),
        (["--text", "review", "--architecture-args", '{"vocabulary_size": 100}'], "vocabulary_size must be above 256"),
        (["--text", "review", "--architecture-args", '{"width": 30}'], "heads must divide width 30"),
    ],
)
def test_requests_that_cannot_be_trained_are_refused(
    place: Path, tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "--task", "language", "--dataset", str(place / "train.csv"), "--out", str(tmp_path / "m.pt")]
    assert call([*command, *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "m.pt").exists()


def test_arguments_of_a_card_are_bounded() -> None:
    with pytest.raises(ModelFileError, match="layers must be from 1 to 64"):
        build("gpt", {"vocabulary_size": 300, "length": 16, "layers": 1000})
    with pytest.raises((InputError, ModelFileError), match="dropout"):
        build("gpt", {"vocabulary_size": 300, "length": 16, "dropout": 1.0})
