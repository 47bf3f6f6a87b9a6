"""Change one operator, comparison or number of a module at a time, and see that a test notices.

    python tests/mutants.py intervals --sample 100 --seed 1

The module's own tests are collected and run once. Then each mutant is tried in a forked process: the functions of the
loaded module get the changed code, and the tests run, the quickest of each file first, until one fails. A mutant that
no test notices survived, and is printed with its line.
"""

from __future__ import annotations

import argparse
import ast
import copy
import functools
import importlib
import os
import random
import signal
import sys
import types
from pathlib import Path

import pytest
from _pytest.main import pytest_runtestloop as run_tests

ROOT = Path(__file__).parents[1]
SUBJECTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "intervals": (
        "auditkit.stats.intervals",
        ("tests/stats/test_intervals.py", "tests/stats/test_interval_oracles.py", "tests/stats/test_paired.py"),
    ),
    "judging": (
        "auditkit.evidence.judging",
        ("tests/evidence/test_judging.py", "tests/evidence/test_gate.py", "tests/evidence/test_baseline.py"),
    ),
    "archive": (
        "auditkit.models.formats.archive",
        ("tests/models/formats/test_archive.py", "tests/models/formats/test_hostile.py"),
    ),
    "pickles": (
        "auditkit.models.formats.pickles",
        ("tests/models/formats/test_pickles.py", "tests/models/formats/test_archive.py"),
    ),
}
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.Pow: ast.Mult,
}  # fmt: skip
EXCHANGED = {"maximum": "minimum", "minimum": "maximum", "max": "min", "min": "max", "any": "all", "all": "any"}
KILLED, SURVIVED = 0, 1


def changes(tree: ast.Module) -> list[tuple[int, int, int, str]]:
    """Return every possible change: the place of its node in a walk of the tree, its way, its line and its words."""
    found = []
    idle = {id(part) for node in ast.walk(tree) for one in _idle(node) for part in ast.walk(one)}
    for place, node in enumerate(ast.walk(tree)):
        if id(node) in idle:
            continue
        for way in range(2):
            said = _change(copy.deepcopy(node), way)
            if said:
                found.append((place, way, getattr(node, "lineno", 0), said))
    return found


def _idle(node: ast.AST) -> list[ast.expr]:
    """Return the parts of a node that no test runs: annotations, and decorators, whose work is done already."""
    parts = [getattr(node, name, None) for name in ("annotation", "returns")]
    return [*getattr(node, "decorator_list", []), *(part for part in parts if part is not None)]


def changed(tree: ast.Module, place: int, way: int) -> ast.Module:
    """Return the tree with one change."""
    other = copy.deepcopy(tree)
    _change(next(node for number, node in enumerate(ast.walk(other)) if number == place), way)
    return ast.fix_missing_locations(other)


def _change(node: ast.AST, way: int) -> str:
    """Change a node in place, in one of up to three ways, and return what was done; "" where there is no such way."""
    if isinstance(node, ast.Compare) and way == 0 and type(node.ops[0]) in COMPARISONS:
        before = type(node.ops[0])
        node.ops[0] = COMPARISONS[before]()
        return f"{before.__name__} is {COMPARISONS[before].__name__}"
    if isinstance(node, ast.BinOp) and way == 0 and type(node.op) in OPERATORS and not _is_text(node):
        done = type(node.op)
        node.op = OPERATORS[done]()
        return f"{done.__name__} is {OPERATORS[done].__name__}"
    if isinstance(node, ast.BoolOp) and way == 0:
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        return "and / or exchanged"
    if isinstance(node, ast.Constant) and way == 0 and isinstance(node.value, int | float):
        before_value = node.value
        node.value = not before_value if isinstance(before_value, bool) else before_value + 1
        return f"{before_value} is {node.value}"
    if isinstance(node, ast.UnaryOp) and way == 0 and isinstance(node.op, ast.Not):
        node.op, node.operand = ast.Not(), ast.UnaryOp(ast.Not(), node.operand)
        return "not left out"
    if isinstance(node, ast.If | ast.IfExp | ast.While) and way < 2:
        node.test = ast.Constant(way == 0) if not isinstance(node, ast.While) else ast.Constant(False)
        return f"condition is always {way == 0}" if not isinstance(node, ast.While) or way == 1 else ""
    if isinstance(node, ast.Attribute | ast.Name) and way == 0:
        name = node.attr if isinstance(node, ast.Attribute) else node.id
        if name in EXCHANGED:
            if isinstance(node, ast.Attribute):
                node.attr = EXCHANGED[name]
            else:
                node.id = EXCHANGED[name]
            return f"{name} is {EXCHANGED[name]}"
    return ""


def _is_text(node: ast.BinOp) -> bool:
    parts = [part for part in ast.walk(node) if isinstance(part, ast.Constant)]
    return any(isinstance(part.value, str) for part in parts) or any(
        isinstance(part, ast.JoinedStr) or (isinstance(part, ast.Name) and part.id == "Message")
        for part in ast.walk(node)
    )


def put_in(module: types.ModuleType, tree: ast.Module) -> None:
    """Give the functions and constants of a loaded module the code of a changed tree."""
    fresh = types.ModuleType(module.__name__)
    fresh.__file__ = module.__file__
    sys.modules[module.__name__] = fresh  # dataclasses look their module up
    exec(compile(tree, str(module.__file__), "exec"), fresh.__dict__)
    sys.modules[module.__name__] = module
    for name, new in vars(fresh).items():
        old = vars(module).get(name)
        if isinstance(new, type) and isinstance(old, type):
            for method, code in vars(new).items():
                _recode(vars(old).get(method), code)
        elif isinstance(old, dict) and isinstance(new, dict) and not name.startswith("__"):
            old.clear()
            old.update(new)
        elif not _recode(old, new) and isinstance(new, int | float | str | tuple | frozenset):
            setattr(module, name, new)


def _recode(old: object, new: object) -> bool:
    if isinstance(old, functools._lru_cache_wrapper):
        old.cache_clear()
    for attribute in ("__wrapped__", "fget", "func", "__func__"):
        old, new = getattr(old, attribute, old), getattr(new, attribute, new)
    if isinstance(old, types.FunctionType) and isinstance(new, types.FunctionType):
        if len(old.__code__.co_freevars) == len(new.__code__.co_freevars):
            old.__code__, old.__defaults__, old.__kwdefaults__ = new.__code__, new.__defaults__, new.__kwdefaults__
        return True
    return False


class Trial:
    """A plug-in of pytest that runs the collected tests once as they are, and then once for each mutant."""

    def __init__(self, module: types.ModuleType, sample: int, seed: int, seconds: int) -> None:
        """Choose the mutants of a loaded module."""
        self.module, self.seconds = module, seconds
        self.tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
        self.every = changes(self.tree)
        chosen = random.Random(seed).sample(self.every, min(sample, len(self.every)))
        self.chosen = sorted(chosen, key=lambda one: one[2])
        self.durations: dict[str, float] = {}
        self.survived: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember how long each test takes."""
        self.durations[report.nodeid] = self.durations.get(report.nodeid, 0) + report.duration

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the tests as they are, order them by the time that they took, and try each mutant in a child."""
        run_tests(session)
        files = list(dict.fromkeys(item.path for item in session.items))  # whose fixtures stay while their tests run
        session.items.sort(key=lambda item: (files.index(item.path), self.durations[item.nodeid]))
        for number, (place, way, line, said) in enumerate(self.chosen, 1):
            if self._survives(session, changed(self.tree, place, way)):
                self.survived.append(f"{self.module.__name__}:{line}: {said}")
                print(self.survived[-1], flush=True)
            if number % 10 == 0:
                print(f"{number} tried, {len(self.survived)} survived", file=sys.stderr, flush=True)
        return True

    def _survives(self, session: pytest.Session, tree: ast.Module) -> bool:
        child = os.fork()
        if child == 0:
            code = KILLED
            try:
                signal.alarm(self.seconds)  # a mutant that never ends is noticed, too
                quiet = os.open(os.devnull, os.O_WRONLY)
                os.dup2(quiet, 1)
                os.dup2(quiet, 2)
                put_in(self.module, tree)
                run_tests(session)
                code = SURVIVED
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        return os.WIFEXITED(status) and os.WEXITSTATUS(status) == SURVIVED


def main() -> None:
    """Read the command line, try the mutants, print those that survived and the share that was killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("subject", choices=SUBJECTS)
    parser.add_argument("--sample", type=int, default=10**6, help="try so many, drawn by --seed; default: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=int, default=120, help="a mutant's tests may take so long")
    given = parser.parse_args()
    os.chdir(ROOT)
    name, tests = SUBJECTS[given.subject]
    trial = Trial(importlib.import_module(name), given.sample, given.seed, given.seconds)
    # Without capture, what is printed here is seen; what the tests print, goes with the rest of pytest's words.
    options = ["-x", "-q", "-s", "-m", "not slow", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header"]
    if pytest.main([*options, *tests], plugins=[trial]) != 0:
        sys.exit("the tests fail without any change")
    killed, tried = len(trial.chosen) - len(trial.survived), len(trial.chosen)
    print(f"{name}: {killed} of {tried} noticed ({killed / tried:.0%}), of {len(trial.every)} possible changes")


if __name__ == "__main__":
    main()
