"""A model is all of its bytes: its file, and the files next to it that hold its weights."""

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.helper import make_function, make_graph, make_model, make_node, make_opsetid, make_tensor

from batchline.errors import ConfigurationError
from batchline.ml.content import FRAME, ModelContent
from batchline.ml.external_data import external_tensors
from batchline.ml.rows import RowTensors
from batchline.ml.runtime import Runtime
from batchline.ml.session import Session
from batchline.registry.files import read_content
from batchline.registry.model_file import ModelFile
from scripts import example_models
from tests import models
from tests.models import external

WEIGHTS = np.array([[1, 2], [3, 4]], np.float32)
ROW = np.array([[1, 2]], np.float32)


def served(model: Path | str) -> Any:
    """What the model gives for `ROW`, after all that `models add` tries."""
    file = ModelFile.read(str(model))
    file.examine(None, None)
    [output] = Session.open(file.content, "m", Runtime()).run(RowTensors({"x": ROW}).tensors)
    return output.tolist()


def refused(model: Path | str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        ModelFile.read(str(model)).examine(None, None)
    assert caught.value.hint
    return caught.value.detail


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with weights and other files, in which a model is to be."""
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    for path in ("weights.bin", "sub/weights.bin", "../outside.bin"):
        (folder / path).write_bytes(WEIGHTS.tobytes())
    (folder / "shifted.bin").write_bytes(b"1234567" + WEIGHTS.tobytes())
    (folder / "short.bin").write_bytes(WEIGHTS.tobytes()[:-1])
    return folder


@pytest.mark.parametrize(
    "entries",
    [
        {"location": "weights.bin"},
        {"location": "./weights.bin", "offset": 0, "length": 16},
        {"location": "sub/weights.bin", "checksum": "any"},
        {"location": "shifted.bin", "offset": 7},
        {"location": "shifted.bin", "offset": 7, "length": 16},
    ],
)
def test_weights_are_read_next_to_the_model(entries: dict[str, Any], folder: Path) -> None:
    model = models.multiplying(folder / "m.onnx", external("w", **entries))
    assert served(model) == (ROW @ WEIGHTS).tolist()
    [named] = ModelFile.read(str(model)).content.external
    assert named == entries["location"]


def test_weights_of_a_constant_are_read_too(folder: Path) -> None:
    node = make_node("Constant", [], ["w"], value=external("", location="weights.bin"))
    model = models.multiplying(folder / "m.onnx", TensorProto(), node)
    assert served(model) == (ROW @ WEIGHTS).tolist()


def test_a_real_model_of_many_tensors_keeps_its_numbers(tmp_path: Path) -> None:
    one, other = tmp_path / "one.onnx", tmp_path / "other.onnx"
    one.write_bytes(example_models.EXAMPLES["digits"].make())
    onnx.save(
        onnx.load(one),
        other,
        save_as_external_data=True,
        location="other.onnx.data",
        size_threshold=0,
    )
    assert other.stat().st_size < one.stat().st_size
    rows = np.random.default_rng(1).random((3, 1, 28, 28), np.float32)
    single, split = (Session.open(read_content(str(p)), "m", Runtime()) for p in (one, other))
    feeds = {single.inputs[0].name: rows}
    for left, right in zip(single.run(feeds), split.run(feeds), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize(
    ("location", "problem"),
    [
        ("", "names no file"),
        (".", "names no file"),
        ("{folder}/weights.bin", "absolute path"),
        ("C:weights.bin", "absolute path"),
        ("../outside.bin", "outside of the folder"),
        ("sub/../weights.bin", "outside of the folder"),
        ("sub\\weights.bin", "backslash"),
        ("weights.bin\0", "cannot be printed"),
        ("*/_ORT_MEM_ADDR_/*", r"has a \*"),
        ("missing.bin", "No such file"),
        ("sub", "not a regular file"),
        ("pipe", "not a regular file"),
        ("out", "a link to .*outside.bin, in another folder"),
        ("up/outside.bin", "a link to .*outside.bin, in another folder"),
        ("null", "a link to /dev/null, in another folder"),
        ("loop", "symbolic links"),
        ("m.onnx/weights.bin", "Not a directory"),
    ],
)
def test_a_file_that_is_not_in_the_folder_of_the_model_is_refused(
    location: str, problem: str, folder: Path
) -> None:
    os.mkfifo(folder / "pipe")
    for name, target in (
        ("out", "../outside.bin"),
        ("up", ".."),
        ("null", os.devnull),
        ("loop", "loop"),
    ):
        (folder / name).symlink_to(target)
    tensor = external("w", location=location.format(folder=folder))
    model = models.multiplying(folder / "m.onnx", tensor)
    with pytest.raises(ConfigurationError, match=problem) as caught:
        read_content(str(model))
    assert str(model) in caught.value.detail
    assert caught.value.hint


def test_links_within_the_folder_of_the_model_are_followed(folder: Path) -> None:
    """Both kinds occur: volumes of Kubernetes, and the cache of Hugging Face."""
    (folder / "link.bin").symlink_to("sub/weights.bin")
    model = models.multiplying(folder / "m.onnx", external("w", location="link.bin"))
    cache = folder.parent / "snapshot"
    cache.mkdir()
    (cache / "m.onnx").symlink_to("../model/m.onnx")
    (cache / "link.bin").symlink_to("../model/weights.bin")
    assert served(model) == served(cache / "m.onnx") == (ROW @ WEIGHTS).tolist()


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ({"location": "short.bin", "length": 16}, "bytes 0 to 16 .* has only 15 bytes"),
        ({"location": "weights.bin", "offset": 17}, "bytes 17 to 17 .* has only 16 bytes"),
        ({"location": "weights.bin", "offset": 1, "length": 16}, "has only 16 bytes"),
        ({"location": "weights.bin", "length": 2**31 + 1}, "at most 2147483648 bytes per tensor"),
        ({"location": "short.bin"}, "out of bounds"),
        ({"location": "weights.bin", "length": 12}, "size mismatch"),
        ({"location": "weights.bin", "offset": -1}, "offset '-1', which must be"),
        ({"location": "weights.bin", "offset": "0x1"}, "offset '0x1', which must be"),
        ({"location": "weights.bin", "offset": "²"}, "offset '²', which must be"),
        ({"location": "weights.bin", "length": "9" * 5_000}, "length '999"),
        ({"location": "weights.bin", "prepacked_0": "k|0;4;1"}, "entry 'prepacked_0'"),
        ({"location": "weights.bin", "Location": "short.bin"}, "entry 'Location'"),
        ({"checksum": "of nothing"}, "Missing 'location'"),
    ],
)
def test_entries_that_fit_no_file_are_refused(
    entries: dict[str, Any], problem: str, folder: Path
) -> None:
    model = models.multiplying(folder / "m.onnx", external("w", **entries))
    with pytest.raises(ConfigurationError, match=problem):
        ModelFile.read(str(model)).examine(None, None)


def test_a_tensor_names_one_file(folder: Path) -> None:
    weights = external("w", location="weights.bin")
    weights.external_data.add(key="location", value="sub/weights.bin")
    assert "has twice" in refused(models.multiplying(folder / "m.onnx", weights))


def _branch(nodes: list[Any], weights: list[TensorProto]) -> Any:
    nodes = [*nodes, make_node("MatMul", ["x", "w"], ["z"])]
    return make_graph(nodes, "branch", [], [models._floats("z", "n", 2)], weights)


def in_a_subgraph() -> Any:
    branch = _branch([], [external("w", location="weights.bin")])
    return make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)


def in_a_constant_of_a_subgraph() -> Any:
    value = external("", location="weights.bin")
    branch = _branch([make_node("Constant", [], ["w"], value=value)], [])
    return make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)


def in_an_attribute() -> Any:
    value = external("v", location="weights.bin", length=4)
    return make_node("ConstantOfShape", ["x"], ["y"], value=value)


def in_a_list_of_tensors() -> Any:
    tensors = [make_tensor("t", TensorProto.FLOAT, [1], [1]), external("v", location="weights.bin")]
    return make_node("Custom", ["x"], ["y"], values=tensors)


def in_a_sparse_constant() -> Any:
    indices = make_tensor("i", TensorProto.INT64, [4], [0, 1, 2, 3])
    sparse = onnx.SparseTensorProto(
        values=external("v", location="weights.bin"), indices=indices, dims=[2, 2]
    )
    return make_node("Constant", [], ["y"], sparse_value=sparse)


@pytest.mark.parametrize(
    ("make", "place"),
    [
        (in_a_subgraph, "graph → If → attribute → graph"),
        (in_a_constant_of_a_subgraph, "graph → Constant → attribute"),
        (in_an_attribute, "graph → ConstantOfShape → attribute"),
        (in_a_list_of_tensors, "graph → Custom → attribute"),
        (in_a_sparse_constant, "graph → Constant → attribute → sparse"),
    ],
)
def test_other_tensors_with_external_data_are_refused(
    make: Callable[[], Any], place: str, folder: Path
) -> None:
    model = models._save(
        folder / "m.onnx", [make()], [models._floats("x", "n", 2)], [models._floats("y", "n", 2)]
    )
    said = refused(model)
    assert "'weights.bin'" in said
    assert place in said


def test_external_data_of_functions_and_training_are_refused() -> None:
    node = make_node("Constant", [], ["w"], value=external("", location="weights.bin"))
    graph = make_graph([node], "g", [], [], [external("w", location="weights.bin")])
    function = make_function("f", "F", ["x"], ["y"], [node], [make_opsetid("", 17)])
    empty = make_graph([], "g", [], [])
    training = make_model(empty)
    training.training_info.add().algorithm.CopyFrom(graph)
    for model in (make_model(empty, functions=[function]), training):
        with pytest.raises(ConfigurationError, match="main graph"):
            external_tensors(model.SerializeToString(), "m")


def test_a_compiled_model_in_another_file_is_refused(folder: Path) -> None:
    for embedded, problem in ((0, "'compiled.bin'"), (1, "can load")):
        node = make_node(
            "EPContext",
            ["x"],
            ["y"],
            domain="com.microsoft",
            embed_mode=embedded,
            ep_cache_context="compiled.bin",
        )
        ends = [models._floats("x", "n", 2)], [models._floats("y", "n", 2)]
        assert problem in refused(models._save(folder / "m.onnx", [node], *ends))


def test_entries_of_a_tensor_that_has_its_own_data_are_not_read(folder: Path) -> None:
    weights = external("w", location="missing.bin")
    weights.data_location, weights.raw_data = TensorProto.DEFAULT, WEIGHTS.tobytes()
    model = models.multiplying(folder / "m.onnx", weights)
    assert ModelFile.read(str(model)).content.external == {}
    assert served(model) == (ROW @ WEIGHTS).tolist()


@pytest.mark.parametrize("trick", ["no-external-data", "no-folder", "."])
def test_weights_in_the_working_folder_are_never_used(
    trick: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / trick).mkdir(parents=True, exist_ok=True)
    (elsewhere / trick / "weights.bin").write_bytes((WEIGHTS * 10).tobytes())
    monkeypatch.chdir(elsewhere)
    model = models.with_external_data(folder / "m.onnx")
    assert served(model) == (ROW @ WEIGHTS).tolist()
    alone = ModelContent(model.read_bytes())
    with pytest.raises(ConfigurationError, match="can load"):
        Session.open(alone, "m", Runtime())
    (folder / "weights.bin").unlink()
    assert "No such file" in refused(model)


def test_a_model_in_the_working_folder_may_be_named_without_a_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models.with_external_data(folder / "m.onnx")
    monkeypatch.chdir(folder)
    assert served("m.onnx") == (ROW @ WEIGHTS).tolist()


def test_the_identity_is_that_of_all_bytes(folder: Path) -> None:
    model = models.with_external_data(folder / "m.onnx")
    content = read_content(str(model))
    assert content.size == len(model.read_bytes()) + 16
    assert content.sha256 == sha256(content.pack()).hexdigest()
    assert content.sha256 != read_content(str(models.doubling(folder / "d.onnx"))).sha256
    assert ModelContent.unpack(content.pack()) == content
    (folder / "weights.bin").write_bytes((WEIGHTS + 1).tobytes())
    assert read_content(str(model)).sha256 != content.sha256


def test_bytes_that_move_from_one_file_to_another_are_another_model() -> None:
    contents = [
        ModelContent(b"m", {"a": b"12", "b": b"3"}),
        ModelContent(b"m", {"a": b"1", "b": b"23"}),
        ModelContent(b"m", {"b": b"12", "a": b"3"}),
        ModelContent(b"m1", {"a": b"2", "b": b"3"}),
        ModelContent(b"m", {"a": b"12", "b": b"3", "c": b""}),
        ModelContent(b"m123"),
    ]
    assert len({content.sha256 for content in contents}) == len(contents)
    for content in contents:
        assert ModelContent.unpack(content.pack()) == content
    assert ModelContent(b"m", {"a": b"1", "b": b"2"}).sha256 == (
        ModelContent(b"m", {"b": b"2", "a": b"1"}).sha256
    )


def test_a_model_of_one_file_keeps_the_sha256_of_its_file(tmp_path: Path) -> None:
    model = models.doubling(tmp_path / "m.onnx")
    content = read_content(str(model))
    assert content.pack() == model.read_bytes()
    assert content.sha256 == sha256(model.read_bytes()).hexdigest()


def test_a_file_that_looks_like_a_stored_model_is_no_model(folder: Path) -> None:
    """So no model of one file is ever taken for a model of several."""
    packed = read_content(str(models.with_external_data(folder / "m.onnx"))).pack()
    assert packed.startswith(FRAME)
    (folder / "packed.onnx").write_bytes(packed)
    assert "can load" in refused(folder / "packed.onnx")


def test_weights_next_to_a_url_are_read(folder: Path) -> None:
    model = models.multiplying(folder / "m.onnx", external("w", location="sub/weights.bin"))
    assert served(f"file://{model}") == (ROW @ WEIGHTS).tolist()
    (folder / "sub/weights.bin").unlink()
    assert "'sub/weights.bin', which cannot be read" in refused(f"file://{model}")


@pytest.mark.parametrize("location", ["a b.bin", "file:a", "aa::file", "a?b", "a%2e", "ä"])
def test_names_that_a_url_would_change_are_refused(location: str, folder: Path) -> None:
    model = models.multiplying(folder / "m.onnx", external("w", location=location))
    assert "next to a URL" in refused(f"file://{model}")


@pytest.mark.parametrize(
    "garbage", [b"", b"\xff" * 100_000, b"\x3a\xff\xff\xff\x7f", bytes(range(256)) * 100]
)
def test_what_is_no_model_needs_no_files(garbage: bytes) -> None:
    assert external_tensors(garbage + b"location" + garbage, "m") == []
