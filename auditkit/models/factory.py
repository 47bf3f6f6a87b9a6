"""Networks by name: auditkit's own, or code that the user names; a file never gets to name code to import."""

from __future__ import annotations

import functools
import importlib
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditkit.documents import parse_json
from auditkit.errors import InputError, ModelFileError

if TYPE_CHECKING:
    from torch import nn


TIMM = "timm"
"""The library whose networks are named `timm:resnet18`, by timm's own names."""


def is_code(architecture: str) -> bool:
    """Whether an architecture is the name of code, `package.module:factory`, and not one of auditkit's own."""
    return ":" in architecture


def build_network(architecture: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Return a network with fresh weights: one of auditkit's, or what the user's `package.module:factory` returns.

    `timm:resnet18` is the network of this name in timm. The module is imported as `python` would in the current
    folder. Call it with code only where the *user*, not a file, named that code.

    Raises:
        ModelFileError: no such architecture, module or factory, it fails, or returns no nn.Module.
    """
    from torch import nn

    from auditkit.models.architectures import build

    if not is_code(architecture):
        return build(architecture, arguments)
    module_name, _, path = architecture.partition(":")
    what = f"architecture {architecture}"
    if not re.fullmatch(r"\w+(\.\w+)*:\w+(\.\w+)*", architecture):
        raise ModelFileError(f"{what!r} is not understood; write package.module:factory, such as my_net:Net.")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        module: Any = importlib.import_module(module_name)
        factory = module
        if module_name == TIMM:
            factory = functools.partial(module.create_model, path)
        else:
            for part in path.split("."):
                factory = getattr(factory, part)
        network = factory(**arguments)
    except ModuleNotFoundError as error:
        own = error.name == module_name.partition(".")[0]
        where = f"in {here} or installed; install it, or run auditkit in the folder that holds {error.name}.py"
        package = f"installed, which {module_name} imports; install it (pip install {error.name})"
        raise ModelFileError(f"{what}: no module {error.name!r} {where if own else package}.") from error
    except Exception as error:  # the user's code may raise anything; it is named, and is bad input
        lines = str(error).strip().splitlines() or [""]
        raise ModelFileError(f"{what}: {type(error).__name__}: {lines[0]}.") from error
    finally:
        sys.path.remove(here)
    if not isinstance(network, nn.Module):
        raise ModelFileError(f"{what}: must return a torch.nn.Module, got {type(network).__name__}.")
    return network


def read_arguments(text: str | None) -> dict[str, Any]:
    """Return the arguments of an architecture from a JSON object.

    Raises:
        InputError: it is no JSON object.

    >>> read_arguments('{"hidden": 64}')
    {'hidden': 64}
    """
    if text is None:
        return {}
    try:
        arguments = parse_json(text)
    except ValueError as error:
        raise InputError(f"architecture-args must be a JSON object, such as '{{\"hidden\": 64}}': {error}.") from error
    if not isinstance(arguments, dict):
        raise InputError(f"architecture-args must be a JSON object, got {type(arguments).__name__}.")
    return arguments
