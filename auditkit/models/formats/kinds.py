"""What a file that no installed format opens looks like, and what would open it; told by its first bytes."""

from __future__ import annotations

from auditkit.extras import install_extra
from auditkit.models.base import Source

XGBOOST = "an XGBoost model file; load it in Python and pass it to auditkit.audit"
CORE_ML = "a Core ML model; export the network that it was converted from by torch.onnx.export or tf2onnx"
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
    if source.head[4:8] == b"TFL3":
        return "a TensorFlow Lite model; convert it to ONNX with tf2onnx (--tflite)"
    if _looks_like_core_ml(source):
        return CORE_ML
    if looks_like_onnx(source):
        return f"an ONNX model; {install_extra('onnx')}"
    if source.path.suffix == ".skops" and source.head.startswith(b"PK"):
        return f"a skops file of a scikit-learn model; {install_extra('sklearn')}"
    return None


def looks_like_onnx(source: Source) -> bool:
    """Return whether a file begins as an ONNX protobuf does: its version, and who made it."""
    head = source.head
    if _looks_like_core_ml(source):
        return False
    return len(head) > 4 and head[0] == 0x08 and head[1] < 32 and head[2] in (0x12, 0x3A, 0x42)


def _looks_like_core_ml(source: Source) -> bool:
    """Return whether a file begins as a Core ML protobuf does: its version, and inputs where ONNX has a name."""
    head = source.head
    if len(head) < 5 or head[0] != 0x08 or head[1] >= 32 or head[2] != 0x12:
        return False
    size = next((place for place, byte in enumerate(head[3:13]) if byte < 0x80), 0)  # a number ends with such a byte
    return head[4 + size : 5 + size] == b"\x0a"


def _name_of_folder(source: Source) -> str:
    names = {path.name for path in source.path.iterdir()}
    if "saved_model.pb" in names:
        return "a TensorFlow SavedModel; convert it to ONNX with tf2onnx"
    if names & {"config.json", "adapter_config.json"}:
        return f"a Hugging Face model folder; {install_extra('hf')}"
    if names >= {"Manifest.json", "Data"}:
        return CORE_ML
    if "MLmodel" in names:
        return "an MLflow model folder; pass the model file inside of it"
    return "is a folder, and none of a Hugging Face model (no config.json); pass the model file, such as model.pt"
