"""Hugging Face folders of classifiers of recordings: the folder's own feature extractor stands before the network."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from auditkit.data.audio import MAXIMUM_RATE, MAXIMUM_SAMPLES, RATE, sample_counts
from auditkit.errors import InputError, ModelFileError
from auditkit.evidence.messages import Message
from auditkit.models.formats.huggingface_settings import architectures_of
from auditkit.models.model import first_line
from auditkit.models.networks import PartlyCounted
from auditkit.schema.table import Feature

if TYPE_CHECKING:
    from auditkit.data.dataset import Data
    from auditkit.models.from_columns import Columns

AUDIO_HEAD, SEQUENCE_HEAD = "ForAudioClassification", "ForSequenceClassification"
MOST_SECONDS = 30
"""So many seconds of a recording are read at once: a network's attention takes the square of the memory."""

SAMPLES_AT_ONCE = 2**20
"""So many samples go through a network at a time, about a minute at 16,000 a second."""

UNCOUNTED = 15_000
"""What torch's counter leaves out of each sample, in operations of as much time: Fourier transforms, normalisation,
activations. A Wav2Vec2 of 32 channels took half a microsecond a sample."""

MOST = 10_000_000
"""No number of a feature extractor is larger: it could ask for any memory."""


class WaveNetwork(PartlyCounted, nn.Module):
    """A classifier of recordings by transformers as a module of samples, (rows, samples), 0 behind the end of each.

    Recordings of one length go through it together: padding would change what some networks answer. One that is longer
    than `window` samples is read in windows of that length, one behind the other; the last ends with the recording,
    and so overlaps the one before. Its probabilities are the means over its windows.
    """

    def __init__(self, network: Any, extractor: Any, sample_rate: int, window: int) -> None:
        super().__init__()
        self.network = network
        self.extractor = extractor
        self.sample_rate = sample_rate
        self.window = window

    def uncounted_operations(self, waves: torch.Tensor) -> int:
        """Return the mean operations of recordings that torch's counter leaves out."""
        return UNCOUNTED * int((waves != 0).sum()) // len(waves)

    def forward(self, waves: torch.Tensor) -> torch.Tensor:
        """Return the logits, (rows, classes), which of several windows are the logarithms of mean probabilities."""
        places = torch.arange(1, waves.shape[1] + 1, device=waves.device)
        lengths = ((waves != 0) * places).amax(dim=1).clamp(min=1)
        at_once = max(2, SAMPLES_AT_ONCE // max(1, waves.shape[1]))
        blocks = zip(waves.split(at_once), lengths.split(at_once), strict=True)
        return torch.cat([self._of_block(*block) for block in blocks])

    def _of_block(self, waves: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return the logits of rows whose features lie in the memory together."""
        items: dict[Any, list[tuple[torch.Tensor, dict[str, torch.Tensor]]]] = {}
        for length in lengths.unique().tolist():
            chosen = (lengths == length).nonzero()[:, 0]
            for start in window_starts(length, self.window):
                features = self._features(waves[chosen, start : min(start + self.window, length)])
                form = tuple((name, part.shape[1:]) for name, part in features.items())
                items.setdefault(form, []).append((chosen, features))
        rows, outputs = zip(*map(self._logits, items.values()), strict=True)
        return joined(torch.cat(outputs), torch.cat(rows), len(waves))

    def _features(self, waves: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return what the network reads of recordings of one length."""
        given = waves.detach().cpu().numpy().astype(np.float32)
        found = self.extractor(list(given), sampling_rate=self.sample_rate, return_tensors="pt")
        return {
            name: part.to(waves.device, waves.dtype if part.is_floating_point() else None)
            for name, part in found.items()
        }

    def _logits(self, items: list[tuple[torch.Tensor, dict[str, torch.Tensor]]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the rows of features of one form, in order, and the network's logits of them."""
        rows = torch.cat([one for one, _ in items])
        order = rows.argsort(stable=True)
        features = {name: torch.cat([parts[name] for _, parts in items])[order] for name in items[0][1]}
        at_once = max(2, SAMPLES_AT_ONCE // self.window)
        cut = [
            {name: part[start : start + at_once] for name, part in features.items()}
            for start in range(0, len(rows), at_once)
        ]
        return rows[order], torch.cat([self.network(**part).logits for part in cut])


def window_starts(length: int, window: int) -> list[int]:
    """Return where the windows of a recording begin: one behind the other, the last ending with the recording.

    >>> window_starts(25, 10)
    [0, 10, 15]
    """
    if length <= window:
        return [0]
    return [*range(0, length - window, window), length - window]


def joined(logits: torch.Tensor, rows: torch.Tensor, row_count: int) -> torch.Tensor:
    """Return logits, (row_count, outputs), of those of windows, (windows, outputs), each of one of the rows.

    A row of one window keeps its logits. Of several windows the probabilities are averaged, and their logarithms
    returned, which are logits of the same probabilities; a single output, a number, is averaged itself.
    """
    order = rows.argsort(stable=True)
    if len(rows) == row_count:
        return logits[order]
    counts = torch.bincount(rows, minlength=row_count)[:, None]
    values = logits if logits.shape[1] == 1 else logits.softmax(dim=1)
    means = values.new_zeros(row_count, logits.shape[1]).index_add(0, rows, values) / counts
    means = means if logits.shape[1] == 1 else means.clamp(min=torch.finfo(means.dtype).tiny).log()
    alone = logits.new_zeros(means.shape).index_add(0, rows, logits)
    return torch.where(counts == 1, alone, means)


def reads_recordings(settings: dict[str, Any], processor: dict[str, Any]) -> bool:
    """Return whether a folder's model classifies recordings, by its head and its feature extractor."""
    kinds = architectures_of(settings)
    if any(kind.endswith(AUDIO_HEAD) for kind in kinds):
        return True
    return any(kind.endswith(SEQUENCE_HEAD) for kind in kinds) and "sampling_rate" in processor


def extractor_of(name: str, folder: Path, processor: dict[str, Any]) -> tuple[Any, int]:
    """Return the feature extractor of a folder, and the sample rate that it reads.

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
            return load(str(folder), local_files_only=True, trust_remote_code=False), rate
    except Exception as error:  # of a damaged file, whatever the library raises
        said = first_line(error).replace(str(folder), name)
        raise ModelFileError(f"{name}: transformers cannot open its feature extractor: {said}.") from error


def samples_read(extractor: Any, sample_rate: int, length: int) -> int:
    """Return how many samples of a recording of some length a feature extractor reads: all, or those before its cut.

    It is tried on noise, whose end is replaced by other noise: what does not change the features is not read. Less than
    the last tenth of a second may be unread without a cut, where it fills no frame.
    """
    one, other = np.random.default_rng(0).normal(scale=0.1, size=(2, length)).astype(np.float32)

    def reads_behind(place: int) -> bool:
        pair = (one, np.concatenate([one[:place], other[place:]]))
        first, second = (dict(extractor([wave], sampling_rate=sample_rate, return_tensors="np")) for wave in pair)
        return any(not np.array_equal(first[name], second[name]) for name in first)

    high = length - sample_rate // 10
    if high <= 0 or reads_behind(high):
        return length
    low = 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if reads_behind(middle) else (low, middle)
    return high


def wave_network(
    network: Any, extractor: Any, feature: Feature, columns: Columns
) -> tuple[WaveNetwork, tuple[Message, ...]]:
    """Return a network behind the feature extractor of its folder, and what must be said of long recordings."""
    rate, longest = feature.sample_rate, feature.samples
    most = MOST_SECONDS * rate
    tried = min(longest, most + rate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of transformers, on what it is given
        read = samples_read(extractor, rate, tried)
    window = min(read, most)
    rows = columns.read_rows()
    counts = sample_counts(rows.frame, feature.name, rate)
    note = Message(
        "{count:,} of {total:,} recordings are longer than the {seconds:.4g} seconds that are read at once. Each is "
        "read in windows of that length, one behind the other; the last ends with the recording, and overlaps the one "
        "before. Its probabilities are the means over its windows.",
        count=int((counts > window).sum()), total=len(counts), seconds=window / rate,
    ) + (
        Message(" The feature extractor of the model would otherwise cut off all but the first window.")
        if read < tried
        else Message(" Without windows, the model would read each recording as a whole.")
    )  # fmt: skip
    return WaveNetwork(network, extractor, rate, window), (note,) if (counts > window).any() else ()


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
    if longest > MAXIMUM_SAMPLES:
        raise InputError(
            f"{rows.name}: a recording lasts {math.ceil(longest / sample_rate):,} seconds, and auditkit reads at most "
            f"{MAXIMUM_SAMPLES // sample_rate:,}; cut it into parts."
        )
    return Feature(name=held[0], kind="audio", sample_rate=sample_rate, samples=longest)


def _holds_recordings(rows: Data, column: str) -> bool:
    values = rows.frame[column]
    return values.dtype == object and any(isinstance(one, np.ndarray) and one.ndim == 1 for one in values.head(1))
