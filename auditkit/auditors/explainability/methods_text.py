"""Attributions to the words of texts: layer integrated gradients, occlusion, and attention, all (rows, length)."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import nn

from auditkit.auditors.explainability.next_words import NextWordNetwork
from auditkit.auditors.explainability.segments import SegmentedRows, batches, occlusion
from auditkit.auditors.explainability.target_function import Floats
from auditkit.errors import NotRun
from auditkit.evidence.messages import Message
from auditkit.modalities.text import without_words
from auditkit.models.pieces import PieceNetwork
from auditkit.progress import Progress, silent
from auditkit.schema.text import PADDING

MOVE = 0.02
"""The sensitivity of an explanation is that to moves of at most so many standard deviations of the embeddings."""


def attribute_words(method: str, parts: SegmentedRows, *, steps: int = 1, progress: Progress = silent) -> Floats:
    """Return the attributions of a named method to each token, 0 on padding: (rows, length).

    Layer integrated gradients start from the text of the same length whose every word is unknown, take `steps` steps,
    and are summed over the embedding. Occlusion puts the unknown word in the place of each word alone. Attention is
    what each token receives, the mean over tokens, heads and layers: shares of 1.
    """
    if method == "occlusion":
        return occlusion(parts, progress)
    if method == "attention":
        return _attention(parts)
    from captum.attr import LayerIntegratedGradients

    attribution = LayerIntegratedGradients(parts.decision, embedding_of(parts.decision))
    ids, networks = parts.inputs, _of_pieces(parts.decision)
    offset = next((network.offset for network in networks), 0)
    baselines = without_words(ids, np.ones(ids.shape, dtype=bool))
    order = np.argsort(parts.counts, kind="stable") if networks else np.arange(len(ids))
    found = np.zeros(ids.shape)
    # An embedding holds some ten numbers a token.
    for start, stop in batches(len(ids), cells=10 * ids.shape[1], steps=steps):
        rows = order[start:stop]
        # Other networks may read the padding too.
        length = max(1, int(parts.counts[rows].max())) if networks else ids.shape[1]
        attributed: torch.Tensor = attribution.attribute(
            torch.from_numpy(ids[rows, :length]).to(parts.device),
            baselines=torch.from_numpy(baselines[rows, :length]).to(parts.device),
            additional_forward_args=(torch.from_numpy(parts.predicted[rows]).to(parts.device),),
            n_steps=steps,
            method="gausslegendre",
        )
        by_token = attributed.detach().sum(dim=-1).double().cpu().numpy()
        found[rows, :length] = by_token[:, offset : offset + length]  # without special tokens
        progress(stop / len(ids), f"{stop:,} of {len(ids):,} texts explained")
    return np.where(ids == PADDING, 0.0, found)


def embedding_of(module: nn.Module) -> nn.Embedding:
    """Return the layer that turns token ids into vectors, the first embedding of a network.

    Raises:
        NotRun: the network has none, so that gradients cannot reach the words.
    """
    for network in module.modules():
        if isinstance(network, PieceNetwork | NextWordNetwork) and isinstance(network.embedding, nn.Embedding):
            return network.embedding
    for layer in module.modules():
        if isinstance(layer, nn.Embedding):
            return layer
    raise NotRun(Message("the model has no torch.nn.Embedding, where the attribution to words would begin"))


def moved(part: SegmentedRows, rng: np.random.Generator) -> SegmentedRows:
    """Return the same texts, read by the network with a small move of each word's embedding."""
    network = copy.deepcopy(part.decision.network)
    weight = embedding_of(network).weight
    reach = MOVE * float(weight.detach().std())
    noise = rng.uniform(-reach, reach, tuple(weight.shape)).astype(np.float32)
    noise[PADDING] = 0
    with torch.no_grad():
        weight += torch.from_numpy(noise).to(weight)
    return part.of_network(network)


def _of_pieces(module: nn.Module) -> list[PieceNetwork]:
    return [part for part in module.modules() if isinstance(part, PieceNetwork)]


def _attention(parts: SegmentedRows) -> Floats:
    """Return the mean attention that each token receives from the real tokens: (rows, length).

    It is read where a softmax gives weights of tokens over tokens, (rows, heads, length, length).
    """
    length = parts.width
    seen: list[torch.Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        if output.ndim == 4 and output.shape[2:] == (length, length):
            seen.append(output.detach())

    hooks = [layer.register_forward_hook(keep) for layer in parts.decision.modules() if isinstance(layer, nn.Softmax)]
    found = []
    try:
        with torch.no_grad():
            for start, stop in batches(len(parts.inputs), cells=length * length, steps=1):
                seen.clear()
                ids = torch.from_numpy(parts.inputs[start:stop]).to(parts.device)
                parts.decision(ids, torch.from_numpy(parts.predicted[start:stop]).to(parts.device))
                if not seen:
                    raise NotRun(Message("the model has no softmax that weighs tokens against tokens"))
                real = (ids != PADDING).double()
                weights = torch.stack([layer.double().mean(dim=1) for layer in seen]).mean(dim=0)
                received = (weights * real[:, :, None]).sum(dim=1) / real.sum(dim=1, keepdim=True).clamp(min=1)
                found.append((received * real).cpu().numpy())
    finally:
        for hook in hooks:
            hook.remove()
    return np.concatenate(found)
