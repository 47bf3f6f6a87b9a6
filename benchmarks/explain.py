"""Explanations of UCI Adult's people, timed beside Captum, and in environments of their own beside shap and quantus.

Values are compared before a time counts. `python explain.py` times auditkit and Captum; `python explain.py shap=PYTHON
quantus=PYTHON` adds the other tools, each run by the interpreter of its environment, which needs torch and Captum too.
Processor seconds of one thread; for the whole audit wall seconds on all cores.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from captum.attr import IntegratedGradients, KernelShap
from common import best_of, write

from auditkit import audit
from auditkit.auditors.explainability.checks import maximum_sensitivity
from auditkit.auditors.explainability.gradients import integrated_gradients
from auditkit.auditors.explainability.shapley import exact_shapley, kernel_shap
from auditkit.auditors.explainability.target_function import ExplanationInput
from auditkit.data.dataset import read_data
from auditkit.demo.census import SENSITIVE, TARGET, write_census
from auditkit.training.train import train

STEPS, ROWS = 50, 2000
COALITIONS, FEW = 200, 20
RADIUS, MOVES, MOVED_ROWS = 0.02, 10, 200

PEER = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import numpy as np, torch
from importlib.metadata import version
torch.set_num_threads(1)
given = torch.load(sys.argv[1], weights_only=False)
network, rows, baseline, groups = given["network"], given["rows"], given["baseline"], given["groups"]
def decide(x):
    with torch.no_grad():
        out = network(torch.as_tensor(np.asarray(x), dtype=torch.float32))
    return (out[:, 1] - out[:, 0]).double().numpy()
{script}
found = call()
best = min((lambda s: (call(), time.process_time() - s)[1])(time.process_time()) for _ in range(2))
print("RESULT" + json.dumps({{"seconds": best, "values": np.asarray(found).tolist(), "version": version("{name}")}}))
"""

SCRIPTS = {
    # Without l1_reg=False, shap silently keeps ten columns.
    "shap": f"""
import shap
from shap.utils._legacy import DenseData
background = DenseData(baseline[None].astype(float), [str(k) for k in range(len(groups))], groups)
explainer = shap.KernelExplainer(decide, background)
def call():
    return explainer.shap_values(rows[:{FEW}].astype(float), nsamples={COALITIONS}, l1_reg=False, silent=True)
""",
    "quantus": f"""
import quantus
from quantus.functions.norm_func import fro_norm
from quantus.functions.similarity_func import difference
from captum.attr import IntegratedGradients
class Decision(torch.nn.Module):
    def forward(self, x):
        out = network(x)
        return out[:, 1] - out[:, 0]
method = IntegratedGradients(Decision())
def explain(model, inputs, targets, **_):
    x = torch.as_tensor(np.asarray(inputs), dtype=torch.float32)
    origin = torch.as_tensor(baseline)[None].expand_as(x)
    return method.attribute(x, baselines=origin, n_steps={STEPS}, method="gausslegendre").detach().numpy()
metric = quantus.MaxSensitivity(nr_samples={MOVES}, lower_bound={RADIUS}, upper_bound={RADIUS},
    perturb_func=lambda arr, **_: arr + np.random.uniform(-{RADIUS}, {RADIUS}, arr.shape).astype(np.float32),
    norm_numerator=fro_norm, norm_denominator=lambda **_: 1.0, similarity_func=difference,
    abs=False, normalise=False, disable_warnings=True, display_progressbar=False, return_aggregate=False)
def call():
    x = rows[:{MOVED_ROWS}]
    return metric(model=network, x_batch=x, y_batch=np.zeros(len(x), dtype=int), explain_func=explain,
        batch_size=len(x), channel_first=True)
""",
}


def prepared(folder: Path) -> tuple[ExplanationInput, torch.nn.Module, Path]:
    training, test = write_census(folder)
    model = folder / "model.pt"
    trained, _ = train(
        read_data(training), target=TARGET, sensitive=SENSITIVE, drop=["fnlwgt"], out=model, epochs=3, device="cpu"
    )
    schema = trained.schema
    inputs = schema.encode(read_data(test).frame)
    network = trained.module.eval()

    def decision(rows: torch.Tensor, _: torch.Tensor | None = None) -> torch.Tensor:
        outputs = network(rows)
        return outputs[:, 1] - outputs[:, 0]

    chosen = np.random.default_rng(0).choice(len(inputs), size=ROWS, replace=False)
    explained = ExplanationInput(
        decision=decision,
        inputs=inputs[chosen],
        predicted=np.zeros(ROWS, dtype=np.int64),
        baseline=schema.encode(read_data(training).frame).mean(axis=0, dtype=np.float64).astype(np.float32),
        columns=schema.column_slices(),
        device=torch.device("cpu"),
        others=inputs[:100],
    )
    return explained, network, model


def gradients(explained: ExplanationInput) -> dict[str, Any]:
    rows = torch.from_numpy(explained.inputs)
    origin = torch.from_numpy(explained.baseline)[None].expand_as(rows)
    captum = IntegratedGradients(explained.decision)
    ours, mine = best_of(5, lambda: integrated_gradients(explained, steps=STEPS))
    call = partial(captum.attribute, rows, baselines=origin, n_steps=STEPS, method="gausslegendre")
    whole, theirs = best_of(3, call)
    parts, _ = best_of(3, lambda: call(internal_batch_size=32_768))
    difference = float(np.abs(mine - theirs.detach().numpy()).max())
    assert difference < 1e-4 * float(np.abs(mine).max()), difference
    return {
        "rows": ROWS,
        "steps": STEPS,
        "largest_difference": difference,
        "auditkit_seconds": round(ours, 4),
        "captum_seconds": round(whole, 4),
        "captum_in_batches_seconds": round(parts, 4),
        "ratio": round(whole / ours, 1),
        "ratio_to_the_faster": round(min(whole, parts) / ours, 1),
    }


def shapley(explained: ExplanationInput) -> tuple[dict[str, Any], np.ndarray]:
    few = explained.take(np.arange(FEW))
    mask = torch.cat([torch.full((part.stop - part.start,), k) for k, part in enumerate(explained.columns.values())])
    captum = KernelShap(explained.decision)
    origin = torch.from_numpy(explained.baseline)[None]
    firsts = [part.start for part in explained.columns.values()]

    def theirs() -> np.ndarray:
        torch.manual_seed(0)
        found = [
            captum.attribute(
                torch.from_numpy(row[None]), baselines=origin, feature_mask=mask[None], n_samples=COALITIONS
            ).numpy()[0, firsts]
            for row in few.inputs
        ]
        return np.array(found)

    truth = exact_shapley(few)
    exact, _ = best_of(2, lambda: exact_shapley(explained.take(np.arange(200))))
    ours, mine = best_of(3, lambda: kernel_shap(explained, coalition_count=COALITIONS, seed=0))
    captum_seconds, approximate = best_of(1, theirs)
    errors = [float(np.sqrt(((found - truth) ** 2).mean())) for found in (mine[:FEW], approximate)]
    assert errors[0] <= errors[1], errors
    return {
        "columns": len(firsts),
        "coalitions": COALITIONS,
        "auditkit_error": errors[0],
        "captum_error": errors[1],
        "auditkit_rows_a_second": round(ROWS / ours, 1),
        "captum_rows_a_second": round(FEW / captum_seconds, 2),
        "ratio": round((ROWS / ours) / (FEW / captum_seconds), 1),
        "exact_rows_a_second": round(200 / exact, 1),
        "exact_ratio_to_captums_approximate": round((200 / exact) / (FEW / captum_seconds), 1),
    }, truth


def peer(name: str, python: str, given: Path) -> dict[str, Any]:
    script = PEER.format(script=SCRIPTS[name], name=name)
    done = subprocess.run([python, "-c", script, str(given)], capture_output=True, text=True)
    if done.returncode != 0:
        return {"failed": done.stderr.strip().splitlines()[-1]}
    found: dict[str, Any] = json.loads(done.stdout.rpartition("RESULT")[2])
    return found


def beside(name: str, found: dict[str, Any], explained: ExplanationInput, truth: np.ndarray) -> dict[str, Any]:
    """Compare a tool's values with auditkit's, and say how its time compares."""
    if "failed" in found:
        return found
    values = np.array(found["values"])
    if name == "shap":
        error = float(np.sqrt(((values - truth) ** 2).mean()))
        assert error < 0.1 * float(np.abs(truth).mean()), error
        ours, _ = best_of(3, lambda: kernel_shap(explained, coalition_count=COALITIONS, seed=0))
        ratio = (ROWS / ours) / (FEW / found["seconds"])
        return {"version": found["version"], "error": error, "seconds": found["seconds"], "ratio": round(ratio, 1)}
    part = explained.take(np.arange(MOVED_ROWS))
    attributions = integrated_gradients(part, steps=STEPS)

    def call() -> np.ndarray:
        return maximum_sensitivity(
            part,
            partial(integrated_gradients, steps=STEPS),
            attributions,
            radius=RADIUS,
            perturbation_count=MOVES,
            seed=0,
        )

    ours, mine = best_of(3, call)
    distance = mine * np.linalg.norm(attributions, axis=1)
    off = float(abs(np.mean(values) / np.mean(distance) - 1))
    assert off < 0.05, (np.mean(values), np.mean(distance))
    return {
        "version": found["version"],
        "mean_difference": off,
        "seconds": found["seconds"],
        "auditkit_seconds": round(ours, 4),
        "ratio": round(found["seconds"] / ours, 1),
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        explained, network, model = prepared(folder)
        torch.set_num_threads(1)
        numbers: dict[str, Any] = {"torch": version("torch"), "captum": version("captum")}
        numbers["integrated_gradients"] = gradients(explained)
        numbers["kernel_shap"], truth = shapley(explained)
        given = folder / "given.pt"
        groups = [np.arange(part.start, part.stop) for part in explained.columns.values()]
        torch.save(
            {"network": network, "rows": explained.inputs, "baseline": explained.baseline, "groups": groups}, given
        )
        for word in sys.argv[1:]:
            tool, _, python = word.partition("=")
            numbers[tool] = beside(tool, peer(tool, python, given), explained, truth)
        torch.set_num_threads(os.cpu_count() or 1)
        training, test = folder / "train.csv", folder / "test.csv"
        started = time.perf_counter()
        report = audit(model, test, training_data=training, only=["explainability"], device="cpu")
        seconds = time.perf_counter() - started
        outcome = next(part for part in report.outcomes if part.auditor == "explainability")
        assert outcome.error is None, outcome.error
        numbers["whole_audit"] = {
            "rows": report.subject.dataset.row_count,
            "explained_rows": ROWS,
            "wall_seconds": round(seconds, 2),
            "threads": torch.get_num_threads(),
        }
    write("explain", numbers)


if __name__ == "__main__":
    main()
