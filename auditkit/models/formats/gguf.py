"""GGUF files of language models (auditkit[gguf]): dequantised, and put into the network that a folder describes.

The user names the folder of the model's config.json and tokenizer.json; what the file says of both must agree.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from auditkit.budgets import MODEL_BYTES
from auditkit.errors import ModelFileError
from auditkit.evidence.messages import Message
from auditkit.extras import install_extra
from auditkit.models.base import Match, OpenOptions, Source, Trust
from auditkit.models.formats.folder_copy import copied
from auditkit.models.formats.gguf_file import MAGIC, VERSIONS, GgufFile, TensorInfo, read_gguf
from auditkit.models.formats.huggingface import tokenizer_of
from auditkit.models.formats.huggingface_language import causal
from auditkit.models.formats.huggingface_settings import check_settings, offline, read_json
from auditkit.models.formats.huggingface_text import language_schema
from auditkit.models.model import Model, first_line
from auditkit.schema.pieces import PieceTokenizer

Weights = NDArray[np.float32]

LLAMA = {
    r"token_embd": "model.embed_tokens",
    r"output_norm": "model.norm",
    r"output": "lm_head",
    r"blk\.(\d+)\.attn_norm": r"model.layers.\1.input_layernorm",
    r"blk\.(\d+)\.attn_(q|k|v)": r"model.layers.\1.self_attn.\2_proj",
    r"blk\.(\d+)\.attn_output": r"model.layers.\1.self_attn.o_proj",
    r"blk\.(\d+)\.ffn_norm": r"model.layers.\1.post_attention_layernorm",
    r"blk\.(\d+)\.ffn_(gate|up|down)": r"model.layers.\1.mlp.\2_proj",
}
GPT2 = {
    r"token_embd": "transformer.wte",
    r"position_embd": "transformer.wpe",
    r"output_norm": "transformer.ln_f",
    r"output": "lm_head",
    r"blk\.(\d+)\.attn_norm": r"transformer.h.\1.ln_1",
    r"blk\.(\d+)\.attn_qkv": r"transformer.h.\1.attn.c_attn",
    r"blk\.(\d+)\.attn_output": r"transformer.h.\1.attn.c_proj",
    r"blk\.(\d+)\.ffn_norm": r"transformer.h.\1.ln_2",
    r"blk\.(\d+)\.ffn_up": r"transformer.h.\1.mlp.c_fc",
    r"blk\.(\d+)\.ffn_down": r"transformer.h.\1.mlp.c_proj",
}
NAMES = {"llama": LLAMA, "gpt2": GPT2}
"""How llama.cpp and transformers call the same weights, without `.weight` or `.bias`."""

AGREE = {
    "llama": {
        "embedding_length": "hidden_size",
        "block_count": "num_hidden_layers",
        "attention.head_count": "num_attention_heads",
        "attention.head_count_kv": "num_key_value_heads",
        "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    },
    "gpt2": {
        "embedding_length": "n_embd",
        "block_count": "n_layer",
        "attention.head_count": "n_head",
        "attention.layer_norm_epsilon": "layer_norm_epsilon",
    },
}
"""What the file states of a network, and how config.json calls it."""


MOST_LAYERS = 1_000

NO_WEIGHTS = "a GGUF file of a vocabulary alone, without weights; pass the model's own file."


class GgufFormat:
    """GGUF files of the architectures llama and gpt2."""

    def recognise(self, source: Source) -> Match | None:
        """Return a match where a file begins as GGUF does; one that cannot be opened is refused with the reason."""
        if not source.head.startswith(MAGIC):
            return None
        version, tensor_count = (int.from_bytes(source.head[part], "little") for part in (slice(4, 8), slice(8, 16)))
        holds_none = len(source.head) >= 16 and version in VERSIONS and tensor_count == 0
        return Match(
            "GGUF, dequantised",
            refusal=NO_WEIGHTS if holds_none else None,
            check=lambda options: _check_described(source, options),
        )

    def open(self, source: Source, trust: Trust, config: OpenOptions) -> Model:
        """Return the language model; its weights are float32, as the quantised ones say.

        Raises:
            ModelFileError: the file is damaged, of another architecture, or does not fit the folder that is named.
        """
        name = source.name
        for option in trust.given():
            raise ModelFileError(f"{name}: no code of the file is run; leave {option} out.")
        file, kind, folder_name = _read(source, config)
        described, tokenizer, of_folder = _described(name, file, kind, folder_name)
        if config.columns is None:
            raise ModelFileError(f"{name}: is opened for a data set: auditkit run --dataset.")
        network = _built(name, described)
        _load(name, network, _weights(name, file, kind, described))
        module, abilities = causal(name, network, tokenizer, 0)
        return Model(
            name=source.path.stem,
            module=module.eval(),
            schema=language_schema(tokenizer, config.columns, module.context),
            card=None,
            path=str(source.path),
            sha256=hashlib.sha256(f"{source.sha256} {of_folder}".encode()).hexdigest(),
            kind="GGUF, dequantised",
            trust=Message("weights only, dequantised: nothing of the file was run"),
            **abilities,
        )


def _check_described(source: Source, options: OpenOptions) -> None:
    """Raise ModelFileError unless a file and the folder that the user names belong together, without its weights."""
    _described(source.name, *_read(source, options))


def _read(source: Source, options: OpenOptions) -> tuple[GgufFile, str, str]:
    """Return what a file says of itself, its architecture, and the folder that the user names for it."""
    name = source.name
    file = read_gguf(name, source.content())
    kind = file.metadata.get("general.architecture")
    if not isinstance(kind, str) or kind not in NAMES:
        raise ModelFileError(
            f"{name}: is a GGUF file of the architecture {str(kind)[:60]!r}, and auditkit opens "
            f"{' and '.join(NAMES)}; open it with transformers, save it with save_pretrained, and pass the folder."
        )
    if options.architecture is None or not (Path(options.architecture) / "tokenizer.json").is_file():
        raise ModelFileError(
            f"{name}: is a GGUF file; pass the folder of its config.json and tokenizer.json as --architecture FOLDER."
        )
    return file, kind, options.architecture


def _described(name: str, file: GgufFile, kind: str, folder_name: str) -> tuple[Any, PieceTokenizer, str]:
    """Return the folder's config.json, its tokenizer, and its hash, once they agree with the file."""
    _library(name)
    with copied(folder_name, Path(folder_name)) as (folder, of_folder):
        described = _description(folder_name, folder, kind)
        tokenizer = tokenizer_of(folder_name, folder)
    check_agreement(name, file, kind, described)
    _check_tokens(name, file, tokenizer)
    return described, tokenizer, of_folder


def _library(name: str) -> Any:
    """Return the package that knows how numbers are quantised."""
    try:
        import gguf
    except ImportError as error:
        raise ModelFileError(f"{name}: is a GGUF file; {install_extra('gguf')}.") from error
    return gguf


def _description(name: str, folder: Path, kind: str) -> Any:
    """Return a folder's config.json as transformers reads it; no code of the folder is run."""
    from transformers import AutoConfig

    check_settings(name, read_json(name, folder / "config.json"))
    load: Any = AutoConfig.from_pretrained  # transformers gives no types
    try:
        with offline():
            described = load(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # of a damaged file, whatever the library raises
        said = first_line(error).replace(str(folder), name)
        raise ModelFileError(f"{name}: config.json cannot be read: {said}.") from error
    if described.model_type != kind:
        raise ModelFileError(f"{name}: config.json is of a {described.model_type}, and the GGUF file of a {kind}.")
    if not 1 <= described.num_hidden_layers <= MOST_LAYERS:
        raise ModelFileError(
            f"{name}: config.json has {described.num_hidden_layers:,} layers; at most {MOST_LAYERS:,}."
        )
    return described


def _built(name: str, described: Any) -> Any:
    """Return the network of a description, once it is known to fit into the memory that is allowed."""
    from transformers import AutoModelForCausalLM

    build: Any = AutoModelForCausalLM.from_config
    try:
        with offline(), torch.device("meta"):
            size = sum(one.numel() for one in build(described).parameters())
        MODEL_BYTES.check(4 * size, f"{name}: config.json describes", ModelFileError)
        with offline():
            return build(described, dtype=torch.float32)
    except (ValueError, TypeError, RuntimeError, ZeroDivisionError) as error:
        raise ModelFileError(f"{name}: config.json describes no network: {first_line(error)}.") from error


def check_agreement(name: str, file: GgufFile, kind: str, config: Any) -> None:
    """Refuse a config.json that is not the one that the file was made of.

    Raises:
        ModelFileError: with the number that differs.
    """
    for key, title in AGREE[kind].items():
        stated, given = file.metadata.get(f"{kind}.{key}"), getattr(config, title, None)
        if stated is not None and given is not None and not _are_close(stated, given):
            raise ModelFileError(
                f"{name}: states {kind}.{key} {_shown(stated)}, and config.json {title} {_shown(given)}."
            )
    if kind == "llama":
        _check_positions(name, file.metadata.get("llama.rope.freq_base", 10_000.0), config)


def _check_tokens(name: str, file: GgufFile, tokenizer: PieceTokenizer) -> None:
    """Raise unless tokenizer.json of the folder is the one that the file was made of."""
    tokens = file.metadata.get("tokenizer.ggml.tokens")
    pieces = {code: piece for piece, code in tokenizer.get_vocab().items()}
    if not isinstance(tokens, list) or len(tokens) < len(pieces):
        raise ModelFileError(f"{name}: states fewer tokens than tokenizer.json of the folder has.")
    other = next((code for code, piece in sorted(pieces.items()) if code >= len(tokens) or tokens[code] != piece), None)
    if other is not None:
        raise ModelFileError(f"{name}: token {other} is not the one of tokenizer.json; name the folder of this model.")


def _are_close(stated: Any, given: Any) -> bool:
    """Return whether two values are numbers, and the same but for rounding to float32."""
    numbers = isinstance(stated, int | float) and isinstance(given, int | float)
    return numbers and math.isclose(stated, given, rel_tol=1e-5)


def _shown(value: Any) -> str:
    """Return a number, or the beginning of what stands in its place, as a message shows it."""
    return f"{value:g}" if isinstance(value, int | float) else repr(value)[:60]


def _check_positions(name: str, stated: Any, config: Any) -> None:
    """Raise unless positions are rotated by the base that the file states, and not scaled."""
    rope = getattr(config, "rope_parameters", None) or {}
    given = rope.get("rope_theta", getattr(config, "rope_theta", None))
    if not _are_close(stated, given):
        raise ModelFileError(
            f"{name}: states llama.rope.freq_base {_shown(stated)}, and config.json rope_theta {_shown(given)}."
        )
    if rope.get("rope_type", "default") != "default":
        raise ModelFileError(f"{name}: its positions are scaled ({rope['rope_type']}), which auditkit does not map.")


def _weights(name: str, file: GgufFile, kind: str, config: Any) -> dict[str, torch.Tensor]:
    """Return the weights of a file by transformers' names, float32."""
    found = {}
    for title, info in file.tensors.items():
        stem, _, part = title.rpartition(".")
        pattern = next((one for one in NAMES[kind] if re.fullmatch(one, stem)), None)
        if pattern is None or part not in ("weight", "bias"):
            raise ModelFileError(f"{name}: tensor {title[:100]!r} belongs to no part of a {kind} network.")
        weights = dequantised(name, title, info, file.content)
        if kind == "gpt2" and "blk" in stem and weights.ndim == 2:
            weights = weights.T  # transformers' Conv1D keeps (inputs, outputs)
        heads = {"q": "num_attention_heads", "k": "num_key_value_heads"}.get(stem.rpartition("attn_")[2])
        if kind == "llama" and heads is not None and part == "weight":
            weights = unpermuted(weights, getattr(config, heads))
        key = f"{re.sub(f'^{pattern}$', NAMES[kind][pattern], stem)}.{part}"
        found[key] = torch.from_numpy(np.ascontiguousarray(weights))
    return found


def unpermuted(weights: Weights, heads: int) -> Weights:
    """Return queries or keys in the order of transformers, whose rotation pairs halves and not neighbours.

    >>> unpermuted(np.arange(4, dtype=np.float32)[:, None], 1)[:, 0]
    array([0., 2., 1., 3.], dtype=float32)
    """
    rows, columns = weights.shape
    return weights.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def dequantised(name: str, title: str, info: TensorInfo, content: bytes) -> Weights:
    """Return a tensor's numbers as float32.

    Raises:
        ModelFileError: its kind is not known, it goes beyond the end of the file, or holds NaN or infinity.
    """
    gguf = _library(name)
    try:
        kind = gguf.GGMLQuantizationType(info.kind)
        block, size = gguf.GGML_QUANT_SIZES[kind]
    except (ValueError, KeyError) as error:
        raise ModelFileError(f"{name}: tensor {title[:100]!r} is of the unknown kind {info.kind}.") from error
    count = math.prod(info.shape)
    end = info.start + count // block * size
    if info.shape[-1] % block or end > len(content):
        raise ModelFileError(f"{name}: tensor {title[:100]!r} goes beyond the end of the file, or fits no blocks.")
    raw = np.frombuffer(content, dtype=np.uint8, count=end - info.start, offset=info.start)
    read: Callable[..., NDArray[Any]] = gguf.dequantize
    try:
        plain = {0: np.float32, 1: np.float16, 28: np.float64}.get(info.kind)
        numbers = raw.view(plain) if plain else read(raw.reshape(-1, info.shape[-1] // block * size), kind)
    except NotImplementedError as error:
        raise ModelFileError(f"{name}: tensor {title[:100]!r} is {kind.name}, which gguf cannot dequantise.") from error
    weights = np.array(numbers, dtype=np.float32).reshape(info.shape)
    if not np.isfinite(weights).all():
        raise ModelFileError(f"{name}: tensor {title[:100]!r} holds NaN or infinity.")
    return weights


def _load(name: str, network: Any, weights: dict[str, torch.Tensor]) -> None:
    """Put weights into a network; an output that is tied to the embedding may be left out.

    Raises:
        ModelFileError: one is missing, of no part of the network, or of another shape.
    """
    tied = bool(getattr(network.config, "tie_word_embeddings", False))
    if tied and "lm_head.weight" in weights:
        embedding = weights.get("model.embed_tokens.weight", weights.get("transformer.wte.weight"))
        if embedding is None or not torch.equal(weights.pop("lm_head.weight"), embedding):
            raise ModelFileError(f"{name}: has an output of its own, and config.json ties it to the embedding.")
    expected = network.state_dict()
    needed = set(expected) - ({"lm_head.weight"} if tied else set())
    for key in sorted(needed ^ set(weights)):
        raise ModelFileError(
            f"{name}: weight {key!r} is {'missing' if key in needed else 'of no part of the network'}."
        )
    for key, value in weights.items():
        if expected[key].shape != value.shape:
            raise ModelFileError(
                f"{name}: weight {key!r} has shape {tuple(value.shape)}, and config.json asks for "
                f"{tuple(expected[key].shape)}."
            )
    network.load_state_dict(weights, strict=False)
    network.tie_weights()
