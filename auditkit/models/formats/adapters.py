"""LoRA adapters of PEFT over the folder of a base model: read from safetensors, and added to the weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from auditkit.budgets import MODEL_BYTES
from auditkit.errors import ModelFileError
from auditkit.files import read_bytes

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
LARGEST = 1e9
"""A rank, or a scale, beyond this is none."""

UNSUPPORTED = ("use_dora", "lora_bias", "alpha_pattern", "rank_pattern", "layer_replication", "megatron_config")
"""Settings under which an adapter is more than a product of two matrices of one scale."""


def read_adapter(name: str, folder: Path, settings: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Return the tensors of an adapter by the names of the base model's modules.

    Raises:
        ModelFileError: it is no plain LoRA adapter in safetensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    check_adapter(name, folder, settings)
    content = read_bytes(
        folder / ADAPTER_WEIGHTS, f"{name}: {ADAPTER_WEIGHTS}", budget=MODEL_BYTES, within=folder, error=ModelFileError
    )
    try:
        tensors = load(content)
    except SafetensorError as error:
        raise ModelFileError(f"{name}: {ADAPTER_WEIGHTS} is damaged: {error}.") from error
    odd = [key for key in tensors if not key.startswith(PREFIX)]
    if odd:
        raise ModelFileError(f"{name}: holds {odd[0]!r}, which is no weight of a PEFT adapter.")
    return {key.removeprefix(PREFIX): value.float() for key, value in tensors.items()}


def check_adapter(name: str, folder: Path, settings: Mapping[str, Any]) -> None:
    """Raise ModelFileError unless a folder holds a plain LoRA adapter in safetensors, as its description says."""
    kind = settings.get("peft_type")
    extra = [key for key in UNSUPPORTED if settings.get(key)]
    if kind != "LORA" or extra:
        what = f"is a PEFT adapter of kind {kind}" if kind != "LORA" else f"is a LoRA adapter with {extra[0]}"
        raise ModelFileError(f"{name}: {what}; merge it with peft (merge_and_unload), and save the whole model.")
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise ModelFileError(f"{name}: has no {ADAPTER_WEIGHTS}; save the adapter with save_pretrained.")


def merge(name: str, network: nn.Module, tensors: Mapping[str, torch.Tensor], settings: Mapping[str, Any]) -> None:
    """Add an adapter to the weights of its base model, in place: W + alpha / r (B A), and put whole weights in.

    With `use_rslora` the scale is alpha / sqrt(r) (Kalajdzievski 2023); `fan_in_fan_out` says that W is transposed.

    Raises:
        ModelFileError: a tensor of the adapter has no place in the base model, or another shape.
    """
    rank, alpha = (_positive(name, settings, key) for key in ("r", "lora_alpha"))
    scale = alpha / (rank**0.5 if settings.get("use_rslora") else rank)
    held = network.state_dict()
    with torch.no_grad():
        for key, value in tensors.items():
            if key.endswith(".lora_B.weight"):
                if key.replace(".lora_B.", ".lora_A.") not in tensors:
                    raise ModelFileError(f"{name}: holds {key!r} without its other factor, and would change nothing.")
                continue
            place = key.replace(".lora_A.weight", ".weight")
            if place not in held:
                raise ModelFileError(f"{name}: holds {key!r}, for which the base model has no weight.")
            changed = value
            if place != key:
                turned = bool(settings.get("fan_in_fan_out"))
                changed = held[place] + scale * _product(name, key, tensors, held[place], turned=turned)
            if changed.shape != held[place].shape:
                raise ModelFileError(
                    f"{name}: {key!r} has shape {tuple(changed.shape)}, and the base model {tuple(held[place].shape)}."
                )
            held[place].copy_(changed)


def _positive(name: str, settings: Mapping[str, Any], key: str) -> float:
    value = settings.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LARGEST:
        raise ModelFileError(f"{name}: {ADAPTER_CONFIG}: {key} must be a number above 0, got {str(value)[:40]!r}.")
    return float(value)


def _product(
    name: str, key: str, tensors: Mapping[str, torch.Tensor], weight: torch.Tensor, *, turned: bool
) -> torch.Tensor:
    """Return B A, or its transpose, once both are known to fit: the product of two long vectors takes all memory."""
    first, second = tensors[key], tensors.get(key.replace(".lora_A.", ".lora_B."))
    if second is None or first.ndim != 2 or second.ndim != 2 or second.shape[1] != first.shape[0]:
        shapes = [None if one is None else tuple(one.shape) for one in (first, second)]
        raise ModelFileError(
            f"{name}: {key!r} and its other factor have shapes {shapes[0]} and {shapes[1]}: no product."
        )
    shape = (first.shape[1], second.shape[0]) if turned else (second.shape[0], first.shape[1])
    if shape != tuple(weight.shape):
        raise ModelFileError(
            f"{name}: {key!r} has shape {shape} with its other factor, and the base model {tuple(weight.shape)}."
        )
    product = second @ first
    return product.T if turned else product


def whole_weights(tensors: Mapping[str, torch.Tensor]) -> frozenset[str]:
    """Return the weights that an adapter replaces whole, such as those of the head."""
    return frozenset(key for key in tensors if ".lora_" not in key)
