"""ONNX models as torch.onnx.export writes them since torch 2.9: the weights in a file of the same name beside it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from auditkit.errors import ModelFileError
from auditkit.models.formats.opening import open_model
from auditkit.models.model import Model
from auditkit.schema.infer import numeric_schema

WEIGHTS = np.array([[1.5, -2.0]], dtype=np.float32)
OFFSET = 16


def external(name: str, **stated: str) -> TensorProto:
    """Return the tensor of the weights, which lies in another file."""
    tensor = onnx.numpy_helper.from_array(WEIGHTS, name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in stated.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def written(path: Path, tensor: TensorProto, data: bytes | None) -> Path:
    """Write a model that multiplies by a tensor of the file beside it, in branches of a condition, and that file."""
    given, found = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, width]) for name, width in (("a", 1), ("y", 2))
    )
    inner = helper.make_tensor_value_info("w", TensorProto.FLOAT, [1, 2])
    branch = helper.make_graph([helper.make_node("Constant", [], ["w"], value=tensor)], "branch", [], [inner])
    nodes = [
        helper.make_node("If", ["yes"], ["v"], then_branch=branch, else_branch=branch),
        helper.make_node("MatMul", ["a", "v"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "graph", [given], [found], [helper.make_tensor("yes", TensorProto.BOOL, [], [1])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    if data is not None:
        path.with_name(path.name + ".data").write_bytes(data)
    return path


def opened(path: Path) -> Model:
    return open_model(path, schema=numeric_schema(["a"], target="y", classes=["no", "yes"]))


def test_weights_beside_the_model_are_those_that_it_computes_with_and_are_hashed(tmp_path: Path) -> None:
    data = b"\0" * OFFSET + WEIGHTS.tobytes()
    tensor = external("w", location="model.onnx.data", offset=str(OFFSET), length="8")
    path = written(tmp_path / "model.onnx", tensor, data)
    model = opened(path)
    assert model.module(torch.tensor([[2.0], [-1.0]])).tolist() == [[3.0, -4.0], [-1.5, 2.0]]
    digests = [hashlib.sha256(content).hexdigest() for content in (path.read_bytes(), data)]
    assert model.sha256 == hashlib.sha256(" ".join(digests).encode()).hexdigest()


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"location": "other.data"}, r"keeps weights in a file that is not called model\.onnx\.data"),
        ({"location": "../model.onnx.data"}, r"keeps weights in a file that is not called model\.onnx\.data"),
        ({"location": "model.onnx.data", "offset": "17"}, "takes the bytes from 17 to 25, and there are 24"),
        ({"location": "model.onnx.data", "offset": "-8"}, "takes the bytes from -8 to 0"),
        ({"location": "model.onnx.data", "offset": "x"}, "the model is damaged"),
    ],
)
def test_other_files_and_bytes_that_are_not_there_are_refused(
    stated: dict[str, str], said: str, tmp_path: Path
) -> None:
    (tmp_path / "other.data").write_bytes(WEIGHTS.tobytes())
    tensor = external("w", **{"length": "8", **stated})
    path = written(tmp_path / "model.onnx", tensor, b"\0" * OFFSET + WEIGHTS.tobytes())
    with pytest.raises(ModelFileError, match=said):
        opened(path)


def test_a_file_that_is_not_there_or_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    path = written(folder / "model.onnx", external("w", location="model.onnx.data"), None)
    with pytest.raises(ModelFileError, match=r"No such file or directory; save it whole in one file: torch\.onnx"):
        opened(path)
    (tmp_path / "secret").write_bytes(WEIGHTS.tobytes())
    (folder / "model.onnx.data").symlink_to(tmp_path / "secret")
    with pytest.raises(ModelFileError, match="is a link out of"):
        opened(path)
