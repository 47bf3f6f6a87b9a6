"""Writing a network of transformers as a folder that opens like the one it came from, with its privacy ledger."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from auditkit.errors import InputError, ModelFileError
from auditkit.models.formats.adapters import ADAPTER_CONFIG
from auditkit.models.formats.folder_copy import copied
from auditkit.models.formats.huggingface import without_bars
from auditkit.models.formats.huggingface_ledger import LEDGER, OF_WEIGHTS, weights_sha256
from auditkit.models.model import first_line

WRITING = ".writing"


def save_folder(path: Path, network: Any, base: Path, sha256: str | None, described: dict[str, Any]) -> None:
    """Write a network and what else stands in the folder of its base model, whole or not at all.

    Args:
        path: the folder to write, which must not be there.
        network: the network by transformers.
        base: the folder that it came from, of which the tokenizer is taken, and the settings.
        sha256: that folder's hash when it was opened.
        described: `training` and `ledger`, as in a card; the ledger's file says them, and which weights they are of.

    Raises:
        ModelFileError: the base folder has changed since, or the folder cannot be written.
        InputError: the base is an adapter over another folder.
    """
    if (base / ADAPTER_CONFIG).is_file():
        raise InputError(f"model {base}: is a PEFT adapter; merge it with peft (merge_and_unload), and save the whole.")
    beside = path.with_name(f".{path.name}{WRITING}")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        with copied(f"model {base}", base) as (folder, digest):
            if digest != sha256:
                raise ModelFileError(f"model {base}: has changed since it was opened; run the command again.")
            shutil.copytree(folder, beside, ignore=_weights)
        with without_bars():
            network.save_pretrained(beside, safe_serialization=True)
        described = described | {"weights_sha256": weights_sha256(f"model {path}", beside)}
        content = json.dumps(described, indent=1, ensure_ascii=False) + "\n"
        (beside / LEDGER).write_text(content, encoding="utf-8")
        os.replace(beside, path)
    except OSError as error:
        raise ModelFileError(f"model {path}: cannot be written: {error.strerror or first_line(error)}.") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _weights(_: str, names: list[str]) -> list[str]:
    """Return the files of a folder that hold its weights, or say how the base was trained."""
    return [name for name in names if name.endswith(OF_WEIGHTS) or name == LEDGER]
