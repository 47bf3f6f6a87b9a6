"""ONNX files: graphs of known operators, run by onnxruntime (auditkit[onnx])."""

from __future__ import annotations

import re

import onnxruntime

from auditkit.errors import ModelFileError
from auditkit.evidence.messages import Message
from auditkit.models.base import Match, OpenOptions, Source, Trust
from auditkit.models.formats.kinds import looks_like_onnx
from auditkit.models.from_columns import model_of
from auditkit.models.model import ONLY_PREDICTS, Model, first_line
from auditkit.models.onnx import LACKS, input_names, session_model
from auditkit.schema.schema import Schema

MOST_BYTES = 2**31
EXTERNAL = re.compile(rb"(?:\x0a|\x8a\x80*\x00)(?:\x08|\x88\x80*\x00)location")
"""How an entry begins that says in which other file a tensor lies; protobuf reads numbers with idle bytes, too."""


class OnnxFormat:
    """Files of an ONNX model, whole in one file."""

    def recognise(self, source: Source) -> Match | None:
        """Return a match where the file begins as an ONNX protobuf does."""
        if not looks_like_onnx(source):
            return None
        return Match("ONNX", lacks=ONLY_PREDICTS | LACKS, check=lambda options: _check(source))

    def open(self, source: Source, trust: Trust, config: OpenOptions) -> Model:
        """Return the model: of one matrix, or, where its inputs are called as columns are, of the columns."""
        for option in trust.given():
            raise ModelFileError(f"{source.name}: is an ONNX model, which needs no trust; leave {option} out.")
        session = _session(source)
        found = {"name": source.path.stem, "path": str(source.path), "sha256": source.sha256}
        names = input_names(session)
        if config.columns is not None and not config.own_inputs and config.columns.has(names):
            made = config.columns.predictor(session, source.path.name)
            return model_of(made, kind="ONNX", trust=Message("a graph of known operators, run by onnxruntime"), **found)
        if config.schema is None:
            raise ModelFileError(f"{source.name}: has no schema of its inputs and outputs; pass --schema schema.json.")
        schema = config.schema if isinstance(config.schema, Schema) else config.schema()
        return session_model(session, schema, **found)


def _check(source: Source) -> None:
    _session(source)


def _session(source: Source) -> onnxruntime.InferenceSession:
    """Return the session of a file.

    Raises:
        ModelFileError: it is too large, not whole, or onnxruntime cannot open it.
    """
    if source.byte_count > MOST_BYTES:
        raise ModelFileError(f"{source.name}: has {source.byte_count:,} bytes, and may have {MOST_BYTES:,}.")
    content = source.content()
    if EXTERNAL.search(content):
        raise ModelFileError(f"{source.name}: keeps weights in other files; save it whole in one file.")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises types of its own for a damaged file
        raise ModelFileError(f"{source.name}: onnxruntime cannot open it: {first_line(error)}.") from error
