"""The methods of attribution by name: what each reads of a model, and which models it would be silently wrong about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from auditkit.auditors.explainability.shapley import MOST_COLUMNS
from auditkit.errors import InputError, NotRun, closest
from auditkit.evidence.measurement import Measurement
from auditkit.evidence.messages import Message

if TYPE_CHECKING:
    from torch import nn

InputKind = Literal["table", "image", "text", "segments"]
Reads = Literal["outputs", "gradients", "layers"]


@dataclass(frozen=True)
class Method:
    """One method: its name in words, the kinds of input it is for, what it reads of a model, and its reference.

    `layer` is the layer of torch.nn that it cannot do without; `by_captum` are the kinds of input for which Captum
    computes it, of others auditkit does. The attributions of a `complete` method sum to the change of what is
    explained; a method that is no `explanation` is shown, and stamped so.
    """

    title: str
    kinds: tuple[InputKind, ...]
    reads: Reads
    reference: str
    layer: str | None = None
    complete: bool = False
    by_captum: tuple[InputKind, ...] = ()
    explanation: bool = True


METHODS: dict[str, Method] = {
    "integrated_gradients": Method(
        Message("integrated gradients"),
        ("table", "image"),
        "gradients",
        Message("Sundararajan et al. 2017, arXiv:1703.01365"),
        complete=True,
        by_captum=("image",),
    ),
    "layer_integrated_gradients": Method(
        Message("layer integrated gradients on the embeddings"),
        ("text",),
        "layers",
        Message("Sundararajan et al. 2017, arXiv:1703.01365"),
        layer="Embedding",
        complete=True,
        by_captum=("text",),
    ),
    "deep_lift": Method(
        Message("DeepLift"),
        ("table",),
        "layers",
        Message("Shrikumar et al. 2017, arXiv:1704.02685"),
        complete=True,
        by_captum=("table",),
    ),
    "gradient_shap": Method(
        Message("gradient SHAP"), ("table",), "gradients", Message("Erion et al. 2021, arXiv:1906.10670"), complete=True
    ),
    "feature_ablation": Method(
        Message("feature ablation"), ("table",), "outputs", Message("Zeiler & Fergus 2014, arXiv:1311.2901")
    ),
    "permutation": Method(
        Message("permutation"), ("table",), "outputs", Message("Breiman 2001, 10.1023/A:1010933404324")
    ),
    "kernel_shap": Method(
        Message("Kernel SHAP"), ("table",), "outputs", Message("Lundberg & Lee 2017, arXiv:1705.07874"), complete=True
    ),
    "shapley": Method(Message("exact Shapley values"), ("table",), "outputs", Message("Shapley 1953"), complete=True),
    "occlusion": Method(
        Message("occlusion"), ("image", "text", "segments"), "outputs", Message("Zeiler & Fergus 2014, arXiv:1311.2901")
    ),
    "saliency": Method(
        Message("saliency"),
        ("image",),
        "gradients",
        Message("Simonyan et al. 2014, arXiv:1312.6034"),
        by_captum=("image",),
    ),
    "grad_cam": Method(
        Message("Grad-CAM"),
        ("image",),
        "layers",
        Message("Selvaraju et al. 2017, arXiv:1610.02391"),
        layer="Conv2d",
        by_captum=("image",),
    ),
    "attention": Method(
        Message("attention weights"),
        ("text",),
        "layers",
        Message("Jain & Wallace 2019, arXiv:1902.10186"),
        explanation=False,
    ),
}
"""The methods that `--explain` names."""

DEFAULTS: dict[InputKind, tuple[str, ...]] = {
    "table": ("integrated_gradients", "shapley", "kernel_shap"),
    "image": ("integrated_gradients", "occlusion"),
    "text": ("layer_integrated_gradients", "occlusion"),
    "segments": ("occlusion",),
}
"""What is taken where nothing is asked: the first that is right for the model."""

NOT_OFFERED: dict[str, str] = {
    "guided_backprop": "it equals the raw gradient on TorchScript, and hardly depends on the weights it explains",
    "deconvolution": "it equals the raw gradient on TorchScript, and hardly depends on the weights it explains",
    "lrp": "it needs a rule for every kind of layer, and is right on few networks",
    "input_x_gradient": Message("it is integrated_gradients with a single step, which is not complete"),
}
"""Methods that Captum has and auditkit does not, and why."""


def credited(measurements: Sequence[Measurement], name: str, kind: InputKind) -> list[Measurement]:
    """Return measurements of a method's attributions that say so where Captum computed these."""
    if kind not in METHODS[name].by_captum:
        return list(measurements)
    return [one.model_copy(update={"computed_by": "Captum and auditkit"}) for one in measurements]


def check_name(name: str) -> None:
    """Raise InputError unless `name` is a method that is offered."""
    if name in NOT_OFFERED:
        raise InputError(f"method {name} is not offered: {NOT_OFFERED[name]}; choose one of {', '.join(METHODS)}.")
    if name not in METHODS:
        raise InputError(f"unknown method {name!r}{closest(name, METHODS)}; known are {', '.join(METHODS)}.")


def check_kind(name: str, kind: str) -> None:
    """Raise InputError where a method is not for this kind of input."""
    if kind not in METHODS[name].kinds:
        others = ", ".join(other for other, each in METHODS.items() if kind in each.kinds)
        raise InputError(f"method {name} is not for a {kind}; choose one of {others}.")


def is_compiled(module: nn.Module) -> bool:
    """Return whether a module, or a part of it, is a compiled graph, whose layers cannot be hooked."""
    import torch

    from auditkit.models.formats.exported import ExportedNetwork

    return any(
        isinstance(part, torch.jit.ScriptModule | torch.fx.GraphModule | ExportedNetwork) for part in module.modules()
    )


def refusal(
    name: str,
    *,
    module: nn.Module,
    has_gradient: bool = True,
    column_count: int = 0,
    codes: Sequence[str] = (),
) -> str | None:
    """Return why a method would fail, or be silently wrong, on a model; None where it is right.

    DeepLift counts on hooks of every nonlinear layer. Where a layer cannot be hooked, in a compiled graph or in a
    nonlinearity that is called as a function, it quietly returns something else. A compiled graph is refused here; the
    other case shows only in the sum of the attributions, which `methods_table.deep_lift` checks.
    """
    from torch import nn

    method = METHODS[name]
    if method.reads == "layers" and is_compiled(module):
        return Message("{title} hooks layers, and on a compiled program it would be silently wrong", title=method.title)
    if method.layer is not None and not any(isinstance(part, getattr(nn, method.layer)) for part in module.modules()):
        return Message(
            "{title} reads a torch.nn.{layer} layer, and the model has none", title=method.title, layer=method.layer
        )
    if method.reads != "outputs" and codes:
        return Message(
            "{title} cannot see integer codes that the model looks up, whose gradient is zero: {columns}",
            title=method.title,
            columns=tuple(codes),
        )
    if method.reads != "outputs" and not has_gradient:
        return Message(
            "{title} needs gradients, and the model's output has no gradient with respect to its inputs",
            title=method.title,
        )
    if name == "shapley" and column_count > MOST_COLUMNS:
        return Message(
            "exact Shapley values take at most {most_columns} columns, got {column_count}; kernel_shap takes more",
            most_columns=MOST_COLUMNS,
            column_count=column_count,
        )
    return None


def choose_method(
    asked: str | None,
    *,
    kind: InputKind,
    module: nn.Module,
    has_gradient: bool = True,
    column_count: int = 0,
    codes: Sequence[str] = (),
) -> tuple[str, Sequence[str]]:
    """Return the name of the method that is taken, and notes: why not the usual one, where that is refused.

    Where the model looks up integer `codes`, one that reads gradients gives way to another, also if it was asked for.

    Raises:
        InputError: the method that was asked for is not for this kind of input.
        NotRun: the method that was asked for is refused, or every default is.
    """
    if asked is not None:
        check_kind(asked, kind)
    refused: list[str] = []
    for name in DEFAULTS[kind] if asked is None else (asked, *(DEFAULTS[kind] if codes else ())):
        reason = refusal(name, module=module, has_gradient=has_gradient, column_count=column_count, codes=codes)
        if reason is None:
            return name, [
                Message("The model is explained by {title}: {why}.", title=METHODS[name].title, why=why)
                for why in dict.fromkeys(refused)
            ]
        refused.append(reason)
    raise NotRun("; ".join(refused))
