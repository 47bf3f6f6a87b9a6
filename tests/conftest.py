"""One small trained model and its data, shared by the tests that run whole audits."""

from __future__ import annotations

import functools
import gc
import itertools
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings
from loans import Loans, write_loans

from auditkit.cli import call

settings.register_profile("auditkit", deadline=None)  # no test asserts a time
settings.load_profile("auditkit")


gc.disable()  # collection imports libraries of a million objects, which each full garbage collection would visit


def pytest_collection_finish() -> None:
    """Leave what was imported to no further garbage collection, and collect garbage from here on."""
    gc.freeze()
    gc.enable()


def compile_grammars_late() -> None:
    """Let jsonschema have the grammars of IRIs compiled where one is checked: at its import they take two seconds."""
    late = ModuleType("rfc3987_syntax")

    def is_valid_syntax(rule: str, value: str) -> bool:
        if sys.modules["rfc3987_syntax"] is late:
            del sys.modules["rfc3987_syntax"]
        return bool(import_module("rfc3987_syntax").is_valid_syntax(rule, value))

    late.is_valid_syntax = is_valid_syntax  # type: ignore[attr-defined]  # a module takes any
    sys.modules["rfc3987_syntax"] = late


compile_grammars_late()


def pytest_runtest_setup() -> None:
    """Keep the Renyi losses that Opacus computed: a search for the noise asks for the same ones again and again.

    A loss depends on nothing but the sampling rate, the noise and the order.
    """
    module = sys.modules.get("opacus.accountants.analysis.rdp")  # most tests never import it
    if module is not None and not hasattr(module._compute_rdp, "cache_info"):
        module._compute_rdp = functools.cache(module._compute_rdp)  # type: ignore[attr-defined]  # a module takes any


@pytest.fixture(scope="session")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield new paths by number: `mktemp` reads the names of all folders of earlier tests to number one."""
    place = tmp_path_factory.mktemp("caches")
    return (place / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def own_cache(
    numbered: Iterator[Path], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Give each test a cache of its own, and all of them a key that is not the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(next(numbered)))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.getbasetemp() / "data"))


@pytest.fixture(scope="session")
def loans(tmp_path_factory: pytest.TempPathFactory) -> Loans:
    """Train the small model once a session."""
    folder = tmp_path_factory.mktemp("loans")
    train = write_loans(folder / "train.csv", row_count=1500, seed=1)
    test = write_loans(folder / "test.csv", row_count=1000, seed=2)
    model = folder / "loans.pt"
    command = ["train", "--dataset", str(train), "--target", "approved", "--out", str(model), "--quiet"]
    command += ["--sensitive", "group", "--sensitive", "region"]
    assert call(command) == 0
    return Loans(model=model, train=train, test=test)
