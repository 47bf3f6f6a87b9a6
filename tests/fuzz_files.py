"""One honest file of each kind that auditkit reads, for the fuzzer to damage."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

POLICY = """
name = "fuzz"

[[limit]]
measurement = "performance.accuracy"
at_least = 0.0
rationale = "Holds whatever the data."

[[limit]]
measurement = "fairness.demographic_parity_difference"
by = ["sex"]
at_most = 1.0
optional = true
rationale = "Holds whatever the data."
"""


def write_files(folder: Path) -> None:
    """Write one honest file of each kind."""
    import pandas as pd
    import safetensors.torch
    import torch
    from PIL import Image

    from auditkit.cli import call
    from auditkit.models.architectures import build
    from auditkit.models.formats.native import save_model
    from auditkit.models.model import Card
    from auditkit.schema.infer import infer_schema

    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 90, 80).astype(str),
            "job": rng.choice(["clerk", "cook", "pilot"], 80),
            "member": rng.choice(["yes", "no"], 80),
            "sex": rng.choice(["f", "m"], 80),
            "income": rng.choice(["high", "low"], 80),
        },
        dtype=object,
    )
    frame.to_csv(folder / "data.csv", index=False)
    frame.astype({"age": int}).to_parquet(folder / "data.parquet", index=False)
    frame.to_json(folder / "data.jsonl", orient="records", lines=True)
    schema = infer_schema(frame, target="income", sensitive=["sex"])
    arguments = {"input_width": schema.input_width, "output_width": 2, "hidden": [4]}
    torch.manual_seed(0)
    module = build("mlp", arguments)
    card = Card(schema=schema, architecture="mlp", arguments=arguments, name="fuzz")
    save_model(folder / "model.pt", module, card)
    save_model(folder / "model.safetensors", module, card)
    torch.save({"state_dict": module.state_dict(), "epoch": 3}, folder / "nested.pt")
    torch.save(module.state_dict(), folder / "legacy.pt", _use_new_zipfile_serialization=False)
    safetensors.torch.save_file(module.state_dict(), folder / "bare.safetensors")
    example = torch.zeros(3, schema.input_width)
    shapes = ({0: torch.export.Dim.DYNAMIC},)
    torch.export.save(torch.export.export(module.eval(), (example,), dynamic_shapes=shapes), folder / "program.pt2")
    torch.save(module, folder / "pickled.pt")
    (folder / "schema.json").write_text(schema.model_dump_json(indent=1), encoding="utf-8")
    (folder / "arguments.json").write_text(json.dumps(arguments), encoding="utf-8")
    (folder / "policy.toml").write_text(POLICY, encoding="utf-8")
    flags = ["--policy", str(folder / "policy.toml"), "--only", "performance", "--only", "fairness", "--quiet"]
    call(["run", str(folder / "model.pt"), "--dataset", str(folder / "data.csv"), "--out", str(folder / "run"), *flags])
    shutil.copy(folder / "run" / "results.json", folder / "results.json")
    write_words(folder)
    write_other_models(folder, frame)
    numbers = np.random.default_rng(1).random((80, 2))
    np.savez_compressed(
        folder / "data.npz", x=numbers, sex=frame["sex"].astype(str), income=frame["income"].astype(str)
    )
    images = folder / "images"
    images.mkdir()
    for number, kind in enumerate(("png", "jpg", "gif", "bmp", "tiff", "webp", "ppm") * 2):
        picture = Image.fromarray(rng.integers(0, 255, (4, 4), dtype=np.uint8))
        picture.save(images / f"{number}.{kind}")
    lines = [f"{path.name},{'ab'[number % 2]}" for number, path in enumerate(sorted(images.iterdir()))]
    (images / "metadata.csv").write_text("\n".join(["file_name,label", *lines]) + "\n", encoding="utf-8")
    write_private_models(folder)
    write_language_model(folder)
    write_causal_model(folder)
    write_vectors(folder)
    write_logs(folder)


WORDS = {
    "auditkit.toml": (
        '[data]\ntarget = "income"\n[groups]\nsensitive = ["sex"]\nbins = {age = "25,45"}\n[policy]\nconf_level = 0.9\n'
        "[run]\nseed = 3\n[auditors.fairness]\ncross_check = true\n"
    ),
    "waivers.toml": (
        '[[waiver]]\nid = "w"\nmeasurement = "performance.accuracy"\nowner = "a"\napprover = "b"\nstatement = "s"\n'
        "expires = 2027-01-31\n"
    ),
    "population.toml": "[sex]\nf = 0.51\nm = 0.49\n",
    "facts.toml": 'intended_purpose = "Credit"\nprovider = "A"\n',
}
"""What people write, each with the option or command that reads it in `command_of`."""


def write_words(folder: Path) -> None:
    """Write one honest file of each kind that people write, besides the policy."""
    for name, text in WORDS.items():
        (folder / name).write_text(text, encoding="utf-8")


def write_other_models(folder: Path, frame: Any) -> None:
    """Write the same columns' models of other libraries, as skops, joblib and ONNX write them."""
    import joblib
    import onnx
    import skops.io
    from onnx import TensorProto, helper, numpy_helper
    from sklearn.linear_model import LogisticRegression

    numbers = frame.assign(age=frame["age"].astype(int))[["age"]]
    fitted = LogisticRegression().fit(numbers, frame["income"])
    skops.io.dump(fitted, folder / "model.skops")
    joblib.dump(fitted, folder / "model.joblib")
    weights = numpy_helper.from_array(np.zeros((1, 2), dtype=np.float32), "w")
    inputs = [helper.make_tensor_value_info("age", TensorProto.FLOAT, [None, 1])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])]
    graph = helper.make_graph([helper.make_node("MatMul", ["age", "w"], ["y"])], "g", inputs, outputs, [weights])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "model.onnx"
    )


RETRAINING = ("--epsilon", "8", "--epochs", "2", "--batch-size", "20")


class Killed(BaseException):
    """The training was killed."""


def write_private_models(folder: Path) -> None:
    """Write a model that was trained with privacy, in `private`, and the checkpoint of one that was killed."""
    from auditkit.cli import call
    from auditkit.data.dataset import read_data
    from auditkit.models.formats.opening import open_model
    from auditkit.training.dp.retrain import retrain

    def kill(share: float, what: str) -> None:
        if share > 0.5:
            raise Killed

    command = ["retrain", str(folder / "model.pt"), "--train-dataset", str(folder / "data.csv"), *RETRAINING]
    assert call([*command, "--quiet", "--out", str(folder / "private")]) == 0
    settings: dict[str, Any] = {"epsilon": (8.0,), "epochs": 2, "batch_size": 20}
    try:
        model, data = open_model(folder / "model.pt"), read_data(folder / "data.csv")
        retrain(model, data, out=folder / "killed", progress=kill, **settings)
    except Killed:
        (path,) = (folder / "killed").iterdir()
        path.replace(folder / "checkpoint")


def write_language_model(folder: Path) -> None:
    """Write a folder of a tiny BERT that was never trained, as transformers saves it, and texts with labels."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["good", "bad", "film", "the", "plot"]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    raw = Tokenizer(models.WordPiece({piece: code for code, piece in enumerate(pieces)}, unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers gives no types
        tokenizer_object=raw, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    config = transformers.BertConfig(
        vocab_size=len(pieces), hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=16, id2label={0: "neg", 1: "pos"}, label2id={"neg": 0, "pos": 1},
    )  # fmt: skip
    torch.manual_seed(0)
    place = folder / "bert"
    transformers.BertForSequenceClassification(config).save_pretrained(place)
    tokenizer.save_pretrained(place)
    rng = np.random.default_rng(2)
    rows = [
        f"{' '.join(rng.choice(words, 4))},{rng.choice(['neg', 'pos'])},{rng.choice(['f', 'm'])}" for _ in range(60)
    ]
    (folder / "texts.csv").write_text("\n".join(["text,label,sex", *rows]) + "\n", encoding="utf-8")


LISTS = {
    "word_lists.toml": (
        '[careers]\nsource = "s"\n[careers.targets]\na = ["w0", "w1", "w2", "w3"]\nb = ["w4", "w5", "w6", "w7"]\n'
        '[careers.attributes]\nc = ["w8", "w9", "w10", "w11"]\nd = ["w12", "w13", "w14", "w15"]\n'
    ),
    "identity_terms.toml": (
        '[films]\nsource = "s"\ntemplates = ["the {} plot"]\n[films.groups]\n'
        'a = ["film", "plot"]\nb = ["good", "bad"]\n'
    ),
}
"""Words that people list, each with the model that is asked about them in `command_of`."""


def write_vectors(folder: Path) -> None:
    """Write vectors of 80 words in every form, and lists of words."""
    words = [f"w{number}" for number in range(80)]
    vectors = np.random.default_rng(5).normal(size=(80, 4)).astype(np.float32)
    lines = [f"{word} {' '.join(map(str, row))}\n" for word, row in zip(words, vectors.tolist(), strict=True)]
    (folder / "vectors.glove").write_text("".join(lines), encoding="utf-8")
    (folder / "vectors.vec").write_text("80 4\n" + "".join(lines), encoding="utf-8")
    parts = [word.encode() + b" " + row.tobytes() + b"\n" for word, row in zip(words, vectors, strict=True)]
    (folder / "vectors.bin").write_bytes(b"80 4\n" + b"".join(parts))
    np.save(folder / "vectors.npy", vectors)
    (folder / "vectors.vocab").write_text("\n".join(words) + "\n", encoding="utf-8")
    for name, text in LISTS.items():
        (folder / name).write_text(text, encoding="utf-8")


def write_logs(folder: Path) -> None:
    """Write logs of two evaluation programs, and synthetic records of the data set."""
    import pandas as pd

    samples = [
        {"id": n, "epoch": 1, "scores": {"a": {"value": "CI"[n % 2]}}, "metadata": {"kind": "xy"[n % 3 > 0]}}
        for n in range(40)
    ]
    log = {"version": 2, "status": "success", "eval": {"task": "t", "model": "m"}, "samples": samples}
    (folder / "log.json").write_text(json.dumps(log), encoding="utf-8")
    lines = [
        {"doc_id": n, "doc": {"kind": "xy"[n % 2]}, "resps": [], "filter": "none", "metrics": ["acc"], "acc": n % 3 > 0}
        for n in range(40)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "samples_t.jsonl").write_text(text, encoding="utf-8")
    rows = pd.read_csv(folder / "data.csv", dtype=str)
    rows.sample(120, replace=True, random_state=7).to_csv(folder / "synthetic.csv", index=False)


def write_causal_model(folder: Path) -> None:
    """Write a folder of a tiny GPT that was never trained, and training texts with canaries and their record."""
    from languages import gpt2, sentences

    from auditkit.cli import call

    for name, seed in (("seen", 1), ("unseen", 2)):
        lines = [json.dumps({"text": text}) + "\n" for text in sentences(60, seed=seed)]
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    gpt2(folder / "gpt", sentences(40), positions=64, width=8)
    seeded = ["canaries", str(folder / "seen.jsonl"), "--out", str(folder / "seeded.jsonl")]
    with contextlib.redirect_stdout(io.StringIO()):
        assert call([*seeded, "--count", "2", "--controls", "1", "--repeat", "1,2"]) == 0
