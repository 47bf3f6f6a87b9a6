"""From a language model and texts to models fine-tuned with privacy, written with their ledgers and checked."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from auditkit.config_commands import RetrainConfig
from auditkit.data.dataset import Data
from auditkit.documents import parse_json
from auditkit.errors import InputError, NotRun
from auditkit.evidence.messages import Message
from auditkit.files import read_text
from auditkit.models.factory import build_network
from auditkit.models.formats.huggingface import JSON_BYTES
from auditkit.models.formats.huggingface_ledger import LEDGER
from auditkit.models.formats.huggingface_save import save_folder
from auditkit.models.formats.native import save_model
from auditkit.models.formats.opening import open_model, read_model_file
from auditkit.models.from_columns import Columns
from auditkit.models.model import Model
from auditkit.models.predict import choose_device
from auditkit.models.refit import seeded
from auditkit.progress import Progress, part_of, silent
from auditkit.run_folder import output_folder
from auditkit.training.adapters import LowRank, merge_adapters, train_only
from auditkit.training.dp.accounting import NOT_COVERED, Ledger, composed_epsilon, read_ledger
from auditkit.training.dp.dp_sgd import fit_private, trained_part
from auditkit.training.dp.frontier import HeldOut, fit_equally
from auditkit.training.dp.plan import Disclosure, PrivateSettings, plan_training
from auditkit.training.dp.retrained import (
    FRESH,
    GroupCost,
    Retrained,
    already_there,
    is_of,
    private_settings,
    public_weights,
    require_budgets,
)
from auditkit.training.dp.token_losses import MeanTokenLoss, TokenLosses
from auditkit.training.dp.units import RECORD, Units, units_of

MAX_GRAD_NORM = 1.0
"""The norm that the gradient of a unit's mean token loss is clipped to, if none is stated."""

CELLS_AT_ONCE = 2**25
"""The logits of the units that go through the network at once take at most so many numbers (128 MiB)."""

TOLERANCE = 1e-4
"""How far the logits of merged weights may lie from those of the adapters, in proportion to the largest."""


def retrain_language(
    model: Model,
    data: Data,
    *,
    config: RetrainConfig,
    public: Model | None = None,
    held_out: Data | None = None,
    progress: Progress = silent,
) -> Retrained:
    """Fine-tune a language model on texts by DP-SGD once per epsilon; write each model, and return their ledgers.

    With `lora_rank` adapters are trained on the model's own weights (or on those of `public`), which whoever runs this
    declares public; without, auditkit's own architecture is trained from fresh weights. A folder of Hugging Face gives
    folders, `NAME-eps3`, a file of auditkit's files, `NAME-eps3.pt`. Each is opened again: its logits must be those of
    the training, and the weights that were to be trained, and no others, must have moved.

    With `held_out` texts the bits per byte of each model are measured there, by group, beside those of the model as it
    was and after a fine-tuning of as many steps without privacy, which is not kept.

    Raises:
        InputError: a request that cannot be met, weights that saw these texts, or a written model that is not what was
            trained.
    """
    require_budgets(config.privacy.epsilon)
    base = _base(model, data, config, public)
    trainer = _trainer(model, base, data, config)
    measured = None if held_out is None else HeldOut(held_out, trainer.column, trainer.sensitive)
    files: list[tuple[Path, Ledger]] = []
    notes, frontier = _notes(trainer), _frontier_without(trainer, measured)
    epsilons = config.privacy.epsilon
    with output_folder(config.output.out or Path(model.path or "").parent) as folder:
        for index, epsilon in enumerate(epsilons):
            path = folder / f"{_stem(model)}-eps{epsilon:g}{'' if model.card is None else '.pt'}"
            part = part_of(progress, index / len(epsilons), (index + 1) / len(epsilons))
            network, ledger, kept = trainer.finish(path, epsilon, part)
            if kept:
                notes.append(f"{path} was finished by an earlier run with the same settings, and is kept.")
            files.append((path, ledger))
            if measured is not None:
                frontier += measured.costs(model, network, epsilon, trainer.device)
    together = composed_epsilon([ledger for _, ledger in files], files[0][1].delta)
    return Retrained(tuple(files), together, tuple(notes), tuple(frontier))


def _stem(model: Model) -> str:
    return model.name if model.card is None or model.path is None else Path(model.path).name.partition(".")[0]


def _base(model: Model, data: Data, config: RetrainConfig, public: Model | None) -> Model | None:
    """Return the model whose weights a training begins with, None where they are fresh.

    Raises:
        InputError: there is no architecture to draw fresh weights of, or the weights are known to have seen the texts.
    """
    part = config.model.lora_rank is not None or bool(config.model.trainable)
    base = public or (model if part else None)
    if base is None and model.card is None:
        raise InputError(
            f"model {model.name}: is trained from its own weights, not from fresh ones; pass --lora-rank 8 to train "
            "adapters on them."
        )
    if public is not None and _shapes(public.module) != _shapes(model.module):
        raise InputError(f"public-init {public.name}: is not of the architecture of {model.name}.")
    if base is not None and base.was_trained_on(data.sha256):
        raise InputError(
            f"model {base.name}: was trained on these very texts already, as its file says, and the ledger would not "
            "count that; pass --public-init with a model of the same architecture that was not."
        )
    return base


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in module.state_dict().items()}


@dataclass(frozen=True)
class _Trainer:
    """What all trainings of one request share."""

    model: Model
    base: Model | None
    data: Data
    units: Units
    column: str
    config: RetrainConfig
    disclosure: Disclosure

    @property
    def device(self) -> torch.device:
        return choose_device(self.config.privacy.device)

    @property
    def sensitive(self) -> tuple[str, ...]:
        return tuple(self.config.data.sensitive or self.model.schema.sensitive)

    @property
    def objective(self) -> MeanTokenLoss:
        return MeanTokenLoss(self.model.module.mask_token)  # type: ignore[arg-type]  # of a language model

    def settings(self, epsilon: float, path: Path) -> PrivateSettings:
        """Return the settings of the training at a budget, whose model goes to a path."""
        vocabulary = int(self.model.module.vocabulary_size)  # type: ignore[arg-type]  # of a language model
        cells = self.units.windows * self.units.length * vocabulary
        return private_settings(
            self.config.privacy,
            epsilon,
            checkpoint=path.with_name(f".{path.name}.checkpoint"),
            disclosure=self.disclosure,
            max_grad_norm=MAX_GRAD_NORM,
            physical_batch_size=max(1, CELLS_AT_ONCE // cells),
        )

    def begun(self) -> TokenLosses:
        """Return the network as its training begins."""
        seed = int.from_bytes(os.urandom(4))
        if self.base is not None:
            network = copy.deepcopy(self.base.module)
            part = self.config.model
            if part.trainable or part.lora_rank is not None:
                with seeded(seed):
                    train_only(network, part.trainable, rank=part.lora_rank, beside=output_layers(network))
        else:
            assert self.model.card is not None
            with seeded(seed):
                network = build_network(self.model.card.architecture, self.model.card.arguments)
        return TokenLosses(network.train(), masks=self.objective.hidden is not None)

    def finish(self, path: Path, epsilon: float, progress: Progress) -> tuple[nn.Module, Ledger, bool]:
        """Return the network that is written to a path, its ledger, and whether an earlier run had written it."""
        settings, module = self.settings(epsilon, path), self.begun()
        unfinished = settings.checkpoint
        assert unfinished is not None
        if path.exists() and not unfinished.exists():
            ledger = self._ledger_of(path, settings, trained_part(module))
            return self._opened(path).module, ledger, True
        rows, counts = self.units.rows, self.units.counts
        try:
            ledger = fit_private(
                module, rows, counts, settings, device=self.device, objective=self.objective, progress=progress
            )
        except NotRun as why:
            raise InputError(f"model {self.model.name}: {why}") from why
        network = self._written(path, module.network, ledger)
        unfinished.unlink(missing_ok=True)
        return network, ledger, False

    def _written(self, path: Path, network: nn.Module, ledger: Ledger) -> nn.Module:
        """Merge a network's adapters, write it, and return it as opened again.

        Raises:
            InputError: what was opened again is not what was trained; nothing is left of it.
        """
        trained, expected = _trained(network), self._logits(network)
        merge_adapters(network)
        described = self._training(ledger)
        if self.model.card is None:
            base = Path(self.model.path or "")
            content = {"training": described, "ledger": ledger.model_dump(mode="json")}
            save_folder(path, network.network, base, self.model.sha256, content)
        else:
            card = self.model.card.model_copy(
                update={"name": path.stem, "training": described, "ledger": ledger.model_dump(mode="json")}
            )
            save_model(path, network, card)
        opened = self._opened(path).module
        problem = self._difference(opened, expected, trained)
        if problem is not None:
            path.rename(refused := path.with_name(f"{path.name}.refused"))
            raise InputError(f"out {path}: {problem}; the model is not to be used, and was moved to {refused}.")
        return opened

    def _logits(self, network: nn.Module) -> torch.Tensor:
        """Return what a network says of the texts of the largest unit."""
        ids = torch.as_tensor(self.units.rows[-1, :, 0]).clamp(min=0)
        with torch.inference_mode():
            found: torch.Tensor = network.to("cpu").eval()(ids)
        return found

    def _difference(self, opened: nn.Module, expected: torch.Tensor, trained: set[str]) -> str | None:
        """Return in what a model that was opened again is not what was trained, None where it is."""
        found = self._logits(opened)
        away = float((found - expected).abs().max() / expected.abs().max())
        if not away <= TOLERANCE:
            return f"its logits are {away:.2g} of the largest one away from those of the network that was trained"
        if self.base is None:
            return None
        before, after = self.base.module.state_dict(), opened.state_dict()
        moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
        if moved == trained:
            return None
        name = sorted(moved ^ trained)[0]
        return f"{name} {'changed though it was not trained' if name in moved else 'was trained and did not change'}"

    def _opened(self, path: Path) -> Model:
        columns = Columns(read_rows=lambda: self.data, read_training=lambda: None, target=None, text=self.column)
        return open_model(path, columns=columns)

    def _training(self, ledger: Ledger) -> dict[str, Any]:
        return {
            "path": self.data.path,
            "sha256": self.data.sha256,
            "row_count": self.units.text_count,
            "dropped_row_count": self.units.empty_count,
            "unit": self.config.data.unit,
            "epochs": ledger.epochs,
            "epsilon": ledger.epsilon,
        }

    def _ledger_of(self, path: Path, settings: PrivateSettings, trained: str) -> Ledger:
        """Return the ledger of a model that an earlier run finished.

        Raises:
            InputError: it is something else: other texts, other units or other settings.
        """
        if path.is_dir():
            found = _json_of(path / LEDGER)
        else:
            card = read_model_file(path).card
            found = {} if card is None else {"training": card.training, "ledger": card.ledger}
        training = found.get("training") or {}
        same = training.get("sha256") == self.data.sha256 and training.get("unit") == self.config.data.unit
        if found.get("ledger") and same:
            ledger = read_ledger(found["ledger"], f"out {path}")
            if is_of(ledger, settings, trained):
                return ledger
        raise already_there(path)


def _json_of(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = parse_json(read_text(path, str(path), budget=JSON_BYTES))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def output_layers(network: nn.Module) -> tuple[nn.Module, ...]:
    """Return the layer of output weights of a network of transformers, which adapters leave alone."""
    named: Callable[[], nn.Module | None] | None = getattr(
        getattr(network, "network", None), "get_output_embeddings", None
    )
    head = None if named is None else named()
    return () if head is None else (head,)


def _trained(network: nn.Module) -> set[str]:
    """Return the names, in a plain network, of the weights that a training changes."""
    adapted = tuple(f"{name}." for name, layer in network.named_modules() if isinstance(layer, LowRank))
    whole = {
        name
        for name, parameter in network.named_parameters(remove_duplicate=False)
        if parameter.requires_grad and not name.startswith(adapted)
    }
    return whole | {f"{prefix}weight" for prefix in adapted}


def _trainer(model: Model, base: Model | None, data: Data, config: RetrainConfig) -> _Trainer:
    """Return the texts as units of privacy, and what the ledgers say of them."""
    feature = model.schema.features[0]
    column = config.data.text or feature.name
    unit = config.data.unit
    units = units_of(data, column, feature.pieces or "", model.module, unit=unit)
    initial = FRESH if base is None else public_weights(base.path, base.sha256, config.model.lora_rank)
    is_record = unit == RECORD
    protected = Message("one text") if is_record else Message("all texts with one value of {unit}", unit=unit)
    repeated = (
        Message(
            "texts of the same person, or that say the same: one text is protected, and a secret that stands in "
            "several texts is not; pass --unit COLUMN to protect all texts of an author"
        )
        if is_record
        else Message("a secret that stands in texts with several values of {unit}", unit=unit)
    )
    not_covered = (
        NOT_COVERED[0],
        Message("the tokenizer, and every weight of the model before this training"),
        NOT_COVERED[2],
        NOT_COVERED[3],
        repeated,
        *NOT_COVERED[5:],
    )
    disclosure = Disclosure(
        initial,
        not_covered,
        unit=protected,
        neighbours=Message("add or remove {unit}", unit=protected),
        contribution=Message(
            "; a row is {unit}, of which at most {windows:,} windows of {length:,} tokens are read",
            unit=protected, windows=units.windows, length=units.length,
        ),
    )  # fmt: skip
    return _Trainer(model, base, data, units, column, config, disclosure)


def _frontier_without(trainer: _Trainer, measured: HeldOut | None) -> list[GroupCost]:
    """Return the costs of the model as it was, and after as many steps without privacy; none without held-out texts."""
    if measured is None:
        return []
    module, units = trainer.begun(), trainer.units
    settings = trainer.settings(trainer.config.privacy.epsilon[0], Path("none"))
    settings.require(len(units.counts))
    found = [] if trainer.base is None else measured.costs(trainer.model, trainer.base.module, 0.0, trainer.device)
    fit_equally(
        module,
        units.rows,
        units.counts,
        plan_training(settings, len(units.counts)),
        device=trainer.device,
        objective=trainer.objective,
    )
    return [*found, *measured.costs(trainer.model, module.network, None, trainer.device)]


def _notes(trainer: _Trainer) -> list[str]:
    units, notes = trainer.units, []
    if units.empty_count:
        notes.append(Message("{count:,} rows without a text were left out.", count=units.empty_count))
    if units.cut_tokens:
        notes.append(
            Message(
                "{count:,} tokens were left out: a unit contributes {most:,} windows of {length:,} at most.",
                count=units.cut_tokens, most=units.windows, length=units.length,
            )
        )  # fmt: skip
    if units.without_unit:
        notes.append(
            Message(
                "{count:,} texts have no {unit}: all of them together are one unit.",
                count=units.without_unit, unit=trainer.config.data.unit,
            )
        )  # fmt: skip
    return list(notes)
