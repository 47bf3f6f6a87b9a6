"""The command that makes a model private: retrain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auditkit.config_commands import RetrainConfig
    from auditkit.data.dataset import Data
    from auditkit.models.from_columns import Columns
    from auditkit.models.model import Model


DEFAULT_TEXT = "text"
"""The column that a language model of Hugging Face reads, if none is named."""


def retrain(config: RetrainConfig) -> None:
    """Train the same architecture with differential privacy. Packs the model with its privacy ledger.

    Killed, it goes on when called again with the same options; steps that were lost count as spent.
    """
    from auditkit import progress_display
    from auditkit.data.dataset import read_data
    from auditkit.models.formats.opening import open_model
    from auditkit.training.dp.retrain import retrain as retrain_model

    assert config.data.train_dataset is not None
    data = read_data(config.data.train_dataset, encoding=config.data.encoding)
    model = _opened(config, data)
    public = None
    if config.model.public_init is not None:
        public = open_model(
            config.model.public_init,
            columns=_columns(config, data),
            architecture=config.model.architecture,
            schema=lambda: model.schema,
            trust_model=_trust(config.model.public_init, config.model.trust_model),
        )
    held_out = None
    if config.data.dataset is not None:
        held_out = read_data(config.data.dataset, encoding=config.data.encoding)
    with progress_display.progress(silent=config.output.quiet) as progress:
        done = retrain_model(
            model,
            data,
            config=config,
            public=public,
            held_out=held_out,
            progress=lambda fraction, what: progress("retraining", fraction, what),
        )
    if not config.output.quiet:
        from auditkit import terminal

        terminal.retrained(done)


def _opened(config: RetrainConfig, data: Data) -> Model:
    """Return the model whose architecture is trained again, with the groups that the command names."""
    from auditkit.config import ModelConfig
    from auditkit.models.open import model_for
    from auditkit.schema.schema import read_schema

    named, rows = config.model, config.data
    assert named.model is not None
    opened = model_for(
        named.model,
        _columns(config, data),
        config=ModelConfig(
            architecture=named.architecture,
            architecture_args=named.architecture_args,
            trust_model=_trust(named.model, named.trust_model),
        ),
        schema=None if named.schema_file is None else read_schema(named.schema_file),
    )
    if not rows.sensitive:
        return opened
    return replace(opened, schema=opened.schema.model_copy(update={"sensitive": rows.sensitive}))


def _columns(config: RetrainConfig, data: Data) -> Columns:
    """Return what the data say to a model that is made for their columns."""
    from auditkit.models.from_columns import Columns
    from auditkit.schema.schema import as_target

    rows = config.data
    return Columns(
        read_rows=lambda: data,
        read_training=lambda: None,
        target=as_target(rows.target) if rows.target else None,
        sensitive=tuple(rows.sensitive),
        text=rows.text or DEFAULT_TEXT,
    )


def _trust(path: Path, given: Sequence[str]) -> str | None:
    """Return the word that trusts this very file, where several are given, each for a file of its own."""
    from auditkit.models.formats.opening import read_model_file

    if len(given) <= 1:
        return given[0] if given else None
    hashed = f"sha256:{read_model_file(path).sha256}"
    return hashed if hashed in given else given[0]
