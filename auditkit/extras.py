"""The packages that auditkit needs and those of its extras, as its own metadata names them."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires, version

BRINGS = {
    "sign": "signed manifests (run --sign, seal, verify --public-key)",
    "pdf": "report.pdf (run --pdf, render --to pdf)",
    "hf": "Hugging Face directories",
    "onnx": "ONNX models",
    "gguf": "GGUF files of language models",
    "audio": "audio files",
    "sklearn": "scikit-learn models (.skops)",
    "mlflow": "runs logged to MLflow (auditkit log)",
    "wandb": "runs logged to Weights & Biases (auditkit log --to wandb)",
    "ray": "predictions and retrainings on Ray (run --executor ray)",
}
"""What each extra adds; `dev` is for those who work on auditkit itself."""


def needed() -> tuple[list[str], dict[str, list[str]]]:
    """Return what auditkit needs, and what each extra but `dev` needs: names with their bounds, `ray>=2.40`."""
    core: list[str] = []
    extras: dict[str, list[str]] = {}
    for text in requires("auditkit") or ():
        requirement, _, marker = (part.strip() for part in text.partition(";"))
        extra = re.search(r"extra\s*==\s*[\"']([^\"']+)", marker)
        if extra is None:
            core.append(requirement)
        elif extra[1] != "dev":
            extras.setdefault(extra[1], []).append(requirement)
    return core, extras


def name_of(requirement: str) -> str:
    """Return the package that a requirement names: `ray` of `ray>=2.40`."""
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]


def installed_version(package: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def lacking(requirements: list[str]) -> list[str]:
    """Return those of some requirements whose package is not installed."""
    return [requirement for requirement in requirements if installed_version(name_of(requirement)) is None]


def install_extra(extra: str) -> str:
    """Return the command that installs an extra's packages: `pip install 'ray>=2.40'`.

    It names the packages and not `auditkit[ray]`: the name auditkit belongs to another project on PyPI.
    """
    return "pip install " + " ".join(f"'{requirement}'" for requirement in needed()[1][extra])
