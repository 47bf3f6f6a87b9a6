"""What of auditkit is installed: its packages, its extras and what they bring, extensions, and the device."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec

from auditkit import extras, plugins


def examine() -> Iterator[str]:
    """Yield the lines of `auditkit doctor`."""
    system = f"{platform.system()} {platform.machine()}"
    yield f"auditkit {version('auditkit')}, Python {platform.python_version()}, {system}"
    core, optional = extras.needed()
    for requirement in core:
        package = extras.name_of(requirement)
        yield f"  {package:<18} {extras.installed_version(package) or 'missing'}"
    if missing := extras.lacking(core):
        names = ", ".join(extras.name_of(requirement) for requirement in missing)
        packages = " ".join(f"'{requirement}'" for requirement in missing)
        yield f"Not installed: {names}. 'auditkit gate' works; audits need: pip install {packages}"
    for extra, requirements in optional.items():
        brings = extras.BRINGS.get(extra, "")
        state = f"not installed; {extras.install_extra(extra)}" if extras.lacking(requirements) else "installed"
        yield f"extra {extra:<12} {f'{brings}: ' if brings else ''}{state}"
    yield from _extensions()
    yield from _device()


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
