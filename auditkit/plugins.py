"""The one registry of extensions: entry points, by the same rules for auditkit's own and for other packages'."""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from auditkit.errors import InputError, closest


def installed(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name, not yet loaded: auditkit's own first, then the others by name.

    `group` is the kind of extension, such as "auditors" or "renderers"; packages register under `auditkit.<group>`.

    Raises:
        InputError: two packages install an extension of the same kind and name.
    """
    found: dict[str, EntryPoint] = {}
    for point in _entry_points(tuple(map(_dated, sys.path))).get(f"auditkit.{group}", ()):
        if point.name in found:
            packages = " and ".join(one.dist.name if one.dist else one.value for one in (found[point.name], point))
            raise InputError(f"{packages} both install {_one_of(group)} named '{point.name}'; uninstall one of them.")
        found[point.name] = point
    own = [name for name, point in found.items() if point.value.startswith("auditkit.")]
    return {name: found[name] for name in own + sorted(set(found) - set(own))}


@lru_cache(maxsize=2)
def _entry_points(path: tuple[tuple[str, int], ...]) -> dict[str, tuple[EntryPoint, ...]]:
    """Return the entry points of all packages by group, read once for each state of sys.path: a run asks 20 times."""
    found = entry_points()
    return {group: tuple(found.select(group=group)) for group in found.groups if group.startswith("auditkit.")}


def _dated(folder: str) -> tuple[str, int]:
    """Return a folder of sys.path and when something was last installed into it, in ns; 0 where there is no folder."""
    try:
        return folder, os.stat(folder or os.curdir).st_mtime_ns
    except OSError:
        return folder, 0


def load(group: str, name: str) -> Any:
    """Return the object that an installed extension names.

    Raises:
        InputError: no extension of this kind has the name.
    """
    points = installed(group)
    if name not in points:
        kind = _one_of(group).partition(" ")[2]
        raise InputError(f"unknown {kind} '{name}'{closest(name, points)}; installed are {', '.join(points)}.")
    return points[name].load()


def _one_of(group: str) -> str:
    """Return a kind of extension in the singular, with its article.

    >>> _one_of("model_formats"), _one_of("auditors"), _one_of("modalities")
    ('a model format', 'an auditor', 'a modality')
    """
    words = group.replace("_", " ")
    kind = words.removesuffix("ies") + "y" if words.endswith("ies") else words.removesuffix("s")
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
