"""Every method against a closed form or Captum; and where a method would be silently wrong, it is refused."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from captum.attr import DeepLift, FeatureAblation
from torch import nn

from auditkit.auditors.explainability.checks import maximum_sensitivity
from auditkit.auditors.explainability.gradients import has_gradient, integer_codes
from auditkit.auditors.explainability.methods import METHODS, NOT_OFFERED, check_name, choose_method, refusal
from auditkit.auditors.explainability.methods_table import attribute_columns, deep_lift, feature_ablation
from auditkit.auditors.explainability.target_function import ExplanationInput, TargetFunction
from auditkit.errors import InputError, NotRun
from auditkit.models.formats.exported import ExportedNetwork
from auditkit.schema.infer import numeric_schema
from auditkit.tasks.base import task_for

WIDTH = 4
SCHEMA = numeric_schema([f"c{place}" for place in range(WIDTH)], target="y", classes=("no", "yes"))
TABLE = [name for name, method in METHODS.items() if "table" in method.kinds]


class Functional(nn.Module):
    """A network whose ReLU is no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(WIDTH, 8), nn.Linear(8, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.last(torch.relu(self.first(inputs)))
        return out


class Reused(nn.Module):
    """A network that uses one ReLU layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle, self.last, self.relu = (
            nn.Linear(WIDTH, 8),
            nn.Linear(8, 8),
            nn.Linear(8, 2),
            nn.ReLU(),
        )

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.last(self.relu(self.middle(self.relu(self.first(inputs)))))
        return out


class Step(nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return (inputs[:, :2] > 0).float()


def eager() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(WIDTH, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 2)).eval()


def made(how: str) -> nn.Module:
    """Return the same weights as `eager`, as another kind of module."""
    module, rows = eager(), torch.zeros(6, WIDTH)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if how == "traced":
            return torch.jit.trace(module, rows)  # type: ignore[no-any-return]  # a call of a module, or of a library, is Any
        if how == "scripted":
            return torch.jit.script(module)
        if how.startswith("exported"):
            dynamic = {"input": {0: torch.export.Dim("rows")}} if how == "exported" else None
            stored = io.BytesIO()
            torch.export.save(torch.export.export(module, (rows,), dynamic_shapes=dynamic), stored)
            stored.seek(0)
            return ExportedNetwork(torch.export.load(stored), None if how == "exported" else 6)
        if how == "part of a module":
            return nn.Sequential(torch.jit.trace(module, rows), nn.Identity())
    return module


PROGRAMS = ("traced", "scripted", "exported", "exported for 6 rows", "part of a module")


def explained(module: nn.Module, count: int = 20) -> ExplanationInput:
    rng = np.random.default_rng(0)
    return ExplanationInput(
        decision=TargetFunction(module, task_for(SCHEMA)),
        inputs=rng.normal(size=(count, WIDTH)).astype(np.float32),
        predicted=np.zeros(count, dtype=np.int64),
        baseline=rng.normal(size=WIDTH).astype(np.float32),
        columns=SCHEMA.column_slices(),
        device=torch.device("cpu"),
        others=rng.normal(size=(40, WIDTH)).astype(np.float32),
    )


@pytest.mark.parametrize("name", TABLE)
def test_a_linear_model_has_its_closed_form(name: str) -> None:
    module = nn.Linear(WIDTH, 2)
    weights = (module.weight[1] - module.weight[0]).detach().numpy()
    given = explained(module, 400)
    found = attribute_columns(name, given, tolerance=0.01, seed=0)
    origin = given.baseline
    if name == "gradient_shap":
        origin = given.others.mean(axis=0)
    if name == "permutation":
        origin = given.inputs.mean(axis=0)
    # Drawn baselines are off by the error of the draw.
    tolerance = 0.35 if name in ("permutation", "gradient_shap") else 1e-4
    truth = (given.inputs - origin) * weights
    assert np.abs(found.by_column - truth).mean() < tolerance * np.abs(truth).mean() + 1e-6


@pytest.mark.parametrize("how", PROGRAMS)
@pytest.mark.parametrize("name", TABLE)
def test_on_a_program_a_method_is_refused_or_gives_the_values_of_the_module(name: str, how: str) -> None:
    program = made(how)
    reason = refusal(name, module=program, column_count=WIDTH)
    if METHODS[name].reads == "layers":
        assert reason is not None
        assert "silently wrong" in reason
        with pytest.raises(NotRun, match="silently wrong"):
            choose_method(name, kind="table", module=program, column_count=WIDTH)
        return
    assert reason is None
    ours, theirs = (attribute_columns(name, explained(module), tolerance=0.01, seed=0) for module in (program, eager()))
    np.testing.assert_allclose(ours.by_column, theirs.by_column, atol=1e-5)


@pytest.mark.parametrize("how", PROGRAMS)
@pytest.mark.parametrize("name", [name for name, each in METHODS.items() if each.reads == "layers"])
def test_every_method_that_hooks_layers_is_refused_on_every_program(name: str, how: str) -> None:
    reason = refusal(name, module=made(how))
    assert reason is not None
    assert "hooks layers" in reason


def test_deep_lift_equals_captums_and_is_refused_where_it_cannot_hook_a_nonlinearity() -> None:
    given = explained(eager())
    rows = torch.from_numpy(given.inputs)
    with pytest.warns(UserWarning, match="hooks"):
        truth = DeepLift(TargetFunction(eager(), task_for(SCHEMA))).attribute(
            rows.requires_grad_(),
            baselines=torch.from_numpy(given.baseline)[None].expand_as(rows),
            additional_forward_args=(torch.zeros(len(rows), dtype=torch.int64),),
        )
    np.testing.assert_allclose(deep_lift(given), truth.detach().numpy(), atol=1e-6)
    for wrong in (Functional(), Reused()):
        with pytest.raises(NotRun, match=r"DeepLift is refused: .*(sums miss the change|cannot hook)"):
            deep_lift(explained(wrong.eval()))
    # A traced module would pass for input times gradient: even unasked, its sums give it away.
    with pytest.raises(NotRun, match="DeepLift is refused"):
        deep_lift(explained(made("traced")))


def test_ablation_equals_captums() -> None:
    given = explained(eager())
    rows = torch.from_numpy(given.inputs)
    truth = FeatureAblation(
        lambda part: TargetFunction(eager(), task_for(SCHEMA))(part, torch.zeros(len(part), dtype=torch.int64))
    )
    theirs = truth.attribute(rows, baselines=torch.from_numpy(given.baseline)[None]).detach().numpy()
    np.testing.assert_allclose(feature_ablation(given), theirs, atol=1e-5)


def test_the_default_falls_to_a_method_that_is_right_and_says_so() -> None:
    given = explained(Step())
    assert not has_gradient(given)
    assert has_gradient(explained(eager()))
    name, notes = choose_method(None, kind="table", module=Step(), has_gradient=False, column_count=WIDTH)
    assert name == "shapley"
    assert "no gradient" in notes[0]
    name, notes = choose_method(None, kind="table", module=Step(), has_gradient=False, column_count=15)
    assert name == "kernel_shap"
    assert "at most 14 columns" in notes[1]
    assert choose_method(None, kind="table", module=eager(), column_count=WIDTH) == ("integrated_gradients", [])


def test_a_method_for_another_kind_of_input_is_refused() -> None:
    for name, method in METHODS.items():
        for kind in ("table", "image", "text"):
            if kind not in method.kinds:
                with pytest.raises(InputError, match=f"method {name} is not for a {kind}; choose one of "):
                    choose_method(name, kind=kind, module=eager())


@pytest.mark.parametrize("name", NOT_OFFERED)
def test_methods_that_are_not_offered_say_why(name: str) -> None:
    with pytest.raises(InputError, match=f"method {name} is not offered: "):
        check_name(name)


def test_an_unknown_method_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InputError, match=r"unknown method 'shaply' \(did you mean 'shapley'"):
        check_name("shaply")


class Lookup(nn.Module):
    """An integer code that feeds an embedding, beside three numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.codes, self.numbers = nn.Embedding(3, 2), nn.Linear(3, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.codes(inputs[:, 0].long().clamp(0, 2)) + self.numbers(inputs[:, 1:])
        return out


def looked_up(rows: int = 60) -> ExplanationInput:
    torch.manual_seed(3)
    rng = np.random.default_rng(3)
    inputs = rng.normal(size=(rows, WIDTH)).astype(np.float32)
    inputs[:, 0], inputs[:, 1] = rng.integers(0, 3, rows), rng.integers(0, 9, rows)
    return ExplanationInput(
        decision=TargetFunction(Lookup().eval(), task_for(SCHEMA)),
        inputs=inputs,
        predicted=np.ones(rows, dtype=np.int64),
        baseline=inputs.mean(axis=0),
        columns=SCHEMA.column_slices(),
        device=torch.device("cpu"),
        others=inputs,
    )


def test_integer_codes_are_found_and_gradients_give_way() -> None:
    """A column of whole numbers that the model calculates with is no code."""
    given = looked_up()
    assert integer_codes(given) == ("c0",)
    for asked in (None, "integrated_gradients", "gradient_shap"):
        name, notes = choose_method(asked, kind="table", module=Lookup(), column_count=WIDTH, codes=("c0",))
        assert name == "shapley"
        assert "cannot see integer codes that the model looks up, whose gradient is zero: c0" in notes[0]
    assert choose_method("kernel_shap", kind="table", module=Lookup(), column_count=WIDTH, codes=("c0",))[0] == (
        "kernel_shap"
    )


def test_small_moves_leave_codes_as_they_are() -> None:
    given = replace(looked_up(), codes=("c0",))
    shapley = attribute_columns("shapley", given, tolerance=0.01, seed=0)

    def moved(part: ExplanationInput) -> float:
        options = {"radius": 0.02, "perturbation_count": 5, "seed": 0}
        return float(maximum_sensitivity(part, shapley.again, shapley.by_column, **options).max())  # type: ignore[arg-type]

    assert moved(given) < 0.2 < moved(replace(given, codes=()))
