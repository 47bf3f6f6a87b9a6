"""From a model and its training rows to private models of the same architecture, packed with their ledgers."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from auditkit.config_commands import PrivateTrainingConfig, RetrainConfig
from auditkit.config_settings import updated
from auditkit.data.dataset import Data, naming
from auditkit.errors import InputError, NotRun
from auditkit.evidence.messages import Message
from auditkit.models.capabilities import LanguageModel
from auditkit.models.formats.exported import program_in
from auditkit.models.formats.native import save_model
from auditkit.models.formats.opening import read_model_file
from auditkit.models.model import Card, Model, first_line
from auditkit.models.outputs import FirstOutput
from auditkit.models.predict import choose_device
from auditkit.models.refit import seeded
from auditkit.progress import Progress, part_of, silent
from auditkit.run_folder import output_folder
from auditkit.schema.schema import Labels, has_label
from auditkit.tasks.base import task_for
from auditkit.tasks.objectives import OwnLoss
from auditkit.training.adapters import merge_adapters, train_only
from auditkit.training.dp.accounting import Ledger, composed_epsilon, read_ledger
from auditkit.training.dp.dp_sgd import disclosed, fit_private, trained_part
from auditkit.training.dp.generators import RealLosses, private_part
from auditkit.training.dp.plan import Disclosure, PrivateSettings
from auditkit.training.dp.retrain_classifier import retrain_classifier
from auditkit.training.dp.retrain_language import retrain_language
from auditkit.training.dp.retrained import (
    FRESH,
    Retrained,
    adapters_of,
    already_there,
    is_of,
    private_settings,
    public_weights,
    require_budgets,
)
from auditkit.training.dp.units import RECORD


def retrain(
    model: Model,
    data: Data,
    *,
    config: RetrainConfig | None = None,
    public: Model | None = None,
    held_out: Data | None = None,
    progress: Progress = silent,
    **options: Any,
) -> Retrained:
    """Train the architecture of `model` on `data` by DP-SGD once per epsilon; write `NAME-eps3.pt` files to `out`.

    Of an exported program the same program is written, `NAME-eps3.pt2`, with other weights and without its sample
    inputs. The noise comes from a seed that nobody is told. A run that is killed goes on where it was when it is called
    again with the same arguments: models that are finished are kept, and lost steps count as spent.

    Args:
        model: the model whose architecture and schema are taken, but not its weights.
        data: the training rows; rows without a label are left out.
        config: the whole request; `options` replace what it states.
        public: a model of the same architecture whose weights saw only public data, to start from.
        held_out: of a language model or a Hugging Face folder, texts or rows to measure each budget's cost on; see
            `retrain_language` and `retrain_classifier`.
        progress: called with the finished share and a few words.
        options: every option of `auditkit retrain` by its name: `epsilon`, the budgets, which must be given; `out`, the
            folder to write to, made where there is none, and taken away again if nothing could be trained; `delta`,
            `epochs`, `batch_size`, ... With `public`, `trainable` are patterns of the parameters that are trained
            while the others stay public, and `lora_rank` is the rank of adapters that are trained in place of the
            weights of Linear layers; not for a program, which has no layers.

    Raises:
        InputError: no epsilon, the same one twice, a layer that DP-SGD cannot train (named, with its replacement), a
            model without a card that is no exported program, a program whose fresh weights cannot be drawn, public
            weights that are the model's own, or what `fit_private` refuses.
    """
    config = updated(config or RetrainConfig(), options)
    if model.capability(LanguageModel) is not None:
        return retrain_language(model, data, config=config, public=public, held_out=held_out, progress=progress)
    if model.card is None and model.path is not None and Path(model.path).is_dir():
        return retrain_classifier(model, data, config=config, public=public, held_out=held_out, progress=progress)
    _refuse_units(config, held_out)
    return _retrain_rows(model, data, config, public, progress)


def _retrain_rows(
    model: Model, data: Data, config: RetrainConfig, public: Model | None, progress: Progress
) -> Retrained:
    """Train the architecture of a model of rows once for each budget; see `retrain`."""
    epsilons = config.privacy.epsilon
    _require_retrainable(model, epsilons, public, config.model.trainable, config.model.lora_rank)
    training = _training(model, data, config, public)
    notes = _notes(model, data, training.dropped_row_count)
    files: list[tuple[Path, Ledger]] = []
    with output_folder(config.output.out or Path(model.path or "").parent) as folder:
        for index, epsilon in enumerate(epsilons):
            path = folder / training.file_name(epsilon)
            unfinished = folder / f".{path.name}.checkpoint"
            module = _initial_model(model, public, config.model.trainable, config.model.lora_rank)
            settings = training.settings(epsilon, checkpoint=unfinished)
            if path.exists() and not unfinished.exists():
                trained = trained_part(training.part(module))
                files.append((path, _finished(path, model, data, settings, trained)))
                notes.append(f"{path} was finished by an earlier run with the same settings, and is kept.")
                continue
            part = part_of(progress, index / len(epsilons), (index + 1) / len(epsilons))
            ledger = training.train(module, settings, part)
            merge_adapters(module)
            save_model(path, module, training.card(path.stem, ledger))
            unfinished.unlink(missing_ok=True)
            files.append((path, ledger))
    together = composed_epsilon([ledger for _, ledger in files], files[0][1].delta)
    return Retrained(tuple(files), together, tuple(notes))


def _refuse_units(config: RetrainConfig, held_out: Data | None) -> None:
    """Raise InputError for what only a model of a folder, or a language model, can be asked for."""
    given = {"unit": config.data.unit != RECORD, "dataset": held_out is not None}
    for option in (name for name, is_given in given.items() if is_given):
        raise InputError(
            f"{option} is for language models and Hugging Face folders, whose weights are fine-tuned; leave --{option} "
            "out, and audit what is written by auditkit run."
        )


@dataclass(frozen=True)
class _Training:
    """What all trainings of one request share: the model, its rows as it learns them, and what the ledgers say."""

    model: Model
    data: Data
    inputs: NDArray[Any]
    labels: Labels
    dropped_row_count: int
    config: PrivateTrainingConfig
    disclosure: Disclosure

    def file_name(self, epsilon: float) -> str:
        """Return the name of the file that a budget is written to."""
        name = Path(self.model.path).name.partition(".")[0] if self.model.path else self.model.name
        return f"{name}-eps{epsilon:g}{'.pt' if program_in(self.model.module) is None else '.pt2'}"

    def settings(self, epsilon: float, *, checkpoint: Path | None) -> PrivateSettings:
        """Return the settings of the training at a budget."""
        return private_settings(self.config, epsilon, checkpoint=checkpoint, disclosure=self.disclosure)

    def part(self, module: nn.Module) -> nn.Module:
        """Return the part of a network that reads rows, with what the rest learns by."""
        asked = self.settings(1.0, checkpoint=None)
        count = asked.batch_size_for(len(self.labels))
        return private_part(module, sample_count=count, max_norm=asked.max_grad_norm)

    def train(self, module: nn.Module, settings: PrivateSettings, progress: Progress) -> Ledger:
        """Train a network in place.

        Raises:
            InputError: a layer that DP-SGD cannot train, or what `fit_private` refuses.
        """
        network = self.part(module)
        if isinstance(network, RealLosses):  # its generator is in no checkpoint: a run that is killed begins anew
            settings = dataclasses.replace(settings, checkpoint=None)
        try:
            return fit_private(
                network,
                self.inputs,
                self.labels,
                settings,
                device=choose_device(self.config.device),
                objective=task_for(self.model.schema).objective(),
                progress=progress,
            )
        except NotRun as why:
            raise InputError(f"model {self.model.name}: {why}") from why

    def card(self, name: str, ledger: Ledger) -> Card:
        """Return the card of a trained model."""
        model, training = (
            self.model,
            {
                "path": self.data.path,
                "sha256": self.data.sha256,
                "row_count": len(self.labels),
                "dropped_row_count": self.dropped_row_count,
                "epochs": ledger.epochs,
                "epsilon": ledger.epsilon,
            },
        )
        return Card(
            schema=model.schema,
            architecture=model.kind if model.card is None else model.card.architecture,
            arguments={} if model.card is None else model.card.arguments,
            name=name,
            training=training,
            ledger=ledger.model_dump(mode="json"),
        )


def _training(model: Model, data: Data, config: RetrainConfig, public: Model | None) -> _Training:
    """Return the rows as the model learns them, and what the ledgers say of its first weights.

    Raises:
        InputError: an output without a loss, columns that the model does not know, or fresh weights that cannot be
            drawn.
    """
    task = task_for(model.schema)
    try:
        objective = task.objective()
    except NotRun as why:
        raise InputError(f"model {model.name}: {why}.") from why
    with naming(data):
        model.schema.check_columns(data.frame)
        labels = task.encode_labels(data.frame)
        known = np.ones(len(labels), dtype=bool) if isinstance(objective, OwnLoss) else has_label(labels)
        inputs = model.schema.encode(data.frame)[known]
    try:
        disclosure = disclosed(model, _initial_weights(public, config.model.lora_rank), drawn=public is None)
    except NotRun as why:
        raise InputError(f"model {model.name}: {why}.") from why
    return _Training(model, data, inputs, task.learnt(labels[known]), int((~known).sum()), config.privacy, disclosure)


def _initial_weights(public: Model | None, lora_rank: int | None) -> str:
    """Return what a ledger says of the weights that a training begins with."""
    if public is not None:
        return public_weights(public.path, public.sha256, lora_rank)
    return FRESH if lora_rank is None else FRESH + adapters_of(lora_rank)


def _require_retrainable(
    model: Model, epsilons: Sequence[float], public: Model | None, trainable: Sequence[str], lora_rank: int | None
) -> None:
    """Raise InputError for what can be refused before any row is read."""
    require_budgets(epsilons)
    program = program_in(model.module)
    if model.card is None and program is None:
        raise InputError(
            f"model {model.name}: is a {model.kind}, which has no architecture to build anew; pass its weights with "
            "--architecture package.module:factory."
        )
    if program is None and isinstance(model.module, FirstOutput):
        raise InputError(f"model {model.name}: returns several things; pass an --architecture that returns one tensor.")
    if program is not None and lora_rank is not None:
        raise InputError("lora_rank: adapters go to Linear layers, and a program has none; leave --lora-rank out.")
    if public is not None and not _same_architecture(public, model):
        what = "the same exported graph" if program is not None else f"the architecture {model.architecture}"
        raise InputError(f"public-init {public.name}: is not of {what}.")
    if public is not None and (public.sha256 == model.sha256 or _same_weights(public, model)):
        raise InputError("public-init: holds the model's own weights, which saw these rows without privacy.")
    if public is None and (trainable or lora_rank is not None):
        raise InputError("trainable and lora_rank leave weights as they began, so these must be public: --public-init.")


def weights_sha256(model: Model) -> str:
    """Return a hash of the names and values of a model's weights, whatever file they came in."""
    digest = hashlib.sha256()
    for name, value in sorted(_unwrapped(model.module).state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _initial_model(model: Model, public: Model | None, trainable: Sequence[str], lora_rank: int | None) -> nn.Module:
    """Return a network as its training begins: fresh, or public, and then frozen but for the part that is trained."""
    seed = int.from_bytes(os.urandom(4))
    try:
        module = model.fresh(seed)
    except NotRun as why:
        raise InputError(f"model {model.name}: {why}") from why
    if public is not None:
        try:
            _unwrapped(module).load_state_dict(_unwrapped(public.module).state_dict())
        except RuntimeError as error:
            raise InputError(f"public-init {public.name}: its weights do not fit: {first_line(error)}.") from error
    if trainable or lora_rank is not None:
        with seeded(seed):
            train_only(_unwrapped(module), trainable, rank=lora_rank)
    return module


def _unwrapped(module: nn.Module) -> nn.Module:
    """Return the part of a network in which weights have the names that their author gave them."""
    program = program_in(module)
    return module if program is None else program.network


def _same_architecture(one: Model, other: Model) -> bool:
    programs = program_in(one.module), program_in(other.module)
    if programs[0] is not None and programs[1] is not None:
        return str(programs[0].program.graph) == str(programs[1].program.graph)
    return one.card is not None and other.card is not None and one.card.architecture == other.card.architecture


def _finished(path: Path, model: Model, data: Data, settings: PrivateSettings, trained: str) -> Ledger:
    """Return the ledger of a file that an earlier run finished; `trained` says which parameters this one trains.

    Raises:
        InputError: it is something else: another model, other rows or other settings.
    """
    card = read_model_file(path).card
    if card is not None and card.ledger is not None and data.sha256 and card.training.get("sha256") == data.sha256:
        ledger = read_ledger(card.ledger, f"out {path}")
        same_model = model.card is None or (
            (card.architecture, card.arguments) == (model.card.architecture, model.card.arguments)
        )
        if same_model and is_of(ledger, settings, trained):
            return ledger
    raise already_there(path)


def _same_weights(one: Model, other: Model) -> bool:
    return weights_sha256(one) == weights_sha256(other)


def _notes(model: Model, data: Data, dropped: int) -> list[str]:
    notes: list[str] = []
    if dropped:
        notes.append(Message("{dropped:,} rows without a label were left out.", dropped=dropped))
    if model.was_trained_on(data.sha256) is False:
        notes.append(
            Message(
                "These are not the rows that the model was trained on: their sha256 differs from the one in its card."
            )
        )
    program = program_in(model.module)
    return notes if program is None else [*notes, *program.training_notes]
