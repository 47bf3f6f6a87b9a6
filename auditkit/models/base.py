"""What a model format is: it recognises a source by its bytes, and opens it as far as the user trusts it."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeAlias, runtime_checkable

from auditkit import files
from auditkit.budgets import MODEL_BYTES
from auditkit.errors import ModelFileError
from auditkit.models.capabilities import Capability, StatedTraining
from auditkit.models.formats.archive import Contents, read_contents
from auditkit.models.formats.pickles import Refused
from auditkit.schema.schema import Schema

if TYPE_CHECKING:
    from auditkit.models.from_columns import Columns
    from auditkit.models.model import Model

HEAD_BYTES = 4096


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a model apart from what it predicts.

    `kind` is the kind of file, `trust` what opening it could have run. `provenance` is what the model's card says of
    its training: the data's path and sha256, the seed, the epochs. `path` and `sha256` are None for an object from
    memory.
    """

    name: str
    kind: str
    trust: str
    path: str | None
    sha256: str | None
    architecture: str | None
    parameter_count: int
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trust:
    """The files whose code the user allows to run, each as `sha256:...`."""

    model: str | None = None
    pickle: str | None = None

    def given(self) -> dict[str, str]:
        """Return the options that were given, by name."""
        named = {"--trust-model": self.model, "--trust-pickle": self.pickle}
        return {option: value for option, value in named.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class OpenOptions:
    """What the user says about a file that the file does not say: see `auditkit.audit`.

    `schema` may be a function, which is called only where the file has no schema of its own. `columns` makes a model of
    what predicts from a data frame, None where no data are at hand. `own_inputs` says that the user's preprocessing
    makes the network's inputs, so that the schema does not tell their width.
    """

    architecture: str | None = None
    arguments: Mapping[str, Any] | None = None
    schema: Schema | Callable[[], Schema] | None = None
    columns: Columns | None = None
    own_inputs: bool = False


InputSpec: TypeAlias = tuple[str, tuple[int | str | None, ...], str]
"""Name, shape and type of an input, in the words of its file."""


@dataclass(frozen=True)
class Match:
    """A source that a format recognises: `kind` is how the report calls it.

    `refusal` is None where the format can open it, perhaps after the user trusts it; else it says why not and what to
    do instead. `trust` is the option that must name the file's sha256 before it is opened, if any. `lacks` are the
    capabilities that no model of this kind has, with the reasons. With `own_rows` the model brings the rows that it is
    audited on. `remedy` says what to save instead of a file that must be trusted, where that is not the weights.
    `stated` reads what a file beside the weights states about a training with privacy. `check` raises a ModelFileError
    where the source would not open with what the user says about it, as far as that shows without its network; it is
    called once the file needs no more trust. `inputs` returns the name, shape and type of each input that the file
    states: a size of any number is None, or the name that it has.
    """

    kind: str
    refusal: str | None = None
    trust: str | None = None
    remedy: str | None = None
    lacks: Mapping[type[Capability], str] = field(default_factory=dict)
    own_rows: bool = False
    stated: Callable[[], StatedTraining | None] = lambda: None
    check: Callable[[OpenOptions], None] = lambda options: None
    inputs: Callable[[], tuple[InputSpec, ...]] = lambda: ()


@dataclass(frozen=True, eq=False)
class Source:
    """A file or a folder that may hold a model. It is read, and nothing in it is run.

    `file` is open for reading, and None for a folder.
    """

    path: Path
    file: BinaryIO | None

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"model {self.path}"

    @functools.cached_property
    def head(self) -> bytes:
        """The first 4,096 bytes; nothing of a folder."""
        if self.file is None:
            return b""
        self.file.seek(0)
        return self.file.read(HEAD_BYTES)

    @functools.cached_property
    def sha256(self) -> str:
        """The hash of the file's bytes; empty for a folder, whose format hashes its files."""
        if self.file is None:
            return ""
        return files.digest(self.file)

    @functools.cached_property
    def byte_count(self) -> int:
        """The size of the file; of a folder the size of its files."""
        if self.file is None:
            return sum(path.stat().st_size for path in self.path.rglob("*") if path.is_file())
        return self.file.seek(0, os.SEEK_END)

    @functools.cached_property
    def contents(self) -> Contents | None:
        """What an archive, a pickle or a safetensors file of torch holds; None where it is none of them."""
        return self._read[0]

    @property
    def damage(self) -> str | None:
        """Why the file is none of torch's: damaged, compressed, or of another kind; None where it is one."""
        return self._read[1]

    @functools.cached_property
    def _read(self) -> tuple[Contents | None, str | None]:
        if self.file is None:
            return None, "is a folder"
        try:
            return read_contents(self.file), None
        except Refused as error:
            return None, str(error)

    def content(self) -> bytes:
        """Return the file's bytes, which are those that `sha256` is of.

        Raises:
            ModelFileError: they changed since.
        """
        assert self.file is not None
        self.file.seek(0)
        content = self.file.read()
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise ModelFileError(f"{self.name}: changed while it was read.")
        return content


@runtime_checkable
class ModelFormat(Protocol):
    """A kind of model file, installed as an entry point of the group `auditkit.model_formats`."""

    def recognise(self, source: Source) -> Match | None:
        """Return what the source is, by its bytes alone; None where it is not of this format."""
        ...

    def open(self, source: Source, trust: Trust, config: OpenOptions) -> Model:
        """Return the model; only called for a source that this format recognises.

        Raises:
            ModelFileError: it is damaged, not trusted, or does not fit what the user says about it.
        """
        ...


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[Source]:
    """Open a file or a folder as a source.

    Raises:
        ModelFileError: there is none, or it is neither a regular file nor a folder.
    """
    name = f"model {path}"
    place = Path(path)
    if place.is_dir():
        yield Source(place, None)
        return
    with files.opened(place, name, budget=MODEL_BYTES, error=ModelFileError) as file:
        yield Source(place, file)
