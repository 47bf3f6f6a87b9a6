"""Graphs of ONNX that never end, or take all memory when they run, end in one line."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import auditkit.models.onnx
from auditkit.errors import ModelFileError
from auditkit.models.onnx import run


def session(nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto]) -> onnxruntime.InferenceSession:
    given, found = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "y"))
    graph = helper.make_graph(nodes, "graph", [given], [found], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def endless() -> onnxruntime.InferenceSession:
    """Return a loop of 2**62 rounds that changes nothing."""
    values: list[tuple[str, int, list[int] | None]] = [
        ("i", TensorProto.INT64, []),
        ("go", TensorProto.BOOL, []),
        ("v", TensorProto.FLOAT, None),
    ]
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["goes"]), helper.make_node("Identity", ["v"], ["w"])],
        "body",
        [helper.make_tensor_value_info(*value) for value in values],
        [
            helper.make_tensor_value_info(name, *value[1:])
            for name, value in zip(("goes", "w"), values[1:], strict=True)
        ],
    )
    loop = helper.make_node("Loop", ["n", "t", "x"], ["y"], body=body)
    rounds = helper.make_tensor("n", TensorProto.INT64, [], [2**62])
    return session([loop], [rounds, helper.make_tensor("t", TensorProto.BOOL, [], [True])])


def test_a_loop_without_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditkit.models.onnx, "SECONDS", 0.2)
    with pytest.raises(ModelFileError, match=r"cannot run it within 0\.2 seconds") as stopped:
        run(endless(), {"x": np.ones((2, 3), dtype=np.float32)})
    assert "\n" not in str(stopped.value)


def test_what_a_graph_cannot_hold_is_one_line() -> None:
    times = helper.make_tensor("s", TensorProto.INT64, [2], [2**40, 2**40])
    bomb = session([helper.make_node("Tile", ["x", "s"], ["y"])], [times])
    with pytest.raises(ModelFileError, match=r"onnxruntime cannot run it.* It reads x \(.*\); --preprocess") as refused:
        run(bomb, {"x": np.ones((2, 3), dtype=np.float32)})
    assert "\n" not in str(refused.value)
