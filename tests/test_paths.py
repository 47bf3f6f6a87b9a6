"""FACTS 13.5 to 13.7: paths that lead to what never ends, out of their folder, or to a file that changes."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from loans import Loans
from PIL import Image

from auditkit.budgets import Budget, allow_large, large_allowed
from auditkit.cli import call
from auditkit.data.dataset import read_data
from auditkit.errors import DatasetError, InputError
from auditkit.evidence.integrity import sealed, verify
from auditkit.files import opened, read_bytes, read_text, sha256_of

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes and links of POSIX")
SMALL = Budget("bytes", 10, 100)


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def device(path: Path) -> Path:
    path.symlink_to("/dev/zero")
    return path


COMMANDS = {
    "model": ["run", "{odd}", "--dataset", "{test}"],
    "data": ["run", "{model}", "--dataset", "{odd}"],
    "training data": ["run", "{model}", "--dataset", "{test}", "--train-dataset", "{odd}"],
    "policy": ["run", "{model}", "--dataset", "{test}", "--policy", "{odd}"],
    "baseline": ["run", "{model}", "--dataset", "{test}", "--baseline", "{odd}"],
    "waivers": ["run", "{model}", "--dataset", "{test}", "--waivers", "{odd}"],
    "schema": ["run", "{model}", "--dataset", "{test}", "--schema", "{odd}"],
    "population": ["run", "{model}", "--dataset", "{test}", "--population", "{odd}"],
    "identity terms": ["run", "{model}", "--dataset", "{test}", "--identity-terms", "{odd}"],
    "key": ["run", "{model}", "--dataset", "{test}", "--sign", "{odd}"],
    "results of gate": ["gate", "{odd}"],
    "results of render": ["render", "{odd}"],
    "facts": ["render", "{odd}", "--facts", "{odd}"],
    "inspect": ["inspect", "{odd}"],
    "train": ["train", "--dataset", "{odd}", "--target", "approved", "--out", "{out}/m.pt"],
}


@pytest.mark.parametrize("make", [pipe, device])
@pytest.mark.parametrize("what", COMMANDS)
def test_what_never_ends_is_refused_in_one_line(
    what: str, make: Callable[[Path], Path], loans: Loans, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"model": loans.model, "test": loans.test, "out": tmp_path / "out", "odd": make(tmp_path / "odd.csv")}
    command = [part.format(**names) for part in COMMANDS[what]]
    assert call(command) == 2
    err = capsys.readouterr().err
    assert "is no regular file" in err, err
    assert err.count("\n") == 1


def test_an_image_folder_is_not_left(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "outside.png")
    Image.new("L", (4, 4)).save(folder / "a.png")
    for make, said in (
        (lambda path: path.symlink_to(tmp_path / "outside.png"), "link out of"),
        (lambda path: path.symlink_to("/dev/zero"), "link out of"),
        (lambda path: os.mkfifo(path), "is no regular file but a pipe"),
        (lambda path: path.mkdir(), "is a folder, and a file is needed"),
        (lambda path: path.symlink_to(path.name), "link|Too many levels"),
    ):
        (folder / "metadata.csv").write_text("file_name,y\na.png,0\nb.png,1\n")
        make(folder / "b.png")
        with pytest.raises(DatasetError, match=said):
            read_data(folder)
        (folder / "b.png").rmdir() if (folder / "b.png").is_dir() else (folder / "b.png").unlink()
    (folder / "metadata.csv").unlink()
    (folder / "metadata.csv").symlink_to(tmp_path / "outside.png")
    with pytest.raises(DatasetError, match="link out of"):
        read_data(folder)
    (folder / "metadata.csv").unlink()
    (folder / "metadata.csv").write_text("file_name,y\na.png,0\nc.png,1\n")
    (folder / "c.png").symlink_to(folder / "a.png")
    assert len(read_data(folder).frame) == 2, "a link within the folder is followed"


def test_images_are_of_formats_that_start_no_program(tmp_path: Path) -> None:
    """FACTS 13.6: Pillow hands EPS to Ghostscript."""
    (tmp_path / "metadata.csv").write_text("file_name,y\na.png,0\n")
    for content in (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", b"%PDF-1.4\n", b"\x0a\x05\x01\x08" * 40,
    ):  # fmt: skip
        (tmp_path / "a.png").write_bytes(content)
        with pytest.raises(DatasetError, match="is no image that Pillow knows"):
            read_data(tmp_path)


def test_an_image_of_too_many_pixels_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text("file_name,y\na.png,0\n")
    Image.new("1", (20_000, 20_000)).save(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size < 100_000
    with pytest.raises(DatasetError, match="pixels") as raised:
        read_data(tmp_path)
    assert "\n" not in str(raised.value)


def test_a_sealed_file_that_became_a_pipe_is_edited(tmp_path: Path) -> None:
    for name, content in sealed({"results.json": "{}", "a.txt": "a"}, run_id="r").items():
        (tmp_path / name).write_text(str(content))
    (tmp_path / "a.txt").unlink()
    pipe(tmp_path / "a.txt")
    assert [problem.fault for problem in verify(tmp_path).problems] == ["edited"]


@pytest.mark.parametrize("way", ["replaced", "rewritten"])
def test_hash_and_use_are_of_the_same_bytes(tmp_path: Path, way: str) -> None:
    """FACTS 13.5: another process swaps the file while it is read; the hash is always of what was read."""
    path, texts = tmp_path / "d.csv", {}
    for word in ("aa", "bb"):
        text = "x,y\n" + f"{word},1\n" * 5_000
        (tmp_path / word).write_text(text)
        texts[sha256_of(tmp_path / word, "d", budget=Budget("bytes", 10**9, 10**9))] = word
    shutil.copy(tmp_path / "aa", path)
    done = threading.Event()

    def swap() -> None:
        turn = 0
        while not done.is_set():
            turn += 1
            source = tmp_path / ("aa", "bb")[turn % 2]
            if way == "replaced":
                shutil.copy(source, tmp_path / "new")
                os.replace(tmp_path / "new", path)
            else:
                path.write_bytes(source.read_bytes())

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(40):
            try:
                data = read_data(path)
            except DatasetError:  # empty, or cut, at that moment: refused
                continue
            kept = texts.get(data.sha256 or "")
            read = set(np.unique(data.frame["x"].dropna()))
            assert kept is None or read == {kept}
    finally:
        done.set()
        thread.join()


def test_a_large_file_that_changes_while_it_is_open_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auditkit.files.COPIED_BYTES", 4)
    path = tmp_path / "a"
    path.write_bytes(b"12345678")

    def read_and_change() -> None:
        with opened(path, "a") as file:
            assert file.read(2) == b"12"
            path.write_bytes(b"123456789")

    with pytest.raises(InputError, match="changed while it was read"):
        read_and_change()
    with opened(path, "a") as file:
        assert file.read() == b"123456789"


def test_the_opener_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 11)
    with pytest.raises(InputError, match="a: 11 bytes, and auditkit reads at most 10; --allow-large allows 100"):
        read_bytes(tmp_path / "a", "a", budget=SMALL)
    with allow_large():
        assert large_allowed()
        assert len(read_bytes(tmp_path / "a", "a", budget=SMALL)) == 11
        with pytest.raises(InputError, match=r"at most 100\.$"):
            SMALL.check(101, "a")
    assert not large_allowed()
    (tmp_path / "b").write_bytes(b"ok\r\n\xff")
    with pytest.raises(InputError, match="not UTF-8 text at byte 4"):
        read_text(tmp_path / "b", "b")
    with pytest.raises(InputError, match="b: No such file or directory; make one\\."):
        read_bytes(tmp_path / "none", "b", remedy="make one.")
    with pytest.raises(InputError, match="null"):
        read_bytes("a\0b", "b")
    with pytest.raises(DatasetError, match="is a folder, and a file is needed"):
        read_bytes(tmp_path, "b", error=DatasetError)
