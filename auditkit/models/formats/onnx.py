"""ONNX files: graphs of known operators, run by onnxruntime (auditkit[onnx])."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnxruntime
import torch

from auditkit import files
from auditkit.budgets import MODEL_BYTES
from auditkit.errors import ModelFileError
from auditkit.evidence.messages import Message
from auditkit.models.base import InputSpec, Match, OpenOptions, Source, Trust
from auditkit.models.formats.kinds import looks_like_onnx
from auditkit.models.formats.weights import check_finite
from auditkit.models.from_columns import model_of
from auditkit.models.model import ONLY_PREDICTS, Model, first_line
from auditkit.models.onnx import LACKS, input_names, session_model
from auditkit.schema.schema import Schema

MOST_BYTES = 2**31
EXTERNAL = re.compile(rb"(?:\x0a|\x8a\x80*\x00)(?:\x08|\x88\x80*\x00)location")
"""How an entry begins that says in which other file a tensor lies; protobuf reads numbers with idle bytes, too."""

DATA = ".data"
"""What torch.onnx.export puts behind the name of a model to name the file of its weights, which it writes beside it."""

PRODUCTS = frozenset(
    {"Conv", "ConvTranspose", "Gather", "Gemm", "GRU", "LayerNormalization", "LSTM", "MatMul", "Mul", "RNN"}
)
"""Operators whose tensors are weights. Others may be infinite: a mask where nothing may be read, or a bound."""

WHOLE = "save it whole in one file: torch.onnx.export(..., external_data=False), or onnx.save(onnx.load(path), path)"


class OnnxFormat:
    """Files of an ONNX model, whole in one file, or with the weights in one beside it that is called as torch does."""

    def recognise(self, source: Source) -> Match | None:
        """Return a match where the file begins as an ONNX protobuf does."""
        if not looks_like_onnx(source):
            return None
        content = functools.cache(lambda: _content(source)[0])
        session = functools.cache(lambda: _session(source.name, content()))

        def check(options: OpenOptions) -> None:
            session()
            _check_weights(source.name, content())

        return Match(
            "ONNX", lacks=ONLY_PREDICTS | LACKS, check=check, inputs=lambda: tuple(map(_spec, session().get_inputs()))
        )

    def open(self, source: Source, trust: Trust, config: OpenOptions) -> Model:
        """Return the model: of one matrix, or, where its inputs are called as columns are, of the columns."""
        for option in trust.given():
            raise ModelFileError(f"{source.name}: is an ONNX model, which needs no trust; leave {option} out.")
        content, digest = _content(source)
        session = _session(source.name, content)
        found = {"name": source.path.stem, "path": str(source.path), "sha256": digest}
        names = input_names(session)
        if config.columns is not None and not config.own_inputs and config.columns.has(names):
            made = config.columns.predictor(session, source.path.name)
            return model_of(made, kind="ONNX", trust=Message("a graph of known operators, run by onnxruntime"), **found)
        if config.schema is None:
            raise ModelFileError(f"{source.name}: has no schema of its inputs and outputs; pass --schema schema.json.")
        schema = config.schema if isinstance(config.schema, Schema) else config.schema()
        return session_model(session, schema, **found)


def _spec(node: Any) -> InputSpec:
    """Return name, shape and type of an input of a session."""
    return node.name, tuple(node.shape), node.type


def _content(source: Source) -> tuple[bytes, str]:
    """Return a model with all of its weights in it, and the hash of the files that they came from.

    Raises:
        ModelFileError: it is too large, or not whole.
    """
    _require_size(source.name, source.byte_count)
    content = source.content()
    return _with_weights_beside(source, content) if EXTERNAL.search(content) else (content, source.sha256)


def _session(name: str, content: bytes) -> onnxruntime.InferenceSession:
    """Return the session of a model.

    Raises:
        ModelFileError: onnxruntime cannot open it.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises types of its own for a damaged file
        raise ModelFileError(f"{name}: onnxruntime cannot open it: {first_line(error)}.") from error


def _check_weights(name: str, content: bytes) -> None:
    """Raise ModelFileError where a tensor of a model holds NaN, or a weight infinity; nothing is run."""
    import onnx

    model = onnx.ModelProto.FromString(content)
    kinds = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16)
    factors = {read for node in model.graph.node if node.op_type in PRODUCTS for read in node.input}
    for tensor in _tensors(model, onnx.TensorProto):
        if tensor.data_type in kinds:
            values = onnx.numpy_helper.to_array(tensor)
            kept = values if tensor.name in factors else np.where(np.isinf(values), 0, values)
            check_finite(name, {tensor.name or "(a constant)": torch.from_numpy(np.array(kept))})
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name in ("coefficients", "intercepts"):  # of the linear models of ai.onnx.ml
                check_finite(name, {f"{node.name}: {attribute.name}": torch.tensor(list(attribute.floats))})


def _require_size(name: str, byte_count: int) -> None:
    if byte_count > MOST_BYTES:
        raise ModelFileError(f"{name}: has {byte_count:,} bytes, and may have {MOST_BYTES:,}.")


def _with_weights_beside(source: Source, content: bytes) -> tuple[bytes, str]:
    """Return a model with the weights of the file beside it in it, and the hash of both files.

    Raises:
        ModelFileError: a tensor lies in a file of another name or outside of the file, or there is no such file.
    """
    import onnx

    try:
        model = onnx.ModelProto.FromString(content)
    except Exception as error:  # protobuf raises types of its own for a damaged file
        raise ModelFileError(f"{source.name}: is damaged: {first_line(error)}.") from error
    model.DiscardUnknownFields()  # so that onnxruntime sees no field that is not looked at here
    elsewhere = [one for one in _tensors(model, onnx.TensorProto) if one.external_data or one.HasField("data_location")]
    stated = [{one.key: one.value for one in tensor.external_data} for tensor in elsewhere]
    beside = source.path.with_name(source.path.name + DATA)
    if any(words.get("location") != beside.name for words in stated):
        raise ModelFileError(f"{source.name}: keeps weights in a file that is not called {beside.name}; {WHOLE}.")
    of_weights = f"{source.name}: its weights in {beside.name}"
    with files.opened(
        beside, of_weights, budget=MODEL_BYTES, within=beside.parent, remedy=WHOLE, error=ModelFileError
    ) as file:
        digest = files.digest(file)
        file.seek(0)
        data = file.read()
    claimed = len(content)
    for tensor, words in zip(elsewhere, stated, strict=True):
        start, end = _place(of_weights, words, len(data))
        claimed += end - start
        _require_size(source.name, claimed)
        tensor.raw_data = data[start:end]
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
    return model.SerializeToString(), hashlib.sha256(f"{source.sha256} {digest}".encode()).hexdigest()


def _place(name: str, stated: dict[str, str], byte_count: int) -> tuple[int, int]:
    """Return the first byte of a tensor in the file of the weights, and the one behind its last."""
    try:
        start = int(stated.get("offset", "0"))
        end = start + int(stated.get("length", byte_count - start))
    except ValueError as error:
        raise ModelFileError(f"{name}: the model is damaged: {first_line(error)}.") from error
    if not 0 <= start <= end <= byte_count:
        raise ModelFileError(
            f"{name}: a weight takes the bytes from {start:,} to {end:,}, and there are {byte_count:,}; export the "
            "model again."
        )
    return start, end


def _tensors(message: Any, kind: type) -> Iterator[Any]:
    """Yield every tensor of a message of protobuf, however deep it lies."""
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for part in (value,) if hasattr(value, "ListFields") else value:
            if isinstance(part, kind):
                yield part
            yield from _tensors(part, kind)
