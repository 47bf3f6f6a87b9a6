"""Model files that are programs: refused, unless the user trusts the very file; then checked first, and opened."""

from __future__ import annotations

import contextlib
import copy
import io
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import torch
from torch import nn

from auditkit.evidence.messages import Message
from auditkit.models.base import Match, OpenOptions, Source, Trust
from auditkit.models.capabilities import Capability, Differentiable, Layered
from auditkit.models.formats import archive
from auditkit.models.formats.pickles import Refused
from auditkit.models.formats.preflight import check_export

if TYPE_CHECKING:
    from auditkit.models.model import Model

TRUST = "--trust-model"
HOOKS_NOTHING = Message("the model is a compiled graph: methods that hook its layers would be silently wrong")
LACKS: dict[type[Capability], str] = {Layered: HOOKS_NOTHING}


class ExportedFormat:
    """Archives of `torch.export.save`."""

    def recognise(self, source: Source) -> Match | None:
        """Return a match where the file holds an exported program."""
        from auditkit.models.formats.trusted import match_program

        return match_program(source, "torch.export", TRUST, LACKS)

    def open(self, source: Source, trust: Trust, config: OpenOptions) -> Model:
        """Return the model; opening it runs its author's code."""
        from auditkit.models.formats.trusted import open_trusted
        from auditkit.models.refit import FromGraph

        return open_trusted(
            source,
            trust,
            config,
            option=TRUST,
            open_bytes=_open,
            capabilities=(Differentiable, FromGraph),
            lacks=LACKS,
        )


@dataclass(frozen=True)
class Opened:
    """What a trusted file held: for a pickle anything, else a module; `notes` is what the report must say about it."""

    module: Any
    notes: tuple[str, ...] = ()


SAVE_WEIGHTS = (
    "Where it was made, save its weights, torch.save(model.state_dict(), 'weights.pt'), and pass them with "
    "--architecture package.module:factory"
)


def refusal(option: str | None, what: str, sha256: str, weights: str = SAVE_WEIGHTS) -> str:
    """Return the refusal of a program that `option` opens, if any, with the remedies ready to paste."""
    if option is None:
        return f"refused: {what}. {weights}."
    trust = Message("{option} sha256:{sha256}", option=option, sha256=sha256)
    return f"refused: {what}. {weights}; or, only for a file of your own, run what is inside: {trust}"


@contextlib.contextmanager
def running_code() -> Iterator[None]:
    """Run the code of a file that the user trusts; whatever it raises becomes a Refused."""
    try:
        with warnings.catch_warnings():
            # torch.jit is deprecated; so is much that old files hold. Neither is the reader's business here.
            warnings.simplefilter("ignore")
            yield
    except Refused:
        raise
    except Exception as error:  # the file's own code may raise anything; that is bad input
        lines = str(error).strip().splitlines() or [""]
        raise Refused(f"cannot be opened: {type(error).__name__}: {lines[0].rstrip('.')}") from error


def _open(content: bytes) -> Opened:
    with running_code():
        return _open_export(content)


def _open_export(content: bytes) -> Opened:
    check_export(content)
    program = torch.export.load(archive.copied(io.BytesIO(content)))
    batch = _fixed_batch(program)
    notes: tuple[str, ...] = ()
    if batch is not None:
        notes = (
            Message(
                "The program was exported for batches of exactly {batch:,} rows: rows were passed in such "
                "batches, the last one filled up with copies of its last row.",
                batch=batch,
            ),
        )
    return Opened(ExportedNetwork(program, batch), notes)


def _fixed_batch(program: torch.export.ExportedProgram) -> int | None:
    """Return the number of rows that a program was exported for, None if any number will do."""
    inputs = set(program.graph_signature.user_inputs)
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in inputs and getattr(node.meta.get("val"), "ndim", 0):
            rows = node.meta["val"].shape[0]
            return rows if isinstance(rows, int) else None
    return None


class ExportedNetwork(nn.Module):
    """An exported program as a module that takes any number of rows, and that may be put into eval mode.

    Its weights are those of `network`; `program`, which copies of the module share, is as it was opened.
    """

    def __init__(self, program: torch.export.ExportedProgram, batch: int | None) -> None:
        super().__init__()
        self.program = program
        self.network = program.module()
        self.batch = batch
        _tie(self.network)

    @property
    def training_notes(self) -> tuple[str, ...]:
        """What must be said of a training of this program."""
        notes = [Message("The program was trained as it was exported: without dropout, if the network had any.")]
        if self.batch is not None and self.batch > 1:
            notes.append(
                Message(
                    "The program takes exactly {batch:,} rows at once: the gradient of each row was taken from a "
                    "batch of its copies, which takes as long as {batch:,} rows.",
                    batch=self.batch,
                )
            )
        return tuple(notes)

    def train(self, mode: bool = True) -> ExportedNetwork:
        """Do nothing: a program was exported in one mode and stays in it."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> ExportedNetwork:
        """Copy the program, without what torch then says about deprecated parts of its own."""
        copied = ExportedNetwork.__new__(ExportedNetwork)
        nn.Module.__init__(copied)
        copied.program = self.program
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            copied.network = copy.deepcopy(self.network, memo)
        copied.batch = self.batch
        return copied

    def forward(self, inputs: torch.Tensor) -> Any:
        """Return the outputs of the program, (rows, ...)."""
        if self.batch is None:
            return self.network(inputs)
        outputs = []
        for part in torch.split(inputs, self.batch):
            filled = torch.cat([part, part[-1:].expand(self.batch - len(part), *part.shape[1:])])
            outputs.append(self.network(filled)[: len(part)])
        return torch.cat(outputs)


def _tie(network: nn.Module) -> None:
    """Make parameters that share their numbers one parameter again, as they were before the export."""
    known: dict[tuple[Any, ...], nn.Parameter] = {}
    for name, parameter in list(network.named_parameters(remove_duplicate=False)):
        place = (parameter.data_ptr(), parameter.shape, parameter.stride()) if parameter.numel() else (name,)
        owner, _, short = name.rpartition(".")
        setattr(network.get_submodule(owner), short, known.setdefault(place, parameter))


def program_in(module: nn.Module) -> ExportedNetwork | None:
    """Return the exported program that a module is or wraps, None if there is none."""
    return next((part for part in module.modules() if isinstance(part, ExportedNetwork)), None)


def save_program(file: IO[bytes], network: ExportedNetwork, words: Mapping[str, str]) -> None:
    """Write a program with the weights that its module has now, and words as files of the archive.

    The inputs that it was exported with are left out: they may be rows of somebody's data.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about what is deprecated inside of torch
        copied = io.BytesIO()
        torch.export.save(network.program, copied)
        program = torch.export.load(copied)
        program.example_inputs = None
        now = network.network.state_dict()
        with torch.no_grad():
            for name, value in program.state_dict.items():
                value.copy_(now[name])
        torch.export.save(program, file, extra_files=dict(words))
