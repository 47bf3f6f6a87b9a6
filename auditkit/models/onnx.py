"""ONNX models run by onnxruntime: as a network of tensors, or as a predictor of columns where inputs are named so."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from auditkit.errors import ModelFileError
from auditkit.evidence.messages import Message
from auditkit.models.capabilities import Capability, Differentiable, Refittable
from auditkit.models.model import Model, first_line
from auditkit.models.networks import OutsideTorch
from auditkit.schema.schema import Schema

SECONDS = 600
"""So long may one batch take: a loop of the graph may state 2**62 rounds."""

TYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16,
    "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(bool)": np.bool_,
}  # fmt: skip
"""The types of inputs that numbers are cast to; texts stay as they are."""


LACKS: dict[type[Capability], str] = {
    Differentiable: Message("an ONNX model gives outputs and no gradient"),
    Refittable: Message("fresh weights cannot be drawn: an ONNX model has no architecture to build anew"),
}


class OnnxNetwork(OutsideTorch, nn.Module):
    """An ONNX model as a module of tensors, in the order or by the names of its inputs. It has no gradient."""

    def __init__(self, session: Any) -> None:
        super().__init__()
        self.session = session

    def __deepcopy__(self, memo: dict[int, Any]) -> OnnxNetwork:
        """Return another module of the same session, which never changes."""
        return OnnxNetwork(self.session)

    def forward(self, *inputs: torch.Tensor, **named: torch.Tensor) -> torch.Tensor:
        """Return the outputs, (rows, ...)."""
        given = named or dict(zip([one.name for one in self.session.get_inputs()], inputs, strict=True))
        arrays = {name: part.detach().cpu().numpy() for name, part in given.items()}
        found = run(self.session, arrays)
        return torch.from_numpy(found).to(next(iter(given.values())).device)


class OnnxColumns(nn.Module):
    """An ONNX model whose inputs are called as columns are, as skl2onnx makes it: each is fed one column."""

    def __init__(self, session: Any) -> None:
        super().__init__()
        self.session = session

    def __deepcopy__(self, memo: dict[int, Any]) -> OnnxColumns:
        """Return another module of the same session, which never changes."""
        return OnnxColumns(self.session)

    def outputs(self, frame: pd.DataFrame, device: torch.device) -> torch.Tensor:
        """Return the outputs, (rows, ...)."""
        given = {one.name: _column(frame, one) for one in self.session.get_inputs()}
        return torch.from_numpy(run(self.session, given)).to(device)


def _column(frame: pd.DataFrame, node: Any) -> NDArray[Any]:
    """Return what one input is fed, (rows, 1); a missing text is the empty one, since ONNX knows none."""
    column = frame[[node.name]]
    return (column if node.type in TYPES else column.astype(object).where(column.notna(), "")).to_numpy()


def is_session(thing: Any) -> bool:
    """Return whether an object is an inference session of onnxruntime."""
    return hasattr(thing, "get_inputs") and hasattr(thing, "run")


def session_model(
    session: Any, schema: Schema, *, name: str = "model", path: str | None = None, sha256: str | None = None
) -> Model:
    """Return the Model of an ONNX model that takes tensors."""
    return Model(
        name=name,
        module=OnnxNetwork(session).eval(),
        schema=schema,
        card=None,
        path=path,
        sha256=sha256,
        kind="ONNX",
        trust=Message("a graph of known operators, run by onnxruntime"),
        capabilities=(),
        lacks=LACKS,
    )


def input_names(session: Any) -> tuple[str, ...]:
    """Return the names of a session's inputs."""
    return tuple(one.name for one in session.get_inputs())


def run(session: Any, given: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
    """Return a session's outputs for rows: those called probabilities where there are such, else the first.

    A model of a fixed batch is given batches of that size, the last filled up with copies of its last row.
    """
    inputs = session.get_inputs()
    unknown = [name for name in given if name not in {one.name for one in inputs}]
    if unknown or len(given) < len(inputs):
        listed = ", ".join(one.name for one in inputs)
        raise ModelFileError(f"model: its inputs are {listed}, and it was given {', '.join(given)}.")
    cast = {
        one.name: given[one.name].astype(TYPES[one.type]) if one.type in TYPES else given[one.name].astype(str)
        for one in inputs
    }
    outputs = [output.name for output in session.get_outputs()]
    chosen = next((name for name in outputs if "prob" in name.lower()), outputs[0])
    fixed = next((one.shape[0] for one in inputs if one.shape and isinstance(one.shape[0], int)), None)
    row_count = len(next(iter(cast.values())))
    step = fixed or row_count
    parts = []
    for start in range(0, row_count, step):
        part = {name: _filled(array[start : start + step], step) for name, array in cast.items()}
        found = _run_once(session, chosen, part)
        if isinstance(found, list):  # a ZipMap: one dictionary a row, by class
            found = np.array([list(row.values()) for row in found])
        parts.append(np.asarray(found, dtype=np.float64)[: row_count - start])
    return np.concatenate(parts)


def _run_once(session: Any, output: str, given: dict[str, NDArray[Any]]) -> Any:
    """Return one output of a graph for one batch; whatever ends the run, and time, is an error of the model."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    timer = threading.Timer(SECONDS, setattr, (options, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        (found,) = session.run([output], given, options)
    except Exception as error:  # onnxruntime raises types of its own
        late = f" within {SECONDS} seconds" if options.terminate else ""
        raise ModelFileError(
            f"model: onnxruntime cannot run it{late}: {first_line(error).rstrip('.')}. It reads {_inputs(session)}; "
            "--preprocess my_module:function makes such inputs of the columns."
        ) from error
    finally:
        timer.cancel()
    return found


def _inputs(session: Any) -> str:
    """Return the inputs of a session with their shapes, in words."""
    shapes = (
        (one.name, " x ".join(str(size) if isinstance(size, int) else "any" for size in one.shape))
        for one in session.get_inputs()
    )
    return ", ".join(f"{name} ({shape})" for name, shape in shapes)


def _filled(rows: NDArray[Any], count: int) -> NDArray[Any]:
    return rows if len(rows) == count else np.concatenate([rows, np.repeat(rows[-1:], count - len(rows), axis=0)])
