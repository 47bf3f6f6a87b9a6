"""The tests over the Python versions that auditkit supports: `nox`, or `nox -s tests-3.12 -- tests/stats`.

The package is installed as users get it, with the packages of requirements.lock. A version whose interpreter is not on
the PATH is skipped, and said so; pyenv's are found under ~/.pyenv/versions.
"""

from __future__ import annotations

import os
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.options.sessions = ["tests"]
nox.options.error_on_missing_interpreters = False

for found in sorted((Path.home() / ".pyenv/versions").glob("3.1[1-3].*/bin")):
    os.environ["PATH"] += f"{os.pathsep}{found}"


@nox.session(python=["3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """Run the tests, or those that are named after `--`, on the installed package."""
    try:
        session.install("--no-deps", "--require-hashes", "-r", "ci/torch-cpu.lock")
    except CommandFailed:  # no wheel for this Python or machine
        session.install("--no-deps", "--require-hashes", "-r", "ci/torch-pypi.lock")
    session.install("--no-deps", "--require-hashes", "-r", "requirements.lock")
    session.install("--no-deps", "--no-build-isolation", ".")
    session.run("pytest", *(session.posargs or ["tests", "-m", "not slow", "--quiet"]), env={"OMP_NUM_THREADS": "1"})
