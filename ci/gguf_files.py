"""GGUF files written by the real gguf package, opened and compared with the networks that they were made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

import auditkit
from auditkit.data.dataset import data_from_frame
from auditkit.errors import ModelFileError
from auditkit.models.formats.opening import open_model
from auditkit.models.from_columns import Columns
from auditkit.models.model import Model

WORDS = ["<unk>", "<s>", *(f"w{number}" for number in range(30))]
FRAME = pd.DataFrame({"text": ["w1 w2 w3", "w4 w5 w6 w7", "w1 w9"] * 40})
COLUMNS = Columns(read_rows=lambda: data_from_frame(FRAME), read_training=lambda: None, target=None, text="text")


def described(place: Path, kind: str, **more: Any) -> transformers.PreTrainedModel:
    """Return a tiny network with drawn weights; its config.json and tokenizer.json lie in a folder."""
    torch.manual_seed(0)
    network: transformers.PreTrainedModel
    if kind == "gpt2":
        network = transformers.GPT2LMHeadModel(
            transformers.GPT2Config(
                vocab_size=32, n_positions=16, n_embd=32, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=1, **more
            )
        )
    else:
        network = transformers.LlamaForCausalLM(
            transformers.LlamaConfig(
                vocab_size=32, hidden_size=64, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=2, max_position_embeddings=32, bos_token_id=1, eos_token_id=1, **more,
            )
        )  # fmt: skip
    for part in network.parameters():  # norms and biases that are not all alike
        part.data += 0.1 * torch.randn_like(part)
    place.mkdir()
    network.config.save_pretrained(place)
    tokenizer = Tokenizer(models.WordLevel({word: code for code, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(place / "tokenizer.json"))
    return network.eval()


def llama_cpp_name(key: str) -> str:
    """Return what llama.cpp calls a weight of transformers, by the table of the gguf package."""
    arch = gguf.MODEL_ARCH.GPT2 if key.startswith("transformer") else gguf.MODEL_ARCH.LLAMA
    name: str | None = gguf.get_tensor_name_map(arch, 2).get_name(key, try_suffixes=(".weight", ".bias"))
    assert name is not None, key
    return name


def permuted(weights: np.ndarray, heads: int) -> np.ndarray:
    """Return queries or keys in llama.cpp's order: `LlamaModel.permute` of its convert_hf_to_gguf.py."""
    return (
        weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:]).swapaxes(1, 2)
        .reshape(weights.shape)
    )  # fmt: skip


def written(path: Path, network: Any, kind: str, quantised: str = "F32", **stated: Any) -> Path:
    config = network.config
    writer = gguf.GGUFWriter(str(path), kind)
    writer.add_block_count(2)
    writer.add_embedding_length(config.hidden_size)
    writer.add_head_count(config.num_attention_heads)
    if kind == "llama":
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_layer_norm_rms_eps(stated.get("eps", config.rms_norm_eps))
        writer.add_rope_freq_base(stated.get("theta", config.rope_parameters["rope_theta"]))
    writer.add_token_list(stated.get("tokens", WORDS))
    for key, value in network.state_dict().items():
        if key == "lm_head.weight" and config.tie_word_embeddings:
            continue
        weights = value.numpy()
        if kind == "gpt2" and key.endswith((".c_attn.weight", ".c_proj.weight", ".c_fc.weight")):
            weights = weights.T
        if ".q_proj" in key:
            weights = permuted(weights, config.num_attention_heads)
        if ".k_proj" in key:
            weights = permuted(weights, config.num_key_value_heads)
        weights = np.ascontiguousarray(weights)
        if key in stated.get("raw", {}):
            writer.add_tensor(llama_cpp_name(key), stated["raw"][key], raw_dtype=gguf.GGMLQuantizationType.Q4_K)
            continue
        as_kind = gguf.GGMLQuantizationType[quantised if weights.ndim == 2 else "F32"]
        if as_kind == gguf.GGMLQuantizationType.F32:
            writer.add_tensor(llama_cpp_name(key), weights)
        else:
            writer.add_tensor(llama_cpp_name(key), gguf.quantize(weights, as_kind), raw_dtype=as_kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def opened(path: Path, folder: Path | None) -> Model:
    return open_model(path, architecture=None if folder is None else str(folder), columns=COLUMNS)


def logits(network: Any) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = network(input_ids=torch.arange(1, 13)[None]).logits
    return found


@pytest.mark.parametrize(("kind", "tied"), [("gpt2", True), ("llama", True), ("llama", False)])
def test_a_file_says_what_its_network_says(tmp_path: Path, kind: str, tied: bool) -> None:
    network = described(tmp_path / "folder", kind, tie_word_embeddings=tied)
    model = opened(written(tmp_path / "a.gguf", network, kind), tmp_path / "folder")
    assert model.kind == "GGUF, dequantised"
    assert torch.equal(logits(model.module.network), logits(network))


@pytest.mark.parametrize(("quantised", "near"), [("Q8_0", 0.02), ("Q4_0", 0.3), ("F16", 0.002)])
def test_quantised_weights_are_those_of_the_gguf_package(tmp_path: Path, quantised: str, near: float) -> None:
    network = described(tmp_path / "folder", "gpt2")
    model = opened(written(tmp_path / "a.gguf", network, "gpt2", quantised), tmp_path / "folder")
    there, here = network.state_dict(), model.module.network.state_dict()
    assert set(there) == set(here)
    for key, value in there.items():
        spread = float(value.abs().max())
        assert float((here[key] - value).abs().max()) <= near * spread, key


def q4_k_by_hand(blocks: np.ndarray) -> np.ndarray:
    """Return the 256 numbers of each block of 144 bytes, (blocks, 256), by llama.cpp's description of Q4_K.

    Two float16: the scale of scales and of minima; 12 bytes that hold 8 scales and 8 minima of 6 bits; 128 bytes, each
    with a number of 4 bits of one run of 32 and one of the next. A number is scale * q - minimum.
    """
    found = np.empty((len(blocks), 256))
    for row, block in enumerate(blocks):
        scale, minimum = block[:4].view(np.float16).astype(np.float64)
        packed, low = block[4:16].astype(int), block[16:].astype(int)
        for run in range(8):
            if run < 4:
                of_scale, of_minimum = packed[run] & 63, packed[run + 4] & 63
            else:
                of_scale = (packed[run + 4] & 15) | (packed[run - 4] >> 6 << 4)
                of_minimum = (packed[run + 4] >> 4) | (packed[run] >> 6 << 4)
            bits = low[run // 2 * 32 : run // 2 * 32 + 32] >> (4 * (run % 2)) & 15
            found[row, run * 32 : run * 32 + 32] = scale * of_scale * bits - minimum * of_minimum
    return found


def test_weights_in_q4_k_are_those_of_its_description(tmp_path: Path) -> None:
    """The gguf package writes no Q4_K of numbers: the bytes of one weight are drawn."""
    network = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=32, n_positions=16, n_embd=256, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=1
        )
    ).eval()
    described(tmp_path / "folder", "gpt2")
    network.config.save_pretrained(tmp_path / "folder")
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (32, 144), dtype=np.uint8)
    blocks[:, :4] = rng.uniform(0.001, 0.01, (32, 2)).astype(np.float16).view(np.uint8)
    name = "transformer.wte.weight"
    path = written(tmp_path / "a.gguf", network, "gpt2", raw={name: blocks})
    here = opened(path, tmp_path / "folder").module.network.state_dict()
    assert here[name].numpy() == pytest.approx(q4_k_by_hand(blocks).reshape(32, 256), rel=1e-5, abs=1e-7)
    assert torch.equal(here["transformer.wpe.weight"], network.state_dict()["transformer.wpe.weight"])


def test_a_file_is_audited(tmp_path: Path) -> None:
    network = described(tmp_path / "folder", "llama")
    path = written(tmp_path / "a.gguf", network, "llama", "Q8_0")
    report = auditkit.audit(path, FRAME, text="text", architecture=str(tmp_path / "folder"), only=["language"])
    assert report["language.perplexity"].value is not None
    assert report.subject.model is not None
    assert report.subject.model.kind == "GGUF, dequantised"


def test_what_does_not_agree_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    network = described(folder, "llama")
    path = tmp_path / "a.gguf"
    for stated, said in (
        ({"eps": 0.1}, "states llama.attention.layer_norm_rms_epsilon 0.1, and config.json rms_norm_eps 1e-06"),
        ({"theta": 5e5}, "states llama.rope.freq_base 500000, and config.json rope_theta 10000"),
        ({"tokens": [*WORDS[:5], "other", *WORDS[6:]]}, r"token 5 is not the one of tokenizer\.json"),
        ({"tokens": WORDS[:9]}, "states fewer tokens"),
    ):
        with pytest.raises(ModelFileError, match=said):
            opened(written(path, network, "llama", **stated), folder)
    with pytest.raises(ModelFileError, match=r"pass the folder of its config\.json"):
        opened(path, None)
    described(tmp_path / "other", "gpt2")
    with pytest.raises(ModelFileError, match="is of a gpt2, and the GGUF file of a llama"):
        opened(written(path, network, "llama"), tmp_path / "other")
    with pytest.raises(ModelFileError, match="architecture 'mamba'"):
        opened(written(path, described(tmp_path / "third", "gpt2"), "mamba"), folder)
