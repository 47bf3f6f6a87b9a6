"""Encoders of texts in Hugging Face folders: plain ones, and those that sentence-transformers saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch

from auditkit import files
from auditkit.documents import parse_json
from auditkit.errors import ModelFileError
from auditkit.evidence.messages import Message
from auditkit.models.formats.huggingface_settings import (
    JSON_BYTES,
    OFFSET_POSITIONS,
    architectures_of,
    first_outputs,
    read_json,
)
from auditkit.models.pieces import unknown_id
from auditkit.models.sentence_vectors import LACKS, POOLINGS, EncodedTexts, SentenceEncoder, VocabularyWords
from auditkit.models.word_vectors import SCHEMA
from auditkit.schema.pieces import PieceTokenizer
from auditkit.schema.schema import Schema

MODULES, SETTINGS, PROMPTS = "modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"
POOLER = frozenset({"pooler.dense.weight", "pooler.dense.bias"})
"""The weights of a layer that no vector of a text comes from: a folder may lack them."""

HEADS = ("HeadModel", "HeadsModel")
PREDICTING = ("ForSequenceClassification", "ForImageClassification", "ForAudioClassification")
LONGEST = 512
"""Of a longer text the first tokens are read, whatever the network could read at once."""


class SentenceModules(NamedTuple):
    """What a folder says about the way from tokens to the vector of a text; `said` is whether it says it at all."""

    pooling: str
    most: int
    lower: bool
    said: bool


def reads_sentences(settings: dict[str, Any], folder: Path) -> bool:
    """Return whether a folder holds an encoder: sentence-transformers saved it, or its network has no head."""
    kinds = architectures_of(settings)
    if any(kind.endswith(PREDICTING) for kind in kinds):
        return False
    bare = [kind for kind in kinds if kind.endswith("Model") and not kind.endswith(HEADS)]
    return (folder / MODULES).is_file() or (bool(kinds) and bare == kinds)


def sentence_modules(name: str, folder: Path, settings: dict[str, Any]) -> SentenceModules:
    """Return what modules.json and the files that it names say; without one the mean over all tokens.

    Raises:
        ModelFileError: it has steps that auditkit does not know, or a prompt that is put before each text.
    """
    positions = settings.get("max_position_embeddings")
    most = min(LONGEST, positions) if isinstance(positions, int) and positions > 2 else LONGEST
    if not (folder / MODULES).is_file():
        return SentenceModules("mean", most, lower=False, said=False)
    steps = _steps(name, folder)
    if [kind for kind, _ in steps] not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        raise ModelFileError(
            f"{name}: {MODULES} has the steps {', '.join(kind for kind, _ in steps)}; auditkit knows Transformer, "
            "Pooling and Normalize, in this order."
        )
    if steps[0][1] not in ("", "."):
        raise ModelFileError(f"{name}: {MODULES} has its transformer in {steps[0][1]!r}; pass that folder.")
    prompts = read_json(name, folder / PROMPTS) if (folder / PROMPTS).is_file() else {}
    if prompts.get("default_prompt_name") is not None:
        raise ModelFileError(
            f"{name}: {PROMPTS} puts the prompt {str(prompts['default_prompt_name'])[:50]!r} before each text, which "
            "auditkit does not; set default_prompt_name to null to audit the encoder without it."
        )
    own = read_json(name, folder / SETTINGS) if (folder / SETTINGS).is_file() else {}
    longest = own.get("max_seq_length")
    most = min(most, longest) if isinstance(longest, int) and longest > 2 else most
    return SentenceModules(_pooling(name, folder, steps[1][1]), most, bool(own.get("do_lower_case")), said=True)


def _steps(name: str, folder: Path) -> list[tuple[str, str]]:
    """Return the kind and the folder of each step that modules.json lists."""
    text = files.read_text(folder / MODULES, f"{name}: {MODULES}", budget=JSON_BYTES, error=ModelFileError)
    try:
        listed = parse_json(text)
    except ValueError as error:
        raise ModelFileError(f"{name}: {MODULES} cannot be read: {error}.") from error
    if not isinstance(listed, list) or not all(isinstance(step, dict) for step in listed):
        raise ModelFileError(f"{name}: {MODULES} is no list of steps.")
    return [(str(step.get("type")).rpartition(".")[2], str(step.get("path", ""))) for step in listed]


def _pooling(name: str, folder: Path, place: str) -> str:
    """Return how the vectors of tokens become one, as the folder of this step says."""
    file = f"{place}/config.json"
    inside = Path(place).name == place and place not in ("", ".", "..")
    if not inside or not (folder / place / "config.json").is_file():
        raise ModelFileError(f"{name}: has no {file[:100]}, which says how the vectors of tokens become one.")
    described = read_json(name, folder / place / "config.json")
    modes = [key for key, value in described.items() if key.startswith("pooling_mode_") and value is True]
    named = [mode.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token") for mode in modes]
    if isinstance(described.get("pooling_mode"), str):
        named = [described["pooling_mode"]]
    if len(named) != 1 or named[0] not in POOLINGS:
        raise ModelFileError(
            f"{name}: {file} pools by {' and '.join(named)[:100] or 'nothing'}; auditkit knows one of "
            f"{', '.join(POOLINGS)}."
        )
    return named[0]


def as_encoder(
    name: str, network: Any, tokenizer: PieceTokenizer, modules: SentenceModules
) -> tuple[SentenceEncoder, Schema, dict[str, Any]]:
    """Return an encoder as a module of token ids, its schema, and its capabilities as arguments of a Model.

    Raises:
        ModelFileError: it is of a kind that reads no texts, or whose vectors nothing says how to pool.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    kind = network.config.model_type
    if network.config.is_encoder_decoder or (not modules.said and kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES):
        raise ModelFileError(
            f"{name}: is a {type(network).__name__} without a head, and of these auditkit opens encoders of texts such "
            f"as BertModel, and what sentence-transformers saved ({MODULES})."
        )
    offset = 2 if kind in OFFSET_POSITIONS else 0
    module = SentenceEncoder(
        network, tokenizer, pooling=modules.pooling, most=modules.most - offset, lower=modules.lower
    ).eval()
    ids = torch.tensor([[*module.prefix, unknown_id(tokenizer), *module.suffix]])
    first_outputs(name, lambda: module(ids, torch.ones_like(ids)))
    said = (
        Message("as {file} says", file=MODULES) if modules.said else Message("since no {file} says how", file=MODULES)
    )
    note = Message(
        "The vector of a text is made of those of its tokens by pooling: {how}, {said}.", how=modules.pooling, said=said
    )
    abilities = {"capabilities": (EncodedTexts, VocabularyWords), "lacks": LACKS, "notes": (note,)}
    return module, SCHEMA, abilities
