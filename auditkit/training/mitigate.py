"""Mitigation: a model like the given one with a smaller gap between groups, packed to be audited beside it.

Three ways. `exponentiated_gradient` trains the network again and again on reweighted rows (Agarwal et al. 2018, as in
Fairlearn). Its answer is a lottery over several networks, and a lottery over networks is no decision to be audited:
the one network of them that does best on rows held out is packed, and the record says so. `adversarial` trains it
against a second network that guesses the group (Zhang et al. 2018), and packs the best of its epochs likewise.
`threshold` keeps the network and moves each group's threshold (Hardt, Price & Srebro 2016), by weights added to the
network itself.
"""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from fairlearn.reductions import DemographicParity, ExponentiatedGradient, TruePositiveRateParity
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from torch import nn

from auditkit.config_commands import MitigateConfig, MitigationConfig
from auditkit.config_settings import updated
from auditkit.data.dataset import Data, factorize, naming
from auditkit.errors import DatasetError, InputError, NotRun, closest
from auditkit.models.architectures import build
from auditkit.models.formats.native import save_model
from auditkit.models.formats.opening import open_model
from auditkit.models.model import Card, Model
from auditkit.models.predict import choose_device, predict
from auditkit.progress import Progress, silent
from auditkit.schema.schema import Schema
from auditkit.stats.thresholds import Constraint, thresholds_per_group
from auditkit.tasks.base import task_for
from auditkit.training.adversarial import DebiasSettings, debiased
from auditkit.training.fit import FitSettings, fit, stratified_mask

CONSTRAINTS = {"demographic_parity": DemographicParity, "equal_opportunity": TruePositiveRateParity}

ALLOWED_GAP = 0.02
"""How large a gap a training is asked to leave at most."""

ROUNDS, EPOCHS_A_ROUND = 20, 3
ADVERSARY_STRENGTHS, ADVERSARIAL_EPOCHS = (1.0, 10.0), 8
HELD_OUT_SHARE = 0.25
FEWEST_COMPARED = 10

Rows = NDArray[np.float32]
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Learnt:
    """The rows to learn from: inputs (rows, columns), labels and group codes (rows,), and the groups' names."""

    inputs: Rows
    labels: Codes
    groups: Codes
    words: tuple[str, ...] = ()

    def where(self, chosen: NDArray[np.bool_]) -> Learnt:
        """Return the chosen rows, a mask (rows,)."""
        return Learnt(self.inputs[chosen], self.labels[chosen], self.groups[chosen], self.words)


def mitigate(
    model: Model,
    training: Data,
    *,
    config: MitigateConfig | None = None,
    progress: Progress = silent,
    **options: Any,
) -> Model:
    """Make a model like `model` with a smaller gap between groups, write it to `out`, and open it again.

    Args:
        model: a binary classifier of auditkit's own architecture `mlp`.
        training: the rows to learn from; those without a label or a group are left out.
        config: the whole request; `options` replace what it states.
        progress: told how far the training is.
        options: options of `auditkit mitigate` by name: `sensitive`, the column whose groups are treated alike, and
            `out`, which must be given; `method`, `constraint`, `seed` and `device`.

    Raises:
        InputError: a model that auditkit cannot train, an unknown column, method or constraint; nothing was written.
        DatasetError: a group without both labels.
    """
    config = updated(config or MitigateConfig(), options)
    asked, out = config.mitigation, config.output.out
    if out is None or out.suffix != ".pt":
        raise InputError(f"out must end in .pt, got {out}; pass --out mitigated.pt.")
    card = _trainable_card(model)
    device = choose_device(asked.device)
    rows, dropped = _learnt(model, training, asked.sensitive)
    arguments = card.arguments
    if asked.method == "threshold":
        module, arguments, details = _moved_thresholds(model, card, rows, asked, device)
    else:
        progress(
            0.0, "training on reweighted rows" if asked.method != "adversarial" else "training against an adversary"
        )
        train = _adversarial if asked.method == "adversarial" else _reduced
        module, details = train(model, rows, asked, device)
    record = {
        **details,
        "method": asked.method,
        "constraint": asked.constraint,
        "sensitive": asked.sensitive,
        "mitigated_from": model.sha256,
        "path": training.path,
        "sha256": training.sha256,
        "row_count": len(rows.labels),
        "dropped_row_count": dropped,
        "seed": asked.seed,
    }
    new = Card(
        schema=model.schema, architecture="mlp", arguments=arguments, name=out.stem, training=record, ledger=None
    )
    save_model(out, module, new)
    progress(1.0, "")
    return open_model(out)


def _trainable_card(model: Model) -> Card:
    """Return the card of a model that can be mitigated.

    Raises:
        InputError: it is of another architecture, another task, or gives scores.
    """
    card, task = model.card, task_for(model.schema)
    refusal = InputError(
        f"model {model.name}: mitigation trains auditkit's own architecture mlp with two classes, and no "
        "scores; make such a model with 'auditkit train'."
    )
    if card is None or card.architecture != "mlp" or task.positive is None:
        raise refusal
    try:
        task.objective()
    except NotRun as why:
        raise refusal from why
    return card


def _learnt(model: Model, training: Data, sensitive: str | None) -> tuple[Learnt, int]:
    """Return the rows that have a label and a group, and how many have not.

    Raises:
        InputError: there is no such column.
        DatasetError: a group without both labels.
    """
    names = [str(column) for column in training.frame.columns]
    if sensitive not in names:
        raise InputError(f"sensitive column {sensitive!r} is not in {training.name}{closest(str(sensitive), names)}.")
    with naming(training):
        labels = task_for(model.schema).encode_labels(training.frame)
        codes, words = factorize(training.frame[sensitive])
        known = (labels >= 0) & (codes >= 0)
        inputs = np.asarray(model.schema.encode(training.frame))[known]
        rows = Learnt(inputs, labels[known].astype(np.int64), codes[known].astype(np.int64), tuple(words))
        for code, word in enumerate(words):
            if len(np.unique(rows.labels[rows.groups == code])) < 2:
                raise DatasetError(
                    f"column {sensitive!r}: group {word!r} has no rows of both labels; leave its rows out first."
                )
    return rows, int((~known).sum())


@dataclass
class _Network(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """The network as scikit-learn's estimator: `fit` starts from the given weights and trains on weighted rows."""

    module: nn.Module
    schema: Schema
    seed: int
    device: torch.device

    def fit(self, X: Rows, y: Any, sample_weight: Any = None) -> _Network:
        self.module = copy.deepcopy(self.module)
        self.classes_ = np.array([0, 1])
        fit(
            self.module,
            np.asarray(X, dtype=np.float32),
            np.array(y, dtype=np.int64),  # a copy: Fairlearn marks its arrays as not writable
            FitSettings(epochs=EPOCHS_A_ROUND, seed=self.seed),
            sample_weight=None if sample_weight is None else np.asarray(sample_weight, dtype=np.float64),
            device=self.device,
            objective=task_for(self.schema).objective(),
        )
        return self

    def predict(self, X: Rows) -> Codes:
        rows = np.asarray(X, dtype=np.float32)
        return predict(self.module, rows, self.schema, device=self.device).labels.astype(np.int64)


def _reduced(
    model: Model, rows: Learnt, asked: MitigationConfig, device: torch.device
) -> tuple[nn.Module, dict[str, Any]]:
    """Return the best single network of an exponentiated gradient, chosen on a quarter of the rows held out."""
    held_out = stratified_mask(rows.labels, share=HELD_OUT_SHARE, seed=asked.seed)
    kept, judged = rows.where(~held_out), rows.where(held_out)
    network = _Network(copy.deepcopy(model.module), model.schema, asked.seed, device)
    reduction = ExponentiatedGradient(
        network, CONSTRAINTS[asked.constraint](difference_bound=ALLOWED_GAP), eps=ALLOWED_GAP, max_iter=ROUNDS
    )
    with warnings.catch_warnings():
        # Fairlearn 0.15 uses what pandas 3 is about to change.
        for message in ("Setting a value on a Series via .at with a key", "Setting an item of incompatible dtype"):
            warnings.filterwarnings("ignore", message=message)
        reduction.fit(kept.inputs, kept.labels, sensitive_features=kept.groups)
    members = [member.module for member in reduction.predictors_ if isinstance(member, _Network)]
    best, details = _best(model, members, judged, asked.constraint, device)
    return best, {**details, "networks_in_lottery": int((reduction.weights_ > 1e-6).sum())}


def _adversarial(
    model: Model, rows: Learnt, asked: MitigationConfig, device: torch.device
) -> tuple[nn.Module, dict[str, Any]]:
    """Return the best network of all epochs of two adversarial trainings, chosen on a quarter of the rows held out."""
    held_out = stratified_mask(rows.labels, share=HELD_OUT_SHARE, seed=asked.seed)
    kept = rows.where(~held_out)
    stages = [
        stage
        for strength in ADVERSARY_STRENGTHS
        for stage in debiased(
            model.module,
            kept.inputs,
            kept.labels,
            kept.groups,
            DebiasSettings(
                strength=strength,
                epochs=ADVERSARIAL_EPOCHS,
                seed=asked.seed,
                positive_only=asked.constraint == "equal_opportunity",
            ),
            device=device,
            objective=task_for(model.schema).objective(),
        )
    ]
    return _best(model, stages, rows.where(held_out), asked.constraint, device)


def _best(
    model: Model, networks: list[nn.Module], rows: Learnt, constraint: Constraint, device: torch.device
) -> tuple[nn.Module, dict[str, Any]]:
    """Return the network that is most often right on these rows with a gap that is allowed, or has the smallest gap.

    The original stands among them. The rest says how the choice was made.
    """
    judged = []
    for network in [model.module, *networks]:
        decisions = predict(network, rows.inputs, model.schema, device=device).labels
        judged.append((_gap(rows.groups, rows.labels, decisions, constraint), float((decisions == rows.labels).mean())))
    within = [place for place, (gap, _) in enumerate(judged) if gap <= ALLOWED_GAP]
    best = (
        max(within, key=lambda place: judged[place][1])
        if within
        else min(range(len(judged)), key=lambda place: judged[place][0])
    )
    details = {
        "networks_trained": len(networks),
        "packed": "the original: no other did better"
        if best == 0
        else f"the single network that did best on {len(rows.labels)} rows held out",
        "held_out_gap": judged[best][0],
        "held_out_accuracy": judged[best][1],
        "held_out_gap_before": judged[0][0],
        "held_out_accuracy_before": judged[0][1],
    }
    return [model.module, *networks][best], details


def _gap(groups: Codes, labels: Codes, decisions: Codes, constraint: Constraint) -> float:
    """Return the largest difference between the groups that have enough of the rows that count to compare."""
    counted = labels == 1 if constraint == "equal_opportunity" else np.ones(len(labels), dtype=bool)
    trials = np.bincount(groups[counted])
    rates = np.bincount(groups[counted], weights=decisions[counted], minlength=len(trials))
    enough = trials >= FEWEST_COMPARED
    return float(np.ptp(rates[enough] / trials[enough])) if enough.any() else 0.0


def _moved_thresholds(
    model: Model, card: Card, rows: Learnt, asked: MitigationConfig, device: torch.device
) -> tuple[nn.Module, dict[str, Any], dict[str, Any]]:
    """Return the network with an addition to the positive logit for each group, its arguments, and the thresholds."""
    feature = next((part for part in model.schema.features if part.name == asked.sensitive), None)
    if feature is None or feature.kind != "categorical" or model.schema.output != "logits":
        raise InputError(
            f"method threshold needs {asked.sensitive!r} among the columns that the model reads, as categories, to "
            "know each row's group; pass --method exponentiated_gradient."
        )
    scores = predict(model.module, rows.inputs, model.schema, device=device).scores
    scores = np.asarray(scores, dtype=np.float64)
    (choice,) = thresholds_per_group(rows.groups, rows.labels, scores, asked.constraint, (0.0,))
    rule = choice.thresholds
    cells = model.schema.column_slices()[feature.name]
    shifts, thresholds = np.zeros(feature.width), {}
    for code, word in enumerate(rows.words):
        # A file's decisions are not drawn by lot: the nearer of the two thresholds that a coin would choose between.
        nearer = float(rule.possible[code] if rule.chance[code] >= 0.5 else rule.certain[code])
        below = scores[(rows.groups == code) & (scores < nearer)]
        # Half-way to the next score below, so that rounding cannot flip the row that lies on the threshold.
        threshold = float(np.clip((nearer + (below.max() if below.size else 0.0)) / 2, 1e-6, 1 - 1e-6))
        thresholds[word] = threshold
        if word in feature.categories:
            usual = model.schema.output_at(model.schema.decision_threshold)
            shifts[feature.categories.index(word)] = usual - np.log(threshold / (1 - threshold))
    module, arguments = add_to_logit(model.module, card.arguments, range(cells.start, cells.stop), shifts)
    return module, arguments, {"thresholds": thresholds, "training_accuracy": choice.accuracy}


def add_to_logit(
    module: nn.Module, arguments: dict[str, Any], cells: range, shifts: NDArray[np.float64]
) -> tuple[nn.Module, dict[str, Any]]:
    """Return an `mlp` whose last logit is that of `module` plus `shifts` times the input's `cells`, and its arguments.

    The cells, which are 0 or 1, pass the rectifiers unchanged through one added unit each in every hidden layer: the
    new network is of the same architecture, only wider.
    """
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    hidden = [layer.out_features + len(cells) for layer in layers[:-1]]
    wider = {**arguments, "hidden": hidden}
    result = build("mlp", wider)
    with torch.no_grad():
        for place, (old, new) in enumerate(
            zip(layers, [layer for layer in result.modules() if isinstance(layer, nn.Linear)], strict=True)
        ):
            new.weight.zero_()
            new.bias.zero_()
            new.weight[: old.out_features, : old.in_features] = old.weight
            new.bias[: old.out_features] = old.bias
            sources = list(cells) if place == 0 else list(range(old.in_features, new.in_features))
            for unit, source in enumerate(sources):
                if place < len(layers) - 1:
                    new.weight[old.out_features + unit, source] = 1
                else:
                    new.weight[-1, source] += float(shifts[unit])
    return result.eval(), wider
