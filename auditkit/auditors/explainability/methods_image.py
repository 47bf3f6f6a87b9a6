"""Attributions to the pixels of images: integrated gradients, saliency, Grad-CAM and occlusion, all (rows, H, W)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from auditkit.auditors.explainability.segments import SegmentedRows, batches, occlusion
from auditkit.auditors.explainability.target_function import Floats
from auditkit.progress import Progress, silent

ACTIVATIONS = (nn.ReLU, nn.LeakyReLU, nn.ELU, nn.SiLU, nn.GELU)


def sum_over(attributions: Floats, numbered: NDArray[np.int64]) -> Floats:
    """Sum pixel attributions, (rows, H, W), over the squares that `numbered` numbers: (rows, squares)."""
    flat = attributions.reshape(len(attributions), -1)
    members = (numbered.reshape(-1)[:, None] == np.arange(numbered.max() + 1)).astype(np.float64)
    return np.asarray(flat @ members)


def attribute_pixels(
    method: str,
    parts: SegmentedRows,
    *,
    baseline: NDArray[np.float32],
    square: NDArray[np.int64],
    steps: int = 1,
    progress: Progress = silent,
) -> Floats:
    """Return the attributions of a named method to each pixel, summed over channels: (rows, H, W).

    Integrated gradients start from the `baseline` image and take `steps` steps. Saliency is the size of the slope.
    Grad-CAM is what speaks for the decision in the last convolution, after its activation, spread over the image.
    Occlusion is of each `square`, spread evenly over its pixels.
    """
    if method == "occlusion":
        sizes = np.bincount(square.reshape(-1))
        return np.asarray((occlusion(parts) / sizes)[:, square])
    call = {"integrated_gradients": _gradients, "saliency": _saliency, "grad_cam": _grad_cam}[method]
    found = []
    for rows, predicted, share in _passes(parts, steps):
        attributed: torch.Tensor = call(
            parts.decision, rows, predicted, torch.from_numpy(baseline).to(parts.device), steps
        )
        found.append(attributed.detach().sum(dim=1).double().cpu().numpy())
        progress(share, f"{share:.0%} of {len(parts.inputs):,} images explained")
    return np.concatenate(found)


def _passes(parts: SegmentedRows, steps: int) -> Iterator[tuple[torch.Tensor, torch.Tensor, float]]:
    count = len(parts.inputs)
    for start, stop in batches(count, cells=parts.inputs[:1].size, steps=steps):
        rows = torch.from_numpy(parts.inputs[start:stop]).to(parts.device)
        yield rows, torch.from_numpy(parts.predicted[start:stop]).to(parts.device), stop / count


def _gradients(
    decision: nn.Module, rows: torch.Tensor, predicted: torch.Tensor, origin: torch.Tensor, steps: int
) -> Any:
    from captum.attr import IntegratedGradients

    return IntegratedGradients(decision).attribute(
        rows,
        baselines=origin[None].expand_as(rows),
        additional_forward_args=(predicted,),
        n_steps=steps,
        method="gausslegendre",
    )


def _saliency(
    decision: nn.Module, rows: torch.Tensor, predicted: torch.Tensor, origin: torch.Tensor, steps: int
) -> Any:
    from captum.attr import Saliency

    return Saliency(decision).attribute(rows.requires_grad_(), additional_forward_args=(predicted,))


def _grad_cam(
    decision: nn.Module, rows: torch.Tensor, predicted: torch.Tensor, origin: torch.Tensor, steps: int
) -> Any:
    from captum.attr import LayerAttribution, LayerGradCam

    layers = list(decision.modules())
    last = max(place for place, layer in enumerate(layers) if isinstance(layer, nn.Conv2d))
    after = layers[last + 1] if last + 1 < len(layers) else None
    layer = after if isinstance(after, ACTIVATIONS) else layers[last]
    coarse = LayerGradCam(decision, layer).attribute(rows, additional_forward_args=(predicted,), relu_attributions=True)
    return LayerAttribution.interpolate(coarse, rows.shape[2:], interpolate_mode="bilinear")
