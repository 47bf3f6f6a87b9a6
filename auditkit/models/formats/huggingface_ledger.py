"""The privacy ledger of a folder of Hugging Face: how its weights were trained with privacy, and which weights."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from auditkit import files
from auditkit.budgets import MODEL_BYTES, Budget
from auditkit.documents import parse_json
from auditkit.errors import ModelFileError
from auditkit.evidence.measurement import Record, first_problem
from auditkit.models.capabilities import StatedTraining

LEDGER = "privacy_ledger.json"
"""The file of a folder that says how its weights were trained with privacy: `training` and `ledger`, as in a card."""

LEDGER_BYTES = Budget("bytes", 2**20, 2**30)

OF_WEIGHTS = (".safetensors", ".safetensors.index.json")
"""How the names of the files end that hold weights, or say where they stand."""

REMEDY = "write the folder again with auditkit retrain, or take the file out of it"


class FolderLedger(Record):
    """What the file of a ledger holds: the training, its ledger, and the hash of the weights that it is of."""

    training: dict[str, Any]
    ledger: dict[str, Any]
    weights_sha256: str


def weights_sha256(name: str, *folders: Path) -> str:
    """Return a sha256 over the name and the sha256 of every file of weights of some folders, sorted by name.

    Raises:
        ModelFileError: a file of weights is not a regular file.
    """
    whole = hashlib.sha256()
    for folder in folders:
        for path in sorted(path for path in folder.rglob("*") if path.name.endswith(OF_WEIGHTS)):
            with files.opened(
                path, f"{name}: {path.name}", budget=MODEL_BYTES, within=folder, error=ModelFileError
            ) as file:
                whole.update(f"{path.relative_to(folder).as_posix()} {files.digest(file)}\n".encode())
    return whole.hexdigest()


def stated_training(name: str, folder: Path, *adapters: Path) -> StatedTraining | None:
    """Return what a folder states about its training with privacy, None where it has no ledger.

    `adapters` are folders of weights that are merged over those of the folder: no ledger of the folder is of the two.

    Raises:
        ModelFileError: the file of the ledger cannot be read, or does not say what it must.
    """
    path = folder / LEDGER
    if not path.is_file():
        return None
    text = files.read_text(path, f"{name}: {LEDGER}", budget=LEDGER_BYTES, error=ModelFileError)
    try:
        stated = FolderLedger.model_validate(parse_json(text))
    except ValidationError as error:
        where, problem = first_problem(error)
        raise ModelFileError(f"{name}: {LEDGER} is not valid: {where}: {problem}; {REMEDY}.") from error
    except ValueError as error:
        raise ModelFileError(f"{name}: {LEDGER} is not valid JSON; {REMEDY}.") from error
    of_these_weights = stated.weights_sha256 == weights_sha256(name, folder, *adapters)
    return StatedTraining(stated.training, stated.ledger, of_these_weights)
