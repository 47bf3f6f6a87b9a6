"""Print a CycloneDX 1.6 bill of materials of a wheel of auditkit: itself, and all that it needs at run time.

Versions, licences and requirements are those of the installed packages, hashes those of requirements.lock.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import uuid
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
NAMESPACE = uuid.UUID("0b0e4b52-4f0c-5c8e-9d57-2f8a3e0c9c11")


def normal(name: str) -> str:
    """Return a package's name as indexes write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked_hashes() -> dict[str, list[str]]:
    """Return the sha256 hashes that the locks allow, by package."""
    found: dict[str, list[str]] = {}
    for lock in ("requirements.lock", "ci/torch-cpu.lock"):
        name = ""
        for line in (ROOT / lock).read_text(encoding="utf-8").splitlines():
            if "==" in line and not line.startswith("#"):
                name = normal(line.partition("==")[0])
            elif line.strip().startswith("--hash=sha256:"):
                found.setdefault(name, []).append(line.strip().removeprefix("--hash=sha256:").split()[0])
    return found


def needed(package: Distribution) -> list[Distribution]:
    """Return the installed packages that one needs without any extra."""
    found = []
    for requirement in package.requires or []:
        if "extra ==" in requirement:
            continue
        try:
            found.append(distribution(re.split(r"[^\w.-]", requirement, maxsplit=1)[0]))
        except PackageNotFoundError:  # needed on other systems only
            continue
    return found


def component(package: Distribution, hashes: dict[str, list[str]]) -> dict[str, Any]:
    """Return the entry of a package."""
    name = normal(package.metadata["Name"])
    version = package.version.partition("+")[0]
    entry: dict[str, Any] = {
        "type": "library",
        "bom-ref": name,
        "name": name,
        "version": version,
        "purl": f"pkg:pypi/{name}@{version}",
    }
    licence = package.metadata.get("License-Expression")
    if licence:
        entry["licenses"] = [{"expression": licence}]
    if name in hashes:  # one of them is that of the file on this machine
        entry["externalReferences"] = [
            {
                "type": "distribution",
                "url": f"https://pypi.org/project/{name}/{version}/#files",
                "hashes": [{"alg": "SHA-256", "content": value} for value in hashes[name]],
            }
        ]
    return entry


def bill(wheel: Path) -> dict[str, Any]:
    """Return the bill of materials of a wheel."""
    own = distribution("auditkit")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    hashes, pending = locked_hashes(), [own]
    found: dict[str, Distribution] = {}
    while pending:
        package = pending.pop()
        name = normal(package.metadata["Name"])
        if name not in found:
            found[name] = package
            pending += needed(package)
    itself = {**component(own, {}), "type": "application", "hashes": [{"alg": "SHA-256", "content": digest}]}
    others = [component(package, hashes) for name, package in sorted(found.items()) if name != "auditkit"]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, digest)}",
        "version": 1,
        "metadata": {"component": itself},
        "components": others,
        "dependencies": [
            {"ref": name, "dependsOn": sorted({normal(part.metadata["Name"]) for part in needed(package)})}
            for name, package in sorted(found.items())
        ],
    }


if __name__ == "__main__":
    print(json.dumps(bill(Path(sys.argv[1])), indent=2))
