"""Hugging Face folders of classifiers of recordings: the folder's own feature extractor stands before the network."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from auditkit.data.audio import MAXIMUM_RATE, RATE, sample_counts
from auditkit.errors import InputError, ModelFileError
from auditkit.models.model import first_line
from auditkit.schema.table import Feature

if TYPE_CHECKING:
    from auditkit.data.dataset import Data
    from auditkit.models.from_columns import Columns

AUDIO_HEAD, SEQUENCE_HEAD = "ForAudioClassification", "ForSequenceClassification"
MOST_SECONDS = 30
MOST = 10_000_000
"""No number of a feature extractor is larger: it could ask for any memory."""


class WaveNetwork(nn.Module):
    """A classifier of recordings by transformers as a module of samples, (rows, samples), 0 behind the end of each.

    Recordings of one length go through it together: padding would change what some networks answer.
    """

    def __init__(self, network: Any, extractor: Any, sample_rate: int) -> None:
        super().__init__()
        self.network = network
        self.extractor = extractor
        self.sample_rate = sample_rate

    def forward(self, waves: torch.Tensor) -> torch.Tensor:
        """Return the logits, (rows, classes)."""
        places = torch.arange(1, waves.shape[1] + 1, device=waves.device)
        lengths = ((waves != 0) * places).amax(dim=1)
        outputs: list[torch.Tensor] = []
        rows: list[torch.Tensor] = []
        for length in lengths.unique():
            chosen = (lengths == length).nonzero()[:, 0]
            given = waves[chosen, : max(int(length), 1)].detach().cpu().numpy().astype(np.float32)
            read = self.extractor(list(given), sampling_rate=self.sample_rate, return_tensors="pt")
            outputs.append(self.network(**{name: part.to(waves.device) for name, part in read.items()}).logits)
            rows.append(chosen)
        order = torch.cat(rows).argsort()
        return torch.cat(outputs)[order]


def reads_recordings(settings: dict[str, Any], processor: dict[str, Any]) -> bool:
    """Return whether a folder's model classifies recordings, by its head and its feature extractor."""
    kinds = [kind for kind in settings.get("architectures") or [] if isinstance(kind, str)]
    if any(kind.endswith(AUDIO_HEAD) for kind in kinds):
        return True
    return any(kind.endswith(SEQUENCE_HEAD) for kind in kinds) and "sampling_rate" in processor


def wave_network(name: str, folder: Path, processor: dict[str, Any], network: Any) -> WaveNetwork:
    """Return a network behind the feature extractor of its folder.

    Raises:
        ModelFileError: the feature extractor is none of transformers, or asks for more than any recording needs.
    """
    from transformers import AutoFeatureExtractor

    rate = processor.get("sampling_rate")
    if not isinstance(rate, int) or not 1 <= rate <= MAXIMUM_RATE:
        raise ModelFileError(
            f"{name}: preprocessor_config.json: sampling_rate must be a whole number from 1 to {MAXIMUM_RATE:,}, "
            f"got {rate!r}."
        )
    for key, value in processor.items():
        if isinstance(value, int | float) and not abs(value) <= MOST:
            raise ModelFileError(f"{name}: preprocessor_config.json: {key} must be at most {MOST:,}, got {value:g}.")
    try:
        load: Any = AutoFeatureExtractor.from_pretrained  # transformers gives no types
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of filters that hear nothing, which its owner accepted
            extractor = load(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # of a damaged file, whatever the library raises
        said = first_line(error).replace(str(folder), name)
        raise ModelFileError(f"{name}: transformers cannot open its feature extractor: {said}.") from error
    return WaveNetwork(network, extractor, rate)


def wave_feature(columns: Columns, sample_rate: int, name: str) -> Feature:
    """Return the feature of a column of recordings, as long as the longest one of the audited and training rows.

    Raises:
        InputError: the data have no recordings, or one is longer than is read.
    """
    rows = columns.read_rows()
    held = [str(column) for column in rows.frame.columns if _holds_recordings(rows, str(column))]
    if not held or RATE not in rows.frame.columns:
        raise InputError(f"{rows.name}: has no column of recordings, which {name} reads; pass a folder of recordings.")
    longest = 0
    for part in (rows, columns.read_training()):
        if part is not None:
            counts = sample_counts(part.frame, held[0], sample_rate)
            longest = max(longest, int(counts.max(initial=0)))
    if longest > MOST_SECONDS * sample_rate:
        raise InputError(
            f"{rows.name}: a recording lasts {math.ceil(longest / sample_rate)} seconds, and auditkit reads at most "
            f"{MOST_SECONDS}; cut it into parts."
        )
    return Feature(name=held[0], kind="audio", sample_rate=sample_rate, samples=longest)


def _holds_recordings(rows: Data, column: str) -> bool:
    values = rows.frame[column]
    return values.dtype == object and any(isinstance(one, np.ndarray) and one.ndim == 1 for one in values.head(1))
