"""Training a model's own weights with privacy, by adapters: trained, merged, written, opened again and compared."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from auditkit.config_commands import RetrainConfig
from auditkit.data.dataset import Data
from auditkit.documents import parse_json
from auditkit.errors import InputError, NotRun
from auditkit.files import read_text
from auditkit.models.factory import build_network
from auditkit.models.formats.adapters import ADAPTER_CONFIG
from auditkit.models.formats.huggingface_ledger import LEDGER
from auditkit.models.formats.huggingface_save import save_folder
from auditkit.models.formats.huggingface_settings import JSON_BYTES
from auditkit.models.formats.native import save_model
from auditkit.models.formats.opening import open_model, read_model_file
from auditkit.models.from_columns import Columns
from auditkit.models.model import Model
from auditkit.models.predict import choose_device
from auditkit.models.refit import seeded
from auditkit.progress import Progress, part_of
from auditkit.run_folder import output_folder
from auditkit.schema.schema import Labels
from auditkit.tasks.objectives import Objective
from auditkit.training.adapters import LowRank, merge_adapters, train_only
from auditkit.training.dp.accounting import Ledger, composed_epsilon, read_ledger
from auditkit.training.dp.dp_sgd import fit_private, trained_part
from auditkit.training.dp.plan import Disclosure, PrivateSettings
from auditkit.training.dp.retrained import GroupCost, Retrained, already_there, is_of, private_settings

MAX_GRAD_NORM = 1.0
"""The norm that the gradient of a unit's loss is clipped to, if none is stated."""

TOLERANCE = 1e-4
"""How far the outputs of merged weights may lie from those of the adapters, in proportion to the largest."""


@dataclass(frozen=True)
class Learning:
    """What a model learns, and how: rows of a training, (units, ...), one for each unit of privacy, and their labels.

    `learner` makes of a network the module that the objective is of, which has the network as `network`.
    `physical_batch_size` is how many rows go through it at once, if none is stated. The written model must answer
    `probe` as the trained one did. `columns` open it again, and `training` is what its file says of the rows.
    """

    rows: NDArray[Any]
    labels: Labels
    objective: Objective
    learner: Callable[[nn.Module], nn.Module]
    physical_batch_size: int
    probe: NDArray[Any]
    columns: Columns
    training: dict[str, Any]
    disclosure: Disclosure


def base_of(model: Model, data: Data, config: RetrainConfig, public: Model | None) -> Model | None:
    """Return the model whose weights a training begins with, None where they are fresh.

    Raises:
        InputError: there is no architecture to draw fresh weights of, the weights are known to have seen the rows, or
            they are those of a PEFT adapter over another folder.
    """
    part = config.model.lora_rank is not None or bool(config.model.trainable)
    base = public or (model if part else None)
    if base is None and model.card is None:
        raise InputError(
            f"model {model.name}: is trained from its own weights, not from fresh ones; pass --lora-rank 8 to train "
            "adapters on them."
        )
    if model.card is None and (Path(model.path or "") / ADAPTER_CONFIG).is_file():
        raise InputError(
            f"model {model.name}: is a PEFT adapter; merge it with peft (merge_and_unload), and save the whole."
        )
    if public is not None and _shapes(public.module) != _shapes(model.module):
        raise InputError(f"public-init {public.name}: is not of the architecture of {model.name}.")
    if base is not None and base.was_trained_on(data.sha256):
        raise InputError(
            f"model {base.name}: was trained on these very rows already, as its file says, and the ledger would not "
            "count that; pass --public-init with a model of the same architecture that was not."
        )
    return base


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in module.state_dict().items()}


@dataclass(frozen=True)
class FineTuning:
    """What all trainings of one request share. `base` has the weights that they begin with, None where they are fresh.

    A folder of Hugging Face gives folders, `NAME-eps3`, a file of auditkit's files, `NAME-eps3.pt`. Each is opened
    again: its outputs must be those of the training, and the weights that were to be trained, and no others, must have
    moved.
    """

    model: Model
    base: Model | None
    data: Data
    learning: Learning
    config: RetrainConfig

    @property
    def device(self) -> torch.device:
        """Where to train."""
        return choose_device(self.config.privacy.device)

    def run(
        self, notes: Sequence[str], progress: Progress, costs: Callable[[nn.Module, float], Sequence[GroupCost]]
    ) -> Retrained:
        """Train once for each budget, and return the written models with their ledgers.

        `costs` says what a network of a budget costs, to be reported beside it.

        Raises:
            InputError: a request that cannot be met, or a written model that is not what was trained.
        """
        model, epsilons, said = self.model, self.config.privacy.epsilon, list(notes)
        files: list[tuple[Path, Ledger]] = []
        frontier: list[GroupCost] = []
        with output_folder(self.config.output.out or Path(model.path or "").parent) as folder:
            for index, epsilon in enumerate(epsilons):
                path = folder / f"{_stem(model)}-eps{epsilon:g}{'' if model.card is None else '.pt'}"
                part = part_of(progress, index / len(epsilons), (index + 1) / len(epsilons))
                network, ledger, kept = self._finish(path, epsilon, part)
                if kept:
                    said.append(f"{path} was finished by an earlier run with the same settings, and is kept.")
                files.append((path, ledger))
                frontier += costs(network, epsilon)
        together = composed_epsilon([ledger for _, ledger in files], files[0][1].delta)
        return Retrained(tuple(files), together, tuple(said), tuple(frontier))

    def settings(self, epsilon: float, path: Path) -> PrivateSettings:
        """Return the settings of the training at a budget, whose model goes to a path."""
        return private_settings(
            self.config.privacy,
            epsilon,
            checkpoint=path.with_name(f".{path.name}.checkpoint"),
            disclosure=self.learning.disclosure,
            max_grad_norm=MAX_GRAD_NORM,
            physical_batch_size=self.learning.physical_batch_size,
        )

    def begun(self) -> nn.Module:
        """Return the module that is trained, as its training begins; its `network` is the model's."""
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
        return self.learning.learner(network.train())

    def _finish(self, path: Path, epsilon: float, progress: Progress) -> tuple[nn.Module, Ledger, bool]:
        """Return the network that is written to a path, its ledger, and whether an earlier run had written it."""
        settings, module, learning = self.settings(epsilon, path), self.begun(), self.learning
        unfinished = settings.checkpoint
        assert unfinished is not None
        if path.exists() and not unfinished.exists():
            ledger = self._ledger_of(path, settings, trained_part(module))
            return self._opened(path).module, ledger, True
        try:
            ledger = fit_private(
                module,
                learning.rows,
                learning.labels,
                settings,
                device=self.device,
                objective=learning.objective,
                progress=progress,
            )
        except NotRun as why:
            raise InputError(f"model {self.model.name}: {why}") from why
        trained: Any = module
        network = self._written(path, trained.network, ledger)
        unfinished.unlink(missing_ok=True)
        return network, ledger, False

    def _written(self, path: Path, network: nn.Module, ledger: Ledger) -> nn.Module:
        """Merge a network's adapters, write it, and return it as opened again.

        Raises:
            InputError: what was opened again is not what was trained; nothing is left of it.
        """
        trained, expected = _trained(network), self._outputs(network)
        merge_adapters(network)
        described = {
            "path": self.data.path,
            "sha256": self.data.sha256,
            **self.learning.training,
            "epochs": ledger.epochs,
            "epsilon": ledger.epsilon,
        }
        content = {"training": described, "ledger": ledger.model_dump(mode="json")}
        if self.model.card is None:
            of_transformers: Any = network
            save_folder(path, of_transformers.network, Path(self.model.path or ""), self.model.sha256, content)
        else:
            save_model(path, network, self.model.card.model_copy(update={"name": path.stem, **content}))
        opened = self._opened(path).module
        problem = self._difference(opened, expected, trained)
        if problem is not None:
            path.rename(refused := path.with_name(f"{path.name}.refused"))
            raise InputError(f"out {path}: {problem}; the model is not to be used, and was moved to {refused}.")
        return opened

    def _outputs(self, network: nn.Module) -> torch.Tensor:
        """Return what a network says of the probe."""
        with torch.inference_mode():
            found: torch.Tensor = network.to("cpu").eval()(torch.as_tensor(self.learning.probe))
        return found

    def _difference(self, opened: nn.Module, expected: torch.Tensor, trained: set[str]) -> str | None:
        """Return in what a model that was opened again is not what was trained, None where it is."""
        found = self._outputs(opened)
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
        return open_model(path, columns=self.learning.columns)

    def _ledger_of(self, path: Path, settings: PrivateSettings, trained: str) -> Ledger:
        """Return the ledger of a model that an earlier run finished.

        Raises:
            InputError: it is something else: other rows, other units or other settings.
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


def _stem(model: Model) -> str:
    return model.name if model.card is None or model.path is None else Path(model.path).name.partition(".")[0]


def _json_of(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = parse_json(read_text(path, str(path), budget=JSON_BYTES))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def output_layers(network: nn.Module) -> tuple[nn.Module, ...]:
    """Return the layer of output weights of a language model of transformers, which adapters leave alone."""
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
