"""Log-probabilities of tiny language models are those of a plain loop over transformers, and texts fit in windows."""

from __future__ import annotations

import itertools
import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from languages import bert, causal_network, fit, gpt2, llama, opened, sentences
from scipy import stats

from auditkit.errors import InputError, ModelFileError, NotRun
from auditkit.models.capabilities import CausalLanguageModel, Differentiable, LanguageModel
from auditkit.models.formats.huggingface_language import _context
from auditkit.models.formats.huggingface_settings import offline
from auditkit.models.language import statistics_at, windows_of
from auditkit.models.token_networks import LanguageNetwork

CPU = torch.device("cpu")
TEXTS = [*sentences(6), "Short.", "", "naïve café ☕ 我们", "  two  spaces "]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = gpt2(tmp_path_factory.mktemp("gpt2"), sentences(200))
    fit(place, sentences(100), epochs=1)
    return place


def plain_scores(folder: Path, text: str, start: int | None) -> list[float]:
    """Return the log-probability of each token of one text by transformers alone, one forward pass a text."""
    network = causal_network(folder)
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    ids = ids if start is None else [start, *ids]
    if len(ids) < 2:
        return []
    with torch.no_grad():
        chances = network(torch.tensor([ids])).logits.log_softmax(dim=-1)[0]
    return [float(chances[place - 1, ids[place]]) for place in range(1, len(ids))]


def test_token_log_probabilities_are_those_of_transformers(folder: Path) -> None:
    able = opened(folder, TEXTS).require(LanguageModel)
    for text, scores in zip(TEXTS, able.score(TEXTS, device=CPU), strict=True):
        np.testing.assert_allclose(scores.log_probabilities, plain_scores(folder, text, 0), atol=2e-5)
        assert scores.byte_count == len(text.encode())
        assert able.text_of(scores.ids) == text
        assert [text[begin:end] for begin, end in scores.spans][:2] != ["", ""] or not text


def test_without_a_start_token_the_first_token_has_no_score(tmp_path: Path) -> None:
    place = llama(tmp_path / "llama", sentences(200))
    able = opened(place, TEXTS).require(LanguageModel)
    for text, scores in zip(TEXTS, able.score(TEXTS, device=CPU), strict=True):
        np.testing.assert_allclose(scores.log_probabilities, plain_scores(place, text, None), atol=2e-5)
        first = able.tokens(text)[1][:1]
        rest = text[first[0, 1] :] if len(first) and text[0] in "Sts " else None
        assert rest is None or scores.byte_count == len(rest.encode())


def test_the_statistics_of_a_token_are_those_of_its_whole_distribution(folder: Path) -> None:
    text = TEXTS[0]
    able = opened(folder, TEXTS).require(LanguageModel)
    scores = able.score([text], device=CPU)[0]
    network = causal_network(folder)
    with torch.no_grad():
        chances = network(torch.tensor([[0, *scores.ids]])).logits[0, :-1].double().log_softmax(dim=-1).numpy()
    weights = np.exp(chances)
    entropy = -(weights * chances).sum(axis=1)
    np.testing.assert_allclose(scores.entropies, entropy, rtol=1e-4)
    spread = np.sqrt((weights * (chances + entropy[:, None]) ** 2).sum(axis=1))
    np.testing.assert_allclose(scores.deviations, spread, rtol=1e-3)
    np.testing.assert_allclose(scores.top_probabilities, weights.max(axis=1), rtol=1e-4)
    assert (scores.top_hits == (chances.argmax(axis=1) == scores.ids)).all()


def test_impossible_tokens_and_ties_have_the_statistics_of_their_formulas() -> None:
    none = -float("inf")
    logits = torch.tensor([[0.0, 0.0, none, none], [1.0, 3.0, 3.0, 0.0], [1.0, 3.0, 3.0, 0.0], [none, 0.0, 1.0, none]])
    targets = torch.tensor([0, 1, 2, 0])
    found = statistics_at(torch.cat([torch.zeros(1, 4), logits]), torch.arange(1, 5), targets)
    for row, target, one in zip(logits.double().numpy(), targets.tolist(), found, strict=True):
        chances = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
        possible = chances[chances > 0]
        mean = (possible * np.log(possible)).sum()
        spread = np.sqrt(max((possible * np.log(possible) ** 2).sum() - mean**2, 0.0))
        with np.errstate(divide="ignore"):
            assert one[0] == pytest.approx(np.log(chances[target]), abs=1e-6)
        assert one[1:4] == pytest.approx([-mean, spread, chances.max()], abs=1e-3)
    assert found[:, 4].tolist() == [1.0, 1.0, 0.0, 0.0], "of two likeliest tokens the first counts"


def test_batching_does_not_change_the_scores(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    able = opened(folder, TEXTS).require(LanguageModel)
    together = able.score(TEXTS, device=CPU)
    monkeypatch.setattr("auditkit.models.language.CELLS_AT_ONCE", 1)
    for one, other in zip(together, able.score(TEXTS, device=CPU), strict=True):
        np.testing.assert_allclose(one.log_probabilities, other.log_probabilities, atol=1e-5)


@pytest.mark.parametrize(("count", "size"), list(itertools.product((1, 2, 5, 64, 65, 200), (2, 3, 64))))
def test_windows_score_every_token_once_behind_half_a_window(count: int, size: int) -> None:
    scored = []
    for begin, end, first in windows_of(count, size, 1):
        assert end - begin <= size
        assert first - begin >= (size // 2 if begin else 1)
        scored += list(range(first, end))
    assert scored == list(range(1, count))


def test_a_long_text_is_read_in_overlapping_windows(folder: Path) -> None:
    text = " ".join(sentences(12))
    able = opened(folder, [text]).require(LanguageModel)
    scores = able.score([text], device=CPU)[0]
    network = causal_network(folder)
    ids = [0, *able.tokens(text)[0].tolist()]
    assert len(ids) > 150
    expected: list[float] = []
    begin, known = 0, 1
    while known < len(ids):  # the loop of transformers' page on perplexity, with a stride of half a window
        end = min(begin + 64, len(ids))
        with torch.no_grad():
            chances = network(torch.tensor([ids[begin:end]])).logits.log_softmax(dim=-1)[0]
        expected += [float(chances[place - begin - 1, ids[place]]) for place in range(known, end)]
        known, begin = end, begin + 32
    np.testing.assert_allclose(scores.log_probabilities, expected, atol=2e-5)


def test_endings_are_the_differences_of_whole_texts(folder: Path) -> None:
    able = opened(folder, TEXTS).require(CausalLanguageModel)
    codes = [f"The code of Ada is {code:02d}{other}" for code in range(0, 100, 7) for other in ("", " and more")]
    found = able.endings(codes, device=CPU)
    whole = np.array([scores.log_probabilities.sum() for scores in able.score(codes, device=CPU)])
    np.testing.assert_allclose(found - found[0], whole - whole[0], atol=1e-4)


def test_all_codes_take_as_many_rows_as_the_tree_has_inner_nodes(folder: Path) -> None:
    model = opened(folder, TEXTS)
    able = model.require(CausalLanguageModel)
    rows = []
    advance = model.module.advance

    def counted(ids: torch.Tensor, past: Any) -> Any:
        rows.append(len(ids))
        return advance(ids, past)  # type: ignore[operator]

    object.__setattr__(model.module, "advance", counted)
    chances = able.endings([f"The code is {code:03d}" for code in range(1000)], device=CPU)
    assert len(chances) == 1000
    sequences = {tuple(able.tokens(f"The code is {code:03d}")[0]) for code in range(1000)}
    inner = {sequence[:depth] for sequence in sequences for depth in range(1, len(sequence))}
    shared = max(len(prefix) for prefix in inner if all(sequence[: len(prefix)] == prefix for sequence in sequences))
    assert sum(rows) == sum(len(prefix) >= shared for prefix in inner)
    assert sum(rows) <= 111


def test_greedy_continuations_are_those_of_transformers(folder: Path) -> None:
    able = opened(folder, TEXTS).require(CausalLanguageModel)
    network = causal_network(folder)
    prompts = [able.tokens(text)[0][:length].tolist() for text, length in zip(TEXTS[:4], (5, 3, 5, 9), strict=True)]
    found = able.greedy(prompts, 8, device=CPU)
    for prompt, continued in zip(prompts, found, strict=True):
        ids = torch.tensor([[0, *prompt]])
        with torch.no_grad():
            for _ in range(8):
                ids = torch.cat([ids, network(ids).logits[:, -1:].argmax(dim=-1)], dim=1)
        assert continued.tolist() == ids[0, -8:].tolist()
    with pytest.raises(NotRun, match="64 more tokens do not fit"):
        able.greedy(prompts, 64, device=CPU)


def test_a_masked_model_hides_each_token_in_turn(tmp_path: Path) -> None:
    place = bert(tmp_path / "bert")
    texts = [sentences(1)[0], "the film.", " ".join(sentences(3)), ""]
    model = opened(place, texts)
    able = model.require(LanguageModel)
    assert model.capability(CausalLanguageModel) is None
    network: Any = transformers.AutoModelForMaskedLM.from_pretrained(place)
    network = network.eval()
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(place)
    scores = able.score(texts, device=CPU)
    for text, found in zip(texts[:2], scores, strict=False):
        ids = tokenizer(text)["input_ids"]
        expected = []
        for place_of in range(1, len(ids) - 1):
            hidden = list(ids)
            hidden[place_of] = tokenizer.mask_token_id
            with torch.no_grad():
                chances = network(torch.tensor([hidden])).logits[0, place_of].log_softmax(dim=-1)
            expected.append(float(chances[ids[place_of]]))
        np.testing.assert_allclose(found.log_probabilities, expected, atol=2e-5)
    assert len(scores[2].log_probabilities) == len(able.tokens(texts[2])[0]) > 22
    assert len(scores[3].log_probabilities) == 0


def test_a_network_that_looks_ahead_is_no_causal_model(tmp_path: Path) -> None:
    place = bert(tmp_path / "bert")
    config = transformers.AutoConfig.from_pretrained(place)
    network: Any = transformers.BertLMHeadModel(config)
    network.save_pretrained(place)
    with pytest.raises(ModelFileError, match="change with the tokens behind it"):
        opened(place, TEXTS)


def test_a_tokenizer_of_another_training_is_refused(folder: Path, tmp_path: Path) -> None:
    place = gpt2(tmp_path / "small", ["a b c"])
    (place / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    with pytest.raises(ModelFileError, match=r"its tokenizer has \d+ tokens, and the model \d+"):
        opened(place, TEXTS)


def test_a_language_model_predicts_no_label(folder: Path) -> None:
    from auditkit.data.dataset import data_from_frame
    from auditkit.models.formats.opening import open_model
    from auditkit.models.from_columns import Columns

    model = opened(folder, TEXTS)
    assert model.capability(Differentiable) is None
    assert "predicts no label" in model.lack(Differentiable)
    assert model.schema.task == "language"
    assert math.isfinite(model.parameter_count)
    import pandas as pd

    data = data_from_frame(pd.DataFrame({"text": TEXTS, "label": "x"}))
    columns = Columns(read_rows=lambda: data, read_training=lambda: None, target="label", text="text")
    with pytest.raises(InputError, match="leave --target out"):
        open_model(folder, columns=columns)


@pytest.fixture(scope="module")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return llama(tmp_path_factory.mktemp("llama"), sentences(20))


def changed(folder: Path, copy: Path, **settings: Any) -> Path:
    shutil.copytree(folder, copy)
    path = copy / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | settings), encoding="utf-8")
    return copy


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"max_position_embeddings": -5}, "max_position_embeddings is -5 and must be a whole number of 1 or more"),
        ({"max_position_embeddings": 1}, "auditkit needs room for 8 of a text"),
        ({"num_hidden_layers": 200_000}, "num_hidden_layers: 200,000 layers, blocks or experts, and auditkit reads at"),
        ({"text_config": {"n_layer": [1, 5_000]}}, "n_layer: 5,000 layers"),
        ({"intermediate_size": 30_000_000}, "times the bytes of its weights as the size of the network"),
        ({"vocab_size": 100_000_000}, "times the bytes of its weights as the size of the network"),
        ({"attn_implementation": "someone/kernel"}, "names code of its own .attn_implementation: someone/kernel"),
        ({"_attn_implementation": {"": "sdpa", "text": "a/b@c"}}, "names code of its own"),
        ({"model_type": "timm_wrapper", "architecture": "hf-hub:a/b"}, "gives timm an address or arguments"),
        ({"model_type": "timm_wrapper", "model_args": {"checkpoint_path": "x.pth"}}, "gives timm an address"),
    ],
)
def test_settings_of_a_hostile_author_are_refused_in_one_line(
    settings: dict[str, Any], problem: str, llama_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelFileError, match=problem) as raised:
        opened(changed(llama_folder, tmp_path / "copy", **settings), ["the good film"])
    assert "\n" not in str(raised.value)


def test_a_masked_model_without_room_for_a_text_is_refused() -> None:
    network = SimpleNamespace(config=SimpleNamespace(max_position_embeddings=9))
    with pytest.raises(ModelFileError, match=r"reads 9 tokens at once .*, of which 2 are special ones"):
        _context("model", network, 0, 2)
    assert _context("model", network, 0, 1) == 9


def test_nothing_of_transformers_reaches_the_network_while_a_folder_is_opened() -> None:
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    with offline():
        assert constants.is_offline_mode()
    assert before == constants.HF_HUB_OFFLINE


def test_a_network_is_told_that_no_token_is_padding() -> None:
    """Where it is not told, transformers writes a warning to standard error, in the place of messages of one line."""

    class Told(torch.nn.Module):
        config = SimpleNamespace(pad_token_id=0, vocab_size=3)

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
            return SimpleNamespace(logits=attention_mask)

    ids = torch.tensor([[0, 1, 0]])
    assert LanguageNetwork(Told(), context=8)(ids).tolist() == [[1, 1, 1]]


def test_sampled_tokens_have_the_models_probabilities(folder: Path) -> None:
    able = opened(folder, TEXTS).require(CausalLanguageModel)
    prompt = able.tokens("the good film")[0].tolist()
    drawn = able.sampled([prompt] * 4000, 1, seed=3, device=CPU)
    with torch.no_grad():
        chances = causal_network(folder)(torch.tensor([[0, *prompt]])).logits[0, -1].softmax(dim=-1).numpy()
    counts = np.bincount([row[0] for row in drawn if row], minlength=len(chances))
    often = np.flatnonzero(chances > 0.005)
    statistic = ((counts[often] - 4000 * chances[often]) ** 2 / (4000 * chances[often])).sum()
    assert len(often) > 3
    assert statistic < stats.chi2.ppf(0.999, len(often))


def test_a_sample_depends_on_its_seed_and_not_on_other_prompts(folder: Path) -> None:
    able = opened(folder, TEXTS).require(CausalLanguageModel)
    prompts = [able.tokens(text)[0].tolist() for text in ("the good film", "the plot", "the good film")]
    found = able.sampled(prompts, 8, seed=1, device=CPU)
    assert found == able.sampled(prompts, 8, seed=1, device=CPU)
    assert found != able.sampled(prompts, 8, seed=2, device=CPU)
    assert found[:2] == able.sampled(prompts[:2], 8, seed=1, device=CPU)
    assert found[0] != found[2], "one prompt twice has two draws"
    assert all(0 not in row and len(row) <= 8 for row in found), "token 0 ends a text"
    with pytest.raises(NotRun, match="do not fit into"):
        able.sampled(prompts, 64, seed=1, device=CPU)
