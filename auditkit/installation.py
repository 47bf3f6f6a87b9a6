"""What of auditkit is installed: its packages, its extras and what they bring, extensions, and the device."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec

from auditkit import plugins

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


def examine() -> Iterator[str]:
    """Yield the lines of `auditkit doctor`."""
    system = f"{platform.system()} {platform.machine()}"
    yield f"auditkit {version('auditkit')}, Python {platform.python_version()}, {system}"
    core, extras = needed()
    missing = [name for name in core if installed_version(name) is None]
    for name in core:
        yield f"  {name:<18} {installed_version(name) or 'missing'}"
    if missing:
        yield f"Not installed: {', '.join(missing)}. 'auditkit gate' works; audits need: pip install auditkit"
    for extra, packages in extras.items():
        lacking = [name for name in packages if installed_version(name) is None]
        brings = BRINGS.get(extra, "")
        state = "installed" if not lacking else f"not installed; pip install 'auditkit[{extra}]'"
        yield f"extra {extra:<12} {f'{brings}: ' if brings else ''}{state}"
    yield from _extensions()
    yield from _device()


def needed() -> tuple[list[str], dict[str, list[str]]]:
    """Return the packages that auditkit needs, and those of each extra but `dev`."""
    core: list[str] = []
    extras: dict[str, list[str]] = {}
    for text in requires("auditkit") or ():
        match = re.match(r"[A-Za-z0-9._-]+", text)
        extra = re.search(r"extra\s*==\s*[\"']([^\"']+)", text)
        name = match[0] if match else text
        if extra is None:
            core.append(name)
        elif extra[1] != "dev":
            extras.setdefault(extra[1], []).append(name)
    return core, extras


def installed_version(package: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _extensions() -> Iterator[str]:
    for name, point in plugins.installed("auditors").items():
        if point.value.startswith("auditkit."):
            continue
        try:
            point.load()
        except (Exception, SystemExit) as error:  # noqa: BLE001  # a plug-in's import may raise anything
            yield f"auditor {name} does not load: {type(error).__name__}: {' '.join(str(error).split())}"
        else:
            yield f"auditor {name:<10} {point.dist.name if point.dist else point.value}"


def _device() -> Iterator[str]:
    if find_spec("torch") is None:
        yield "device: none, torch is not installed"
        return
    import torch

    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        yield f"device: cuda, {card.name}, {card.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"
    else:
        built = torch.version.cuda
        reason = "this torch is built without CUDA" if built is None else f"torch (CUDA {built}) finds no GPU"
        yield f"device: cpu, {os.cpu_count()} cores, {torch.get_num_threads()} threads; {reason}"
