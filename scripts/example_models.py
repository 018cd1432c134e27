"""Models of many kinds, as users have them, each with rows that it takes.

Needs the development extra (scikit-learn, skl2onnx, LightGBM, onnxmltools, magika).
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightgbm
import magika
import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType as LightGbmFloats
from onnxruntime.quantization import quantize_dynamic
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_iris, load_wine
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from scripts import train_iris

OPSET = train_iris.OPSET
CITIES = ("Lagos", "Lima", "Oslo", "Pune")
TRADES = ("baker", "nurse", "pilot")
WORDS = ("cheap", "pills", "meeting", "tomorrow", "win", "money", "report", "lunch")
BUNDLED = Path(onnxruntime.__file__).parent / "datasets" / "logreg_iris.onnx"
MAGIKA = Path(magika.__file__).parent / "models" / "standard_v3_3" / "model.onnx"


@dataclass(frozen=True)
class Example:
    """A model, and what its rows look like.

    Args:
        what: in a line, for people.
        make: the ONNX file's bytes.
        data: so many rows, as a request has them.
    """

    what: str
    make: Callable[[], bytes]
    data: Callable[[int], Any]


def rows(width: int, low: float = 0.0, high: float = 8.0) -> Callable[[int], Any]:
    """Rows of so many numbers between these."""

    def make(count: int) -> list[list[float]]:
        random = np.random.default_rng(count)
        return random.uniform(low, high, (count, width)).round(2).tolist()

    return make


def some_of(words: tuple[str, ...], count: int, seed: int) -> list[str]:
    return list(np.random.default_rng(seed).choice(words, count))


# scikit-learn ----------------------------------------------------------------------------------


def svc() -> bytes:
    return train_iris.export(train_iris.train()).SerializeToString()


def svc_zipmap() -> bytes:
    return train_iris.export(train_iris.train(), zipmap=True).SerializeToString()


def boosting() -> bytes:
    diabetes = load_diabetes()
    model = GradientBoostingRegressor(random_state=0).fit(diabetes.data, diabetes.target)
    return to_onnx(model, np.zeros((1, 10), np.float32), target_opset=OPSET).SerializeToString()


def string_labels() -> bytes:
    iris = load_iris()
    model = make_pipeline(StandardScaler(), LogisticRegression())
    model.fit(iris.data, iris.target_names[iris.target])
    options = {id(model): {"zipmap": False}}
    example = np.zeros((1, 4), np.float32)
    return to_onnx(model, example, options=options, target_opset=OPSET).SerializeToString()


def imputed() -> bytes:
    """A pipeline for iris with a fifth of the values missing."""
    iris = load_iris()
    gaps = np.random.default_rng(0).random(iris.data.shape) < 0.2
    data = np.where(gaps, np.nan, iris.data).astype(np.float32)
    model = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression())
    model.fit(data, iris.target)
    options = {id(model): {"zipmap": False}}
    return to_onnx(model, data[:1], options=options, target_opset=OPSET).SerializeToString()


def mixed() -> bytes:
    """Whether somebody moves: from a whole number, a measure and two texts."""
    random = np.random.default_rng(0)
    table = np.empty((400, 4), object)
    table[:, 0] = random.integers(18, 80, 400)
    table[:, 1] = random.normal(40, 10, 400).astype(np.float32)
    table[:, 2], table[:, 3] = some_of(CITIES, 400, 1), some_of(TRADES, 400, 2)
    moves = (table[:, 0] < 40) & (table[:, 2] != "Oslo")
    columns = ColumnTransformer(
        [("numbers", StandardScaler(), [0, 1]), ("texts", OneHotEncoder(), [2, 3])]
    )
    model = make_pipeline(columns, LogisticRegression(max_iter=1_000)).fit(table, moves.astype(int))
    inputs = [
        ("age", Int64TensorType([None, 1])),
        ("income", FloatTensorType([None, 1])),
        ("city", StringTensorType([None, 1])),
        ("trade", StringTensorType([None, 1])),
    ]
    return to_onnx(model, initial_types=inputs, target_opset=OPSET).SerializeToString()


def mixed_rows(count: int) -> dict[str, Any]:
    random = np.random.default_rng(count)
    return {
        "age": random.integers(18, 80, (count, 1)).tolist(),
        "income": random.normal(40, 10, (count, 1)).round(1).tolist(),
        "city": [[city] for city in some_of(CITIES, count, count)],
        "trade": [[trade] for trade in some_of(TRADES, count, count + 1)],
    }


def tfidf() -> bytes:
    texts = [" ".join(some_of(WORDS, 6, seed)) for seed in range(300)]
    spam = ["money" in text or "pills" in text for text in texts]
    model = make_pipeline(TfidfVectorizer(lowercase=False), LogisticRegression()).fit(
        texts, np.array(spam, int)
    )
    inputs = [("text", StringTensorType([None]))]
    return to_onnx(model, initial_types=inputs, target_opset=OPSET).SerializeToString()


def texts(count: int) -> list[str]:
    return [" ".join(some_of(WORDS, 5, seed)) for seed in range(count)]


def gradient_boosted_trees() -> bytes:
    wine = load_wine()
    model = lightgbm.LGBMClassifier(n_estimators=20, verbose=-1, random_state=0)
    model.fit(wine.data, wine.target)
    inputs = [("wine", LightGbmFloats([None, 13]))]
    return convert_lightgbm(
        model, initial_types=inputs, target_opset=15, zipmap=False
    ).SerializeToString()


# Made by hand ----------------------------------------------------------------------------------


def _model(nodes: list[Any], inputs: list[Any], outputs: list[Any], weights: dict[str, Any]) -> Any:
    constants = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "example", inputs, outputs, constants)
    opset = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


def _floats(name: str, *shape: int | str) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def convolution() -> bytes:
    """Images of 28 × 28 to probabilities of ten classes."""
    random = np.random.default_rng(0)
    weights = {
        "kernels": random.normal(0, 0.3, (8, 1, 5, 5)).astype(np.float32),
        "dense": random.normal(0, 1, (8, 10)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["image", "kernels"], ["maps"]),
        helper.make_node("Relu", ["maps"], ["active"]),
        helper.make_node("GlobalAveragePool", ["active"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "dense"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    inputs, outputs = [_floats("image", "n", 1, 28, 28)], [_floats("probabilities", "n", 10)]
    return _model(nodes, inputs, outputs, weights).SerializeToString()


def images(count: int) -> Any:
    return np.random.default_rng(count).uniform(0, 1, (count, 1, 28, 28)).round(2).tolist()


def two_by_two() -> bytes:
    """Two inputs, two outputs: prices of baskets, and their amounts."""
    nodes = [
        helper.make_node("Mul", ["amounts", "prices"], ["lines"]),
        helper.make_node("ReduceSum", ["lines", "last"], ["total"], keepdims=0),
        helper.make_node("Identity", ["lines"], ["each"]),
    ]
    inputs = [_floats("amounts", "baskets", 3), _floats("prices", "baskets", 3)]
    outputs = [_floats("total", "baskets"), _floats("each", "baskets", 3)]
    return _model(nodes, inputs, outputs, {"last": np.array([1], np.int64)}).SerializeToString()


def baskets(count: int) -> dict[str, Any]:
    return {"amounts": rows(3, 0, 5)(count), "prices": rows(3, 1, 9)(count)}


def _perceptron() -> Any:
    random = np.random.default_rng(0)
    weights = {
        "first": random.normal(0, 1, (16, 64)).astype(np.float32),
        "second": random.normal(0, 1, (64, 4)).astype(np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("MatMul", ["active", "second"], ["y"]),
    ]
    return _model(nodes, [_floats("x", "n", 16)], [_floats("y", "n", 4)], weights)


def quantized() -> bytes:
    """Dynamically quantized: the scale of a tensor is that of all rows in it."""
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain, small = Path(folder, "plain.onnx"), Path(folder, "small.onnx")
        plain.write_bytes(_perceptron().SerializeToString())
        quantize_dynamic(plain, small)
        return small.read_bytes()


def sequences() -> bytes:
    """Token ids of any number to their mean embedding."""
    table = np.random.default_rng(0).normal(0, 1, (50, 4)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "tokens"], ["embedded"]),
        helper.make_node("ReduceMean", ["embedded"], ["mean"], axes=[1], keepdims=0),
    ]
    tokens = helper.make_tensor_value_info("tokens", TensorProto.INT64, ["n", "length"])
    return _model(nodes, [tokens], [_floats("mean", "n", 4)], {"table": table}).SerializeToString()


def token_rows(count: int) -> Any:
    random = np.random.default_rng(count)
    return [random.integers(0, 50, 1 + place % 5).tolist() for place in range(count)]


def bytes_of_files(count: int) -> Any:
    random = np.random.default_rng(count)
    return random.integers(0, 257, (count, 2_048)).tolist()


EXAMPLES = {
    "svc": Example("a support vector machine, probabilities as a tensor", svc, rows(4)),
    "svc-zipmap": Example("the same with a ZipMap", svc_zipmap, rows(4)),
    "boosting": Example("a gradient-boosting regressor", boosting, rows(10, -0.1, 0.1)),
    "species": Example("a logistic regression with string labels", string_labels, rows(4)),
    "movers": Example("a pipeline of whole numbers, measures and texts", mixed, mixed_rows),
    "wine": Example("LightGBM, by onnxmltools", gradient_boosted_trees, rows(13, 0, 20)),
    "spam": Example("a TF-IDF text classifier", tfidf, texts),
    "digits": Example("a small convolution on images of 28 × 28", convolution, images),
    "baskets": Example("two inputs and two outputs", two_by_two, baskets),
    "tokens": Example("sequences of any length", sequences, token_rows),
    "quantized": Example("a dynamically quantized network", quantized, rows(16, -1, 1)),
    "logreg": Example(
        "onnxruntime's own logreg_iris.onnx: ZipMap, a fixed batch of 3",
        BUNDLED.read_bytes,
        rows(2),
    ),
    "magika": Example(
        "Google's magika, content types of files: 2,048 whole numbers",
        MAGIKA.read_bytes,
        bytes_of_files,
    ),
}
