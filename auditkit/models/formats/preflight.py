"""What a program may hold to be opened at all, even where the user trusts it: a network's graph, and nothing else.

`torch.export.load` evaluates shape expressions, guards and tree contexts as Python, unpickles what a config says is a
pickle, and loads native code; a TorchScript program can name operators that read and write files.
"""

from __future__ import annotations

import ast
import io
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from auditkit.documents import parse_json
from auditkit.models.formats.archive import check_sums, folder_of, open_zip, read_archive
from auditkit.models.formats.pickles import ITEM_BYTES, Program, Refused

MAXIMUM_JSON_BYTES = 64 * 2**20
MAXIMUM_CODE_BYTES = 64 * 2**20
MAXIMUM_EXPRESSION = 2_000

EXPORT_MEMBERS = re.compile(
    r"archive_format|archive_version|byteorder|\.data/(version|serialization_id)|models/model\.json"
    r"|data/weights/(weight_\d+|model_weights_config\.json)|data/constants/(tensor_\d+|model_constants_config\.json)"
    r"|data/sample_inputs/model\.pt|extra/[\w-]+(\.[\w-]+)*"
)
OPERATORS = re.compile(
    r"torch\.ops\.aten\.\w+\.\w+|torch\.ops\.higher_order\.(cond|while_loop|scan|map_impl|wrap_with_set_grad_enabled)"
    r"|_operator\.\w+|math\.\w+|torch\.sym_(int|float|max|min|not|sum|ite)"
)
SIDE_EFFECTS = re.compile(r"\b(from_file|save|load|_print|warn|print)\b")
NAME = re.compile(r"[\w.]*")
NAMES = ("name", "parameter_name", "buffer_name", "target_name", "tensor_constant_name", "user_input_name", "fqn")
CODED = {"builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict", None}
FUNCTIONS = {
    "Symbol", "Integer", "Rational", "Float", "Add", "Mul", "Max", "Min", "Mod", "PythonMod", "FloorDiv", "CleanDiv",
    "CeilDiv", "Eq", "Ne", "Le", "Lt", "Ge", "Gt", "And", "Or", "Not", "true", "false", "True", "False", "Abs",
}  # fmt: skip
"""What a shape expression may call. No power: `9**9**9` never ends."""

ARITHMETIC = (
    ast.Expression, ast.Load, ast.BinOp, ast.UnaryOp, ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod, ast.USub,
    ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE,
)  # fmt: skip

TYPES = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64", 12: "bool",
    13: "bfloat16",
}  # fmt: skip
"""torch._export.serde.schema.ScalarType."""


def check_export(content: bytes) -> None:
    """Refuse a torch.export archive that holds more than a graph of torch's own operators and plain weights.

    Raises:
        Refused: a pickle, a native library, a path or a member of another kind, an expression, a guard, a tree
            context or an operator that is not plain, or weights that are not all there.
    """
    with open_zip(io.BytesIO(content), len(content)) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise Refused("has compressed members, which torch.export never writes")
        prefix = folder_of(archive)
        sizes = {member.filename.removeprefix(prefix): member.file_size for member in archive.infolist()}
        for name in sizes:
            if not EXPORT_MEMBERS.fullmatch(name):
                raise Refused(f"holds {name[:80]!r}, which is no part of a plain exported network; export it again")
        check_sums(archive)
        for folder in ("weights", "constants"):
            config = _json(archive, prefix, f"data/{folder}/model_{folder}_config.json", sizes)
            _check_tensors(config, folder, sizes)
        samples = (
            archive.read(f"{prefix}data/sample_inputs/model.pt") if "data/sample_inputs/model.pt" in sizes else b""
        )
        model = _json(archive, prefix, "models/model.json", sizes)
    if samples:
        try:
            read_archive(io.BytesIO(samples), len(samples))
        except Program as error:
            raise Refused(f"holds sample inputs that are {error}") from error
        except Refused as error:
            raise Refused(f"its file of sample inputs {error}") from error
    try:
        _check_graph(model)
    except RecursionError as error:
        raise Refused("holds a graph that is nested too deeply") from error


def check_torchscript(content: bytes) -> None:
    """Refuse a TorchScript archive that inflates, or whose code names an operator that touches files or prints.

    Raises:
        Refused: see above.
    """
    with open_zip(io.BytesIO(content), len(content)) as archive:
        prefix = folder_of(archive)
        members = archive.infolist()
        code = [member for member in members if member.filename.removeprefix(prefix).startswith("code/")]
        packed = [member for member in members if member.compress_type != zipfile.ZIP_STORED]
        if (
            any(member not in code for member in packed)
            or sum(member.file_size for member in code) > MAXIMUM_CODE_BYTES
        ):
            raise Refused("has compressed members that are no code, or that inflate without bound")
        for member in members:
            name = member.filename.removeprefix(prefix)
            if ".." in name.split("/") or name.startswith("/") or name.endswith((".so", ".dll", ".dylib")):
                raise Refused(f"holds {name[:80]!r}, which is no part of a network")
        check_sums(archive)
        for member in code:
            if member.filename.endswith(".py"):
                _check_script(member.filename.removeprefix(prefix), archive.read(member).decode("utf-8", "replace"))


def _check_script(name: str, text: str) -> None:
    called = re.findall(r"\b(?:torch|ops)\.([\w.]+)\(", text)
    for operator in called:
        if SIDE_EFFECTS.search(operator):
            raise Refused(f"calls torch.{operator} in {name[:80]}, which reads or writes outside the network")
        if re.search(rf"\bops\.{re.escape(operator)}\(", text) and not operator.startswith(("prim.", "aten.")):
            raise Refused(f"calls the operator {operator[:80]}, which is not torch's own")
    if re.search(r"\b(print|open|exec|eval)\(", text):
        raise Refused(f"prints, or calls Python, in {name[:80]}")


def _json(archive: zipfile.ZipFile, prefix: str, name: str, sizes: Mapping[str, int]) -> Any:
    if name not in sizes:
        raise Refused(f"has no {name}: it is of another version of torch.export; export it again")
    if sizes[name] > MAXIMUM_JSON_BYTES:
        raise Refused(f"has a {name} of more than {MAXIMUM_JSON_BYTES:,} bytes")
    try:
        return parse_json(archive.read(prefix + name))
    except ValueError as error:
        raise Refused(f"is damaged: {name} is not JSON") from error


def _check_tensors(config: Any, folder: str, sizes: Mapping[str, int]) -> None:
    try:
        for name, entry in config["config"].items():
            path, meta = entry["path_name"], entry["tensor_meta"]
            if entry["use_pickle"] is not False or not re.fullmatch(r"(weight|tensor)_\d+", path):
                raise Refused(f"says that {name[:80]!r} is a pickle or an object; only plain tensors are opened")
            shape = [_integer(size) for size in meta["sizes"]]
            strides = [_integer(stride) for stride in meta["strides"]]
            reached = _integer(meta["storage_offset"]) + 1
            reached += sum((width - 1) * stride for width, stride in zip(shape, strides, strict=True))
            count = 1
            for width in shape:
                count *= width
            held = sizes[f"data/{folder}/{path}"] // ITEM_BYTES[TYPES[meta["dtype"]]]
            if count > held or (count and reached > held):
                raise Refused(f"holds a tensor {name[:80]!r} of {count:,} numbers, and its storage has {held:,}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Refused(f"is damaged: the list of its {folder} cannot be read ({type(error).__name__})") from error


def _integer(size: Any) -> int:
    number = size["as_int"]
    if type(number) is not int or number < 0:
        raise ValueError
    return number


def _check_graph(model: Any) -> None:
    if not isinstance(model, dict):
        raise Refused("is damaged: its graph is no JSON object")
    for symbol in model.get("range_constraints") or {}:
        if not re.fullmatch(r"[a-z]\w{0,20}", symbol):
            raise Refused(f"holds the symbol {symbol[:80]!r}, which is no plain name")
    for guard in model.get("guards_code") or []:
        _check_guard(guard)
    for key, value in _walk(model):
        if key in CHECKS:
            CHECKS[key](value)


def _check_operator(name: Any) -> None:
    if not (isinstance(name, str) and _is_operator(name)):
        raise Refused(f"calls {str(name)[:80]!r}, which is no plain operator of torch")


def _check_name(name: Any) -> None:
    if not (name is None or isinstance(name, dict | list) or NAME.fullmatch(str(name))):
        raise Refused(f"holds the name {str(name)[:80]!r}, which is no plain name")


def _check_argument_names(names: Any) -> None:
    for name in names or []:
        if not (isinstance(name, str) and name.isidentifier()):
            raise Refused(f"holds the name {str(name)[:80]!r}, which is no plain name")


def _check_no_objects(value: Any) -> None:
    if value:
        raise Refused("holds objects of its author's classes")


def _is_operator(name: str) -> bool:
    return OPERATORS.fullmatch(name) is not None and SIDE_EFFECTS.search(name) is None


def _walk(part: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "metadata":  # where a node came from: texts, which torch keeps as texts
                continue
            yield key, value
            yield from _walk(value)
    elif isinstance(part, list):
        for value in part:
            yield from _walk(value)


def _check_tree(text: Any) -> None:
    """Refuse a description of nested inputs whose types or contexts torch would import or evaluate."""
    try:
        version, root = parse_json(text)
        parts = [root]
        while parts:
            part = parts.pop()
            context = part["context"]
            if part["type"] not in CODED or not (context is None or _is_plain_context(parse_json(context))):
                raise Refused(f"nests its inputs in {str(part['type'])[:80]!r}; only tuples, lists and dictionaries do")
            parts += part["children_spec"]
    except (ValueError, TypeError, KeyError) as error:
        raise Refused("is damaged: the nesting of its inputs cannot be read") from error
    if version != 1:
        raise Refused("describes the nesting of its inputs in an unknown version")


def _is_plain_context(context: Any) -> bool:
    return context is None or (isinstance(context, list) and all(isinstance(key, str | int) for key in context))


def _check_expression(text: Any) -> None:
    """Refuse a shape expression that is more than arithmetic over symbols: torch evaluates it as Python."""
    allowed = (*ARITHMETIC, ast.Div, ast.keyword)
    for node in ast.walk(_parsed(text)):
        plain = (
            (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS)
            or (isinstance(node, ast.Name) and (node.id in FUNCTIONS or re.fullmatch(r"[suzf]\d+", node.id)))
            or (isinstance(node, ast.Constant) and _is_plain_constant(node.value))
        )
        if not plain and not isinstance(node, allowed):
            raise Refused(f"holds the shape expression {text[:80]!r}, which is more than arithmetic")


def _check_guard(text: Any) -> None:
    """Refuse a guard that is more than a comparison of the sizes of inputs: torch runs it as Python."""
    allowed = (*ARITHMETIC, ast.BoolOp, ast.And, ast.Or, ast.Not, ast.Subscript)
    for node in ast.walk(_parsed(text)):
        plain = (
            (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and not node.args
                and not node.keywords
            )
            or (isinstance(node, ast.Attribute) and node.attr in ("size", "shape", "stride", "dim", "ndim"))
            or (isinstance(node, ast.Name) and node.id == "L")
            or (isinstance(node, ast.Constant) and (_is_plain_constant(node.value) or isinstance(node.value, float)))
        )
        if not plain and not isinstance(node, allowed):
            raise Refused(f"holds the guard {text[:80]!r}, which is more than a comparison of sizes")


def _parsed(text: Any) -> ast.Expression:
    if not isinstance(text, str) or len(text) > MAXIMUM_EXPRESSION:
        raise Refused("holds an expression that is too long")
    try:
        return ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise Refused(f"holds the expression {text[:80]!r}, which cannot be read") from error


def _is_plain_constant(value: object) -> bool:
    if isinstance(value, str):
        return re.fullmatch(r"\w{1,80}", value) is not None
    return isinstance(value, int) and abs(value) < 2**63


CHECKS: dict[str, Callable[[Any], None]] = {
    **dict.fromkeys(NAMES, _check_name),
    **dict.fromkeys(("target", "as_operator"), _check_operator),
    **dict.fromkeys(("in_spec", "out_spec"), _check_tree),
    **dict.fromkeys(("custom_obj_values", "as_custom_obj", "treespec_namedtuple_fields"), _check_no_objects),
    "expr_str": _check_expression,
    "forward_arg_names": _check_argument_names,
}
"""What refuses the value of a key, wherever in the graph it stands."""
