"""Folders of recordings (auditkit[audio]): listed by a metadata.csv, or sorted into one folder a class."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auditkit.budgets import Budget
from auditkit.data.audio import MAXIMUM_RATE, RATE
from auditkit.data.readers.arrays import cells_of
from auditkit.data.readers.base import DataSource, ReadOptions, ReadRows
from auditkit.data.readers.folders import Listed, holds, listed
from auditkit.errors import DatasetError
from auditkit.extras import install_extra
from auditkit.files import read_bytes

AUDIO = "audio"
"""What the column of recordings is called."""

SUFFIXES = {".wav", ".flac", ".ogg"}
FORMATS = {b"RIFF": "WAV", b"fLaC": "FLAC", b"OggS": "OGG"}
"""What libsndfile may decode, by its first bytes."""

AUDIO_FILE, SAMPLES = Budget("bytes", 2**28, 2**32), Budget("samples", 2**25, 2**31)
"""How large the file of one recording may be, and how long the recording, over all channels."""

AUDIO_BYTES = Budget("bytes of samples", 8 * 2**30, 256 * 2**30)
MOST_CHANNELS = 8


class AudioFolderReader:
    """A folder with a metadata.csv that names a recording a row, or with a folder of recordings for each class."""

    def recognise(self, source: DataSource) -> bool:
        """Return whether it is a folder of one of the two kinds."""
        return source.is_folder and holds(source.name, source.path, SUFFIXES)

    def read(self, source: DataSource, options: ReadOptions) -> ReadRows:
        """Return a row for each recording: `audio`, an array of samples, `sample_rate`, and what the folder says."""
        rows = listed(source.name, source.path, options.encoding, SUFFIXES, AUDIO)
        if RATE in rows.frame.columns:
            raise DatasetError(f"{source.name}: a column is called {RATE!r}, which the recordings need.")
        return _read(source.path, rows)


def _read(folder: Path, rows: Listed) -> ReadRows:
    """Return the rows with their recordings, each the mean of its channels, float32."""
    samples: list[NDArray[np.float32]] = []
    rates: list[int] = []
    digest = hashlib.sha256(rows.hashed)
    held = several = 0
    for where, inside in rows.files:
        raw = read_bytes(folder / inside, f"{where}: {inside}", budget=AUDIO_FILE, within=folder, error=DatasetError)
        digest.update(hashlib.sha256(raw).digest())
        recording, rate = decoded(f"{where}: {inside}", raw)
        held += len(recording) * 4
        AUDIO_BYTES.check(held, f"{where}: the recordings so far", DatasetError)
        several += recording.shape[1] > 1
        samples.append(recording.mean(axis=1, dtype=np.float32))
        rates.append(rate)
    frame = rows.frame.assign(**{AUDIO: cells_of(samples), RATE: np.array(rates, dtype=np.int64)})
    notes = (f"{several:,} recordings have several channels, of which the mean was taken.",) if several else ()
    return ReadRows(frame, notes=(*rows.notes, *notes), sha256=digest.hexdigest())


def decoded(name: str, raw: bytes) -> tuple[NDArray[np.float32], int]:
    """Return the samples of a file, float32, (samples, channels), and how many there are a second.

    Raises:
        DatasetError: it is damaged, empty, another kind of file, or larger than may be read.
    """
    soundfile = _library()
    if raw[:4] not in FORMATS:
        raise DatasetError(f"{name}: is no {', '.join(FORMATS.values())} file; convert it.")
    try:
        with soundfile.SoundFile(io.BytesIO(raw)) as file:
            if not 1 <= file.channels <= MOST_CHANNELS or not 1 <= file.samplerate <= MAXIMUM_RATE:
                raise DatasetError(
                    f"{name}: has {file.channels} channels of {file.samplerate:,} samples a second, and auditkit reads "
                    f"at most {MOST_CHANNELS} of {MAXIMUM_RATE:,}."
                )
            SAMPLES.check(file.frames * file.channels, name, DatasetError)
            most = SAMPLES.most // file.channels + 1  # what a head says of the length need not be true
            samples: NDArray[np.float32] = file.read(frames=most, dtype="float32", always_2d=True)
            rate = int(file.samplerate)
    except (soundfile.LibsndfileError, RuntimeError, ValueError, OSError, MemoryError) as error:
        raise DatasetError(f"{name}: cannot be read: {str(error).rstrip('.') or 'damaged'}.") from error
    SAMPLES.check(samples.size, name, DatasetError)
    if not len(samples):
        raise DatasetError(f"{name}: holds no samples; leave it out.")
    return samples, rate


def _library() -> Any:
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: libsndfile, which it brings, does not load
        raise DatasetError(f"recordings are read by soundfile; {install_extra('audio')}.") from error
    return soundfile
