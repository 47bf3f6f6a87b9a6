"""What a file that no installed format opens looks like, and what would open it; told by its first bytes."""

from __future__ import annotations

from auditkit.extras import install_extra
from auditkit.models.base import Source

XGBOOST = "an XGBoost model file; load it in Python and pass it to auditkit.audit"
HEADS: tuple[tuple[bytes, str], ...] = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, such as Keras saves; convert the model to ONNX with tf2onnx"),
    (b"tree\nversion=", "a LightGBM model file; load it in Python and pass it to auditkit.audit"),
    (b'{"learner":', XGBOOST),
    (
        b"{L\x00\x00\x00\x00\x00\x00\x00\x07learner",
        "an XGBoost model file; load it in Python and pass it to auditkit.audit",
    ),
    (b"\xba\x16\x4f\x2f", "a fastText model, whose vectors are computed from parts of words; save them as a .vec file"),
    (b"PMML", "a PMML file, which auditkit does not read"),
)


def name_of(source: Source) -> str | None:
    """Return what a source looks like and what would open it, as a noun phrase; None where it looks like nothing."""
    if source.file is None:
        return _name_of_folder(source)
    for head, what in HEADS:
        if source.head.startswith(head):
            return what
    if looks_like_onnx(source):
        return f"an ONNX model; {install_extra('onnx')}"
    if source.path.suffix == ".skops" and source.head.startswith(b"PK"):
        return f"a skops file of a scikit-learn model; {install_extra('sklearn')}"
    return None


def looks_like_onnx(source: Source) -> bool:
    """Return whether a file begins as an ONNX protobuf does: its version, and who made it."""
    head = source.head
    return len(head) > 4 and head[0] == 0x08 and head[1] < 32 and head[2] in (0x12, 0x3A, 0x42)


def _name_of_folder(source: Source) -> str:
    names = {path.name for path in source.path.iterdir()}
    if "saved_model.pb" in names:
        return "a TensorFlow SavedModel; convert it to ONNX with tf2onnx"
    if names & {"config.json", "adapter_config.json"}:
        return f"a Hugging Face model folder; {install_extra('hf')}"
    if "MLmodel" in names:
        return "an MLflow model folder; pass the model file inside of it"
    return "is a folder, and none of a Hugging Face model (no config.json); pass the model file, such as model.pt"
