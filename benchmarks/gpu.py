"""auditkit on one device beside Opacus and Captum on the same one; `gpu.sh` runs it on a GPU.

Prediction, integrated gradients, Kernel SHAP, shadow models and private steps. Values are compared before a time
counts. A part that fails is recorded with its error, and the others go on.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import private_step
import torch
from captum.attr import IntegratedGradients, KernelShap
from common import RESULTS, write
from private_step import NETWORKS, ratios, shortest_of
from torch import nn

from auditkit.auditors.explainability.gradients import integrated_gradients
from auditkit.auditors.explainability.shapley import kernel_shap
from auditkit.auditors.explainability.target_function import ExplanationInput
from auditkit.auditors.privacy.shadow_models import Plan, Recipe, train_shadows
from auditkit.data.dataset import read_data
from auditkit.demo.census import SENSITIVE, TARGET, write_census
from auditkit.execution.in_process import InProcess
from auditkit.models.architectures import build
from auditkit.models.predict import predict
from auditkit.schema.infer import infer_schema, numeric_schema

STEPS, COALITIONS, FEW = 50, 200, 20
CPU = torch.device("cpu")


def prediction(device: torch.device, row_count: int) -> dict[str, Any]:
    """Predict rows of a wide network; the probabilities are those of the CPU."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(128, 2048), nn.ReLU(), nn.Linear(2048, 2048), nn.ReLU(), nn.Linear(2048, 2)).eval()
    schema = numeric_schema([f"x{place}" for place in range(128)], target="y", classes=["no", "yes"])
    inputs = np.random.default_rng(0).standard_normal((row_count, 128), dtype=np.float32)
    few = inputs[:4096]
    off = np.abs(
        predict(module, few, schema, device=device).probabilities
        - predict(module, few, schema, device=CPU).probabilities
    ).max()
    taken = shortest_of(device, partial(predict, module, inputs, schema, device=device))[0]
    return {"rows a second": round(row_count / taken), "largest difference from the CPU": float(off)}


def explanations(device: torch.device, row_count: int) -> dict[str, Any]:
    """Explain people of the census by integrated gradients and Kernel SHAP, beside Captum on the same device."""
    with tempfile.TemporaryDirectory() as folder:
        training = read_data(write_census(Path(folder))[0])
    schema = infer_schema(training.frame, target=TARGET, sensitive=SENSITIVE)
    inputs = schema.encode(training.frame.iloc[: row_count + 100])
    torch.manual_seed(0)
    module = build("mlp", {"input_width": inputs.shape[1], "output_width": 2}).to(device).eval()

    def decision(x: torch.Tensor, _: torch.Tensor | None = None) -> torch.Tensor:
        outputs = module(x)
        return outputs[:, 1] - outputs[:, 0]

    explained = ExplanationInput(
        decision=decision,
        inputs=inputs[:row_count],
        predicted=np.zeros(row_count, dtype=np.int64),
        baseline=inputs.mean(axis=0, dtype=np.float64).astype(np.float32),
        columns=schema.column_slices(),
        device=device,
        others=inputs[-100:],
    )
    x = torch.as_tensor(explained.inputs, device=device)
    origin = torch.as_tensor(explained.baseline, device=device)[None]

    def captum_gradients() -> torch.Tensor:
        found = IntegratedGradients(decision).attribute(
            x, baselines=origin.expand_as(x), n_steps=STEPS, method="gausslegendre", internal_batch_size=2**15
        )
        return torch.as_tensor(found).detach()

    ours = integrated_gradients(explained, steps=STEPS)
    off = np.abs(ours - captum_gradients().double().cpu().numpy()).max() / np.abs(ours).max()
    own, theirs = shortest_of(device, partial(integrated_gradients, explained, steps=STEPS), captum_gradients)
    masks = torch.empty(1, inputs.shape[1], dtype=torch.int64, device=device)
    for place, part in enumerate(explained.columns.values()):
        masks[0, part] = place
    few = explained.take(np.arange(FEW))

    def captum_shap() -> Any:
        return KernelShap(decision).attribute(
            x[:FEW], baselines=origin, feature_mask=masks, n_samples=COALITIONS, perturbations_per_eval=COALITIONS
        )

    shap_own = shortest_of(device, partial(kernel_shap, explained, coalition_count=COALITIONS, seed=0))[0]
    shap_few, shap_theirs = shortest_of(
        device, partial(kernel_shap, few, coalition_count=COALITIONS, seed=0), captum_shap
    )
    return {
        "integrated gradients, rows a second": round(row_count / own),
        "of Captum": round(row_count / theirs),
        "ratio": round(theirs / own, 2),
        "largest difference, share of the largest": float(off),
        "Kernel SHAP, rows a second": round(row_count / shap_own),
        "of Captum's Kernel SHAP": round(FEW / shap_theirs, 1),
        f"ratio at {FEW} rows": round(shap_theirs / shap_few, 2),
    }


def shadows(device: torch.device, row_count: int, epochs: int) -> dict[str, Any]:
    """Train eight shadow models as one ensemble of `vmap` and one after the other, and compare what they say."""
    from auditkit.auditors.privacy import shadow_models

    draws = np.random.default_rng(0)
    inputs = draws.standard_normal((row_count, 105), dtype=np.float32)
    labels = (inputs[:, 0] + draws.standard_normal(row_count) > 0).astype(np.int64)

    def fresh(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return build("mlp", {"input_width": 105, "output_width": 2, "dropout": 0.0})

    def train() -> Any:
        return train_shadows(
            fresh, inputs, labels, Recipe(epochs, 1024), Plan(8, seed=0), executor=InProcess(device.type)
        )

    train()  # the first call compiles, and warms the device up
    together = train()
    layers = shadow_models.BATCHED_LAYERS
    shadow_models.BATCHED_LAYERS = ()
    try:
        apart = train()
    finally:
        shadow_models.BATCHED_LAYERS = layers
    return {
        "batched": together.batched,
        "seconds as one ensemble": round(together.seconds, 3),
        "seconds one after the other": round(apart.seconds, 3),
        "ratio": round(apart.seconds / together.seconds, 2),
        "mean difference of probabilities": float(np.abs(together.probabilities - apart.probabilities).mean()),
    }


def private_steps(device: torch.device, names: tuple[str, ...], batch: int) -> dict[str, Any]:
    """Time private steps beside plain ones of the same network: auditkit's ways and Opacus's."""
    return {name: ratios(name, batch, ("bookkeeping", "chunked", "hooks", "ghost"), device) for name in names}


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda", choices=("cpu", "cuda"))
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder of the results")
    given = parser.parse_args()
    device = torch.device(given.device)
    private_step.SECONDS_OF_ROUNDS = 1.5
    small = given.device == "cpu"
    names = tuple(NETWORKS)[: 1 if small else 3]
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "prediction": partial(prediction, device, 20_000 if small else 2_000_000),
        "explanations": partial(explanations, device, 200 if small else 2000),
        "shadow models": partial(shadows, device, 2_000 if small else 40_000, 1 if small else 5),
        "private steps, milliseconds and ratios": partial(private_steps, device, names, 256 if small else 1024),
    }
    found: dict[str, Any] = {"device": device_name(device), "torch": torch.__version__, "cuda": torch.version.cuda}
    failed = False
    for name, part in parts.items():
        started = time.perf_counter()
        try:
            found[name] = part()
        except Exception as error:  # noqa: BLE001  # the other parts still give their figures
            traceback.print_exc()
            found[name], failed = f"failed: {type(error).__name__}: {error}", True
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
    slug = re.sub(r"[^a-z0-9]+", "-", device_name(device).lower()).strip("-")
    write(f"gpu-{slug}", found, given.out)
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
