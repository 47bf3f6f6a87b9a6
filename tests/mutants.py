"""Change one operator, comparison or number of a module at a time, and see that a test notices.

    python tests/mutants.py intervals --sample 100 --seed 1

Each mutant is tried in a forked process: the functions of the loaded module get the changed code, and the module's own
tests run until the first that fails. A mutant that no test notices survived, and is printed with its line.
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

ROOT = Path(__file__).parents[1]
SUBJECTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "intervals": (
        "auditkit.stats.intervals",
        ("tests/stats/test_intervals.py", "tests/stats/test_gaps.py", "tests/stats/test_paired.py"),
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
        ("tests/models/formats/test_hostile.py", "tests/models/formats/test_archive.py"),
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
    for place, node in enumerate(ast.walk(tree)):
        for way in range(2):
            said = _change(copy.deepcopy(node), way)
            if said:
                found.append((place, way, getattr(node, "lineno", 0), said))
    return found


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


def tried(module: types.ModuleType, tree: ast.Module, tests: tuple[str, ...], seconds: int) -> int:
    """Run the tests in a child with the changed code, and return whether they noticed."""
    child = os.fork()
    if child == 0:
        code = KILLED
        try:
            import pytest

            signal.alarm(seconds)  # a mutant that never ends is noticed, too
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            put_in(module, tree)
            arguments = ["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header"]
            code = SURVIVED if pytest.main([*arguments, *tests]) == 0 else KILLED
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return SURVIVED if os.WIFEXITED(status) and os.WEXITSTATUS(status) == SURVIVED else KILLED


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
    module = importlib.import_module(name)
    for heavy in ("pytest", "hypothesis", "scipy.stats", "torch", "auditkit.cli"):
        importlib.import_module(heavy)
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    every = changes(tree)
    chosen = random.Random(given.seed).sample(every, min(given.sample, len(every)))
    if tried(module, tree, tests, 10 * given.seconds) != SURVIVED:
        sys.exit("the tests fail without any change")
    survived = 0
    for number, (place, way, line, said) in enumerate(sorted(chosen, key=lambda one: one[2]), 1):
        if tried(module, changed(tree, place, way), tests, given.seconds) == SURVIVED:
            survived += 1
            print(f"{module.__name__}:{line}: {said}", flush=True)
        if number % 10 == 0:
            print(f"{number} tried, {survived} survived", file=sys.stderr, flush=True)
    killed = len(chosen) - survived
    print(f"{name}: {killed} of {len(chosen)} noticed ({killed / len(chosen):.0%}), of {len(every)} possible changes")


if __name__ == "__main__":
    main()
