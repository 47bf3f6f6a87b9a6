"""The descriptions of a Hugging Face folder, and what they may not ask for: code, a download, an endless network."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from auditkit import files
from auditkit.budgets import Budget
from auditkit.documents import parse_json
from auditkit.errors import ModelFileError
from auditkit.models.model import first_line

JSON_BYTES = Budget("bytes", 32 * 2**20, 2**40)

OFFSET_POSITIONS = ("roberta", "xlm-roberta", "camembert")
"""The kinds of model whose positions begin behind those of the padding."""

PLAIN = (None, "eager", "sdpa")
"""The implementations of attention and of experts that are torch's own; others are fetched as code."""

TIMM = "timm_wrapper"
"""The `model_type` whose other settings are arguments of timm's, among them addresses and paths."""

REPEATED = re.compile(r"(layers?|depths?|blocks|experts|groups|group_num|types)$")
"""How the keys end whose numbers say how often a part of the network is built."""

SIZES = re.compile(
    r"((hidden|embedding|vocab|intermediate|image|patch)_size|n_(embd|layers?|heads?|inner|positions|ctx)|d_(model|ff|kv)"
    r"|(head|embed|emb|ffn|hidden)_dim|dim|num_(hidden_layers|heads|attention_heads|key_value_heads|channels)"
    r"|max_position_embeddings)"
)
"""The keys of a config.json whose values are sizes of its network: whole numbers of 1 or more, or null."""

PARTS = Budget("layers, blocks or experts", 1_000, 100_000)
CLAIMED = Budget("times the bytes of its weights as the size of the network", 8, 80)
"""A weight of four bits becomes one of 32."""

CLAIMED_FREE = 64 * 2**20

Result = TypeVar("Result")


def read_json(name: str, path: Path) -> dict[str, Any]:
    """Return the object of a JSON file of a folder."""
    text = files.read_text(path, f"{name}: {path.name}", budget=JSON_BYTES, error=ModelFileError)
    try:
        found = parse_json(text)
    except ValueError as error:
        raise ModelFileError(f"{name}: {path.name} cannot be read: {first_line(error)}.") from error
    if not isinstance(found, dict):
        raise ModelFileError(f"{name}: {path.name} is no JSON object.")
    return found


def architectures_of(settings: Mapping[str, Any]) -> list[str]:
    """Return the names of the networks that a config.json states; what is no list of texts states none."""
    stated = settings.get("architectures")
    return [kind for kind in stated if isinstance(kind, str)] if isinstance(stated, list) else []


def check_settings(name: str, settings: dict[str, Any]) -> None:
    """Refuse a config.json that names code or addresses, repeats a part of the network without end, or has no sizes.

    Raises:
        ModelFileError: with the key.
    """
    for key, value in settings.items():
        for size in _leaves(value) if SIZES.fullmatch(key) else ():
            if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 1):
                raise ModelFileError(
                    f"{name}: config.json: {key} is {repr(size)[:60]} and must be a whole number of 1 or more; save "
                    "the model again with save_pretrained."
                )
    for key, value in _entries(settings):
        if key.endswith("_implementation") and any(one not in PLAIN for one in _leaves(value)):
            raise ModelFileError(
                f"{name}: config.json names code of its own ({key}: {str(value)[:100]}), which is never run; take the "
                "key out."
            )
        if REPEATED.search(key):
            for number in _leaves(value):
                if isinstance(number, int | float):
                    PARTS.check(number, f"{name}: config.json: {key}", ModelFileError)
    if settings.get("model_type") == TIMM and (settings.get("model_args") or ":" in str(settings.get("architecture"))):
        raise ModelFileError(
            f"{name}: config.json gives timm an address or arguments; pass its weights with --architecture timm:NAME."
        )


def check_size(name: str, folder: Path, settings: Any, builder: Any) -> None:
    """Refuse a network that is far larger than the weights of its folder, before it takes any memory.

    `settings` is the configuration of transformers, `builder` its automatic class.

    Raises:
        ModelFileError: with both sizes.
    """
    with torch.device("meta"):
        network = builder.from_config(settings, trust_remote_code=False)
    described = 4 * sum(part.numel() for part in (*network.parameters(), *network.buffers()))
    held = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    if described > CLAIMED_FREE:
        CLAIMED.check(described / max(1, held), f"{name}: config.json", ModelFileError)


def first_outputs(name: str, run: Callable[[], Result]) -> Result:
    """Return what a network gives for its first input.

    transformers builds networks of sizes that do not fit together, and these fail only when they are run.

    Raises:
        ModelFileError: with what it raises.
    """
    try:
        with torch.inference_mode():
            return run()
    except MemoryError:
        raise
    except Exception as error:  # whatever torch and transformers raise
        raise ModelFileError(
            f"{name}: its network fails on a first text ({first_line(error)}); check the sizes in config.json."
        ) from error


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Keep what transformers calls from the network, whatever the settings of a folder name."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield every key of nested objects with its value."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield key, part
            yield from _entries(part)
    elif isinstance(value, list):
        for part in value:
            yield from _entries(part)


def _leaves(value: Any) -> Iterator[Any]:
    """Yield what lies in nested lists and objects."""
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _leaves(part)
    else:
        yield value
