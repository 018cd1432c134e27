"""Which values may be missing, by the graph, by trials and by the user."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, load, save
from onnx.helper import make_node

from batchline.errors import ConfigurationError
from batchline.ml.examination.examine import examine
from batchline.ml.examination.feature_names import read_features
from batchline.ml.examination.nan_paths import shown_missing
from batchline.ml.examination.onnx_file import read_graph
from batchline.ml.examination.report import Choices, ModelReport
from batchline.ml.inputs import Input
from batchline.registry.files import read_content
from batchline.registry.model_file import ModelFile, options_text, read_choices
from tests import models
from tests.models import imputer, ml_node, trees

FLOAT, DOUBLE, INT64 = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64
WEIGHTS = np.ones((3, 1), np.float32)
SUM = make_node("MatMul", ["a", "w"], ["y"])


def report(path: Path, **choices: Any) -> ModelReport:
    return examine(read_content(str(path)), "the model", Choices(**choices))


def missing(path: Path, **choices: Any) -> tuple[bool, ...]:
    """Return the flags of the first input."""
    return report(path, **choices).signature.inputs[0].missing


def graph(tmp_path: Path, *nodes: Any, width: int = 3, **constants: Any) -> tuple[bool, ...]:
    """Return what the graph alone shows of the columns of x, which a trial confirms."""
    path = models.of_nodes(tmp_path / "model.onnx", *nodes, width=width, **constants)
    return shown(path, width)


def shown(path: Path, width: int = 3) -> tuple[bool, ...]:
    inputs = [Input("x", "float32", (width,))]
    flags = tuple(shown_missing(read_graph(path.read_bytes()), inputs, axis=True)["x"])
    flags = (flags if not all(flags) else (True,)) if any(flags) else ()
    assert missing(path) == flags
    return flags


# The graph --------------------------------------------------------------------------------------


def test_named_columns_may_be_missing_if_they_are_imputed(tmp_path: Path) -> None:
    found = report(models.imputing(tmp_path / "m.onnx"))
    assert {each.name: each.missing for each in found.signature.inputs} == {
        "age": (True,),
        "income": (True,),
        "height": (),
        "city": (),
    }
    assert found.notes == (
        "the graph and trials show that age, income may be missing",
        "if the model accepts missing values of other features, name them with --missing",
    )


def test_columns_of_one_input_are_told_apart(tmp_path: Path) -> None:
    nodes = [
        ml_node("ArrayFeatureExtractor", ["x", "some"], ["b"]),
        imputer("b", "c", 0.0, 1.0),
        ml_node("ArrayFeatureExtractor", ["x", "other"], ["d"]),
        make_node("Concat", ["c", "d"], ["a"], axis=1),
        SUM,
    ]
    found = graph(tmp_path, *nodes, some=np.array([2, 0]), other=np.array([1]), w=WEIGHTS)
    assert found == (True, False, True)


@pytest.mark.parametrize(
    "nodes",
    [
        [make_node("Identity", ["x"], ["b"])],
        [make_node("Cast", ["x"], ["d"], to=DOUBLE), make_node("Cast", ["d"], ["b"], to=FLOAT)],
        [ml_node("Scaler", ["x"], ["b"], offset=[1.0], scale=[2.0])],
        [make_node("Sub", ["x", "w3"], ["b"])],
        [make_node("Reshape", ["x", "shape"], ["b"])],
        [
            make_node("Split", ["x", "sizes"], ["l", "r"], axis=1),
            make_node("Concat", ["l", "r"], ["b"], axis=-1),
        ],
        [
            make_node("Gather", ["x", "first"], ["v"], axis=1),
            make_node("Unsqueeze", ["v", "one"], ["l"]),
            make_node("Slice", ["x", "one", "end", "one"], ["r"]),
            make_node("Concat", ["l", "r"], ["b"], axis=1),
        ],
    ],
)
def test_a_value_is_followed_through_operators_that_keep_nan(
    tmp_path: Path, nodes: list[Any]
) -> None:
    constants = {
        "w": WEIGHTS,
        "w3": np.ones((1, 3), np.float32),
        "shape": np.array([-1, 3]),
        "sizes": np.array([2, 1]),
        "first": np.array(0),
        "one": np.array([1]),
        "end": np.array([2**31]),
    }
    # Only the first column is filled: the others stay NaN.
    fill = imputer("b", "a", 1.0, np.inf, np.inf)
    assert graph(tmp_path, *nodes, fill, SUM, **constants) == (True, False, False)


def test_columns_that_are_sliced_by_negative_indexes_count_from_the_end(tmp_path: Path) -> None:
    constants = {"start": np.array([-2]), "end": np.array([-1]), "axis": np.array([-1])}
    nodes = [make_node("Slice", ["x", "start", "end", "axis"], ["b"]), imputer("b", "y", 0.0)]
    assert graph(tmp_path, *nodes, **constants) == (False, True, False)
    nodes[0] = make_node("Slice", ["x", "end", "last", "axis", "end"], ["b"])
    backwards = constants | {"last": np.array([-(2**63)])}
    nodes[1] = imputer("b", "y", 0.0, np.inf, np.inf)
    # Turned around, the first column is the last one. The others stay NaN.
    assert graph(tmp_path, *nodes, **backwards) == (False, False, True)


def test_a_value_with_another_path_to_a_sum_may_not_be_missing(tmp_path: Path) -> None:
    nodes = [imputer("x", "a", 0.0), make_node("MatMul", ["a", "w"], ["b"])]
    nodes += [make_node("MatMul", ["x", "w"], ["c"]), make_node("Add", ["b", "c"], ["y"])]
    assert graph(tmp_path, *nodes, w=WEIGHTS) == ()


def test_a_value_that_is_in_an_output_itself_may_not_be_missing(tmp_path: Path) -> None:
    nodes = [imputer("x", "a", 0.0), make_node("Concat", ["a", "x"], ["y"], axis=1)]
    assert graph(tmp_path, *nodes) == ()


def test_a_path_that_reaches_no_output_does_not_count(tmp_path: Path) -> None:
    unused = make_node("MatMul", ["x", "w"], ["unused"])
    assert graph(tmp_path, imputer("x", "a", 0.0), unused, SUM, w=WEIGHTS) == (True,)
    unused = imputer("x", "unused", 0.0)
    assert graph(tmp_path, unused, make_node("MatMul", ["x", "w"], ["y"]), w=WEIGHTS) == ()


def test_an_imputer_of_another_value_than_nan_knows_no_missing_values(tmp_path: Path) -> None:
    assert graph(tmp_path, imputer("x", "a", 0.0, replaced=-1.0), SUM, w=WEIGHTS) == ()


def test_an_imputer_that_gives_nan_knows_no_missing_values(tmp_path: Path) -> None:
    assert graph(tmp_path, imputer("x", "a", np.nan), SUM, w=WEIGHTS) == ()


def test_an_operator_of_another_domain_is_no_imputer(tmp_path: Path) -> None:
    path = models.of_nodes(tmp_path / "m.onnx", imputer("x", "y", 0.0))
    model = load(path)
    function = helper.make_function(
        "my.operators",
        "Imputer",
        ["x"],
        ["y"],
        [make_node("Abs", ["x"], ["y"])],
        [helper.make_opsetid("", 17)],
        ["imputed_value_floats", "replaced_value_float"],
    )
    model.graph.node[0].domain = "my.operators"
    model.functions.append(function)
    save(model, path)
    assert shown(path) == ()


def test_trees_know_the_features_for_which_they_track_missing_values(tmp_path: Path) -> None:
    assert missing(models.tracking(tmp_path / "m.onnx", 1, 0, 1)) == (True, False, True)
    assert missing(models.tracking(tmp_path / "m.onnx", 1, 1)) == (True,)
    assert missing(models.tracking(tmp_path / "m.onnx", 0, 0)) == ()


def test_trees_that_track_another_feature_or_only_at_leaves_say_nothing(tmp_path: Path) -> None:
    assert graph(tmp_path, trees("x", "y", (1, 1), (0, 0))) == (False, True, False)
    assert graph(tmp_path, trees("x", "y", (0, 0), (1, 0), leaf_tracks=1)) == ()


def test_one_test_of_several_that_tracks_a_feature_is_enough(tmp_path: Path) -> None:
    assert graph(tmp_path, trees("x", "y", (0, 0), (0, 1)), width=1) == (True,)


def test_each_of_several_ensembles_that_test_a_feature_must_track_it(tmp_path: Path) -> None:
    nodes = [trees("x", "b", (0, 1), (1, 1)), trees("x", "c", (0, 0))]
    nodes.append(make_node("Add", ["b", "c"], ["y"]))
    assert graph(tmp_path, *nodes) == (False, True, False)


def test_columns_of_trees_are_shifted_by_the_columns_before_them(tmp_path: Path) -> None:
    nodes = [make_node("Gather", ["x", "turned"], ["a"], axis=1), trees("a", "y", (0, 1), (2, 0))]
    assert graph(tmp_path, *nodes, turned=np.array([-1, 1, 0])) == (False, False, True)


def test_a_newer_tree_ensemble_is_understood(tmp_path: Path) -> None:
    node = ml_node(
        "TreeEnsemble",
        ["x"],
        ["y"],
        n_targets=1,
        aggregate_function=1,
        post_transform=0,
        tree_roots=[0, 1],
        nodes_modes=helper.make_tensor("modes", TensorProto.UINT8, [2], [0, 0]),
        nodes_featureids=[0, 1],
        nodes_splits=helper.make_tensor("splits", FLOAT, [2], [0.5, 0.5]),
        nodes_truenodeids=[0, 2],
        nodes_trueleafs=[1, 1],
        nodes_falsenodeids=[1, 3],
        nodes_falseleafs=[1, 1],
        nodes_missing_value_tracks_true=[0, 1],
        leaf_targetids=[0, 0, 0, 0],
        leaf_weights=helper.make_tensor("weights", FLOAT, [4], [1.0, 2.0, 3.0, 4.0]),
    )
    path = models.of_nodes(tmp_path / "m.onnx", node)
    model = load(path)
    for each in model.opset_import:
        if each.domain == "ai.onnx.ml":
            each.version = 5
    save(model, path)
    assert missing(path) == (False, True, False)


def test_isnan_counts_with_a_where_that_chooses_by_it(tmp_path: Path) -> None:
    check, negated = make_node("IsNaN", ["x"], ["n"]), make_node("Not", ["n"], ["m"])
    zero = np.array(0, np.float32)
    where = make_node("Where", ["n", "zero", "x"], ["a"])
    assert graph(tmp_path, check, where, SUM, w=WEIGHTS, zero=zero) == (True,)
    where = make_node("Where", ["m", "x", "zero"], ["a"])
    assert graph(tmp_path, check, negated, where, SUM, w=WEIGHTS, zero=zero) == (True,)
    wrong_way = make_node("Where", ["n", "x", "zero"], ["a"])
    assert graph(tmp_path, check, wrong_way, SUM, w=WEIGHTS, zero=zero) == ()


def test_a_where_passes_on_the_values_that_it_puts_in_place_of_nan(tmp_path: Path) -> None:
    nodes = [
        make_node("Split", ["x"], ["l", "r"], axis=1),
        make_node("IsNaN", ["l"], ["n"]),
        make_node("Where", ["n", "r", "l"], ["y"]),
    ]
    assert graph(tmp_path, *nodes, width=2) == (True, False)


def test_isnan_beside_the_value_or_without_use_says_nothing(tmp_path: Path) -> None:
    check = make_node("IsNaN", ["x"], ["n"])
    assert graph(tmp_path, check, make_node("MatMul", ["x", "w"], ["y"]), w=WEIGHTS) == ()
    beside = [make_node("Cast", ["n"], ["f"], to=FLOAT), make_node("Add", ["f", "x"], ["a"])]
    assert graph(tmp_path, check, *beside, SUM, w=WEIGHTS) == ()


def test_a_feature_that_the_model_drops_is_not_shown(tmp_path: Path) -> None:
    nodes = [ml_node("ArrayFeatureExtractor", ["x", "some"], ["b"]), imputer("b", "y", 0.0)]
    assert graph(tmp_path, *nodes, some=np.array([1])) == (False, True, False)


def test_a_value_that_a_subgraph_reads_may_not_be_missing(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info
    branches = {
        "then_branch": helper.make_graph(
            [make_node("MatMul", ["x", "w"], ["t"])], "t", [], [value("t", FLOAT, None)]
        ),
        "else_branch": helper.make_graph(
            [make_node("MatMul", ["a", "w"], ["e"])], "e", [], [value("e", FLOAT, None)]
        ),
    }
    nodes = [imputer("x", "a", 0.0), make_node("If", ["no"], ["y"], **branches)]
    assert graph(tmp_path, *nodes, w=WEIGHTS, no=np.array(False)) == ()


def test_nothing_is_shown_of_columns_that_are_taken_by_an_index_of_a_subgraph(
    tmp_path: Path,
) -> None:
    index = helper.make_tensor_value_info("i", INT64, [1])
    constant = helper.make_tensor("i", INT64, [1], [1])
    branch = helper.make_graph([], "b", [], [index], [constant])
    nodes = [
        make_node("If", ["yes"], ["some"], then_branch=branch, else_branch=branch),
        make_node("Gather", ["x", "some"], ["b"], axis=1),
        imputer("b", "y", 0.0),
    ]
    assert graph(tmp_path, *nodes, yes=np.array(True)) == ()


def test_integers_have_no_missing_values(tmp_path: Path) -> None:
    nodes = [make_node("Cast", ["x"], ["i"], to=INT64), make_node("Cast", ["i"], ["b"], to=FLOAT)]
    assert graph(tmp_path, *nodes, imputer("b", "a", 0.0), SUM, w=WEIGHTS) == ()


# The trial --------------------------------------------------------------------------------------


def test_the_model_must_give_finite_numbers_in_a_trial(tmp_path: Path) -> None:
    nodes = [imputer("x", "a", -1.0), make_node("Sqrt", ["a"], ["y"])]
    path = models.of_nodes(tmp_path / "m.onnx", *nodes, width=1)
    found = report(path, allow_non_finite=True)
    assert found.signature.inputs[0].missing == ()
    assert any("in a trial the model failed or gave no finite numbers" in e for e in found.notes)


def test_rows_that_get_no_finite_number_anyway_do_not_count(tmp_path: Path) -> None:
    nodes = [
        make_node("Split", ["x"], ["l", "r"], axis=1),
        imputer("l", "filled", 0.0),
        make_node("Log", ["r"], ["log"]),
        make_node("Concat", ["filled", "log"], ["y"], axis=1),
    ]
    path = models.of_nodes(tmp_path / "m.onnx", *nodes, width=2)
    assert missing(path, allow_non_finite=True) == (True, False)


def test_a_model_that_is_called_with_one_row_or_three_is_tried_so(tmp_path: Path) -> None:
    path = models.tracking(tmp_path / "m.onnx", 1, 0)
    for size in (1, 3):
        model = load(path)
        for value in (model.graph.input[0], model.graph.output[0]):
            value.type.tensor_type.shape.dim[0].dim_value = size
        fixed = tmp_path / f"{size}.onnx"
        save(model, fixed)
        found = report(fixed)
        assert found.batching.size == size
        assert found.signature.inputs[0].missing == (True, False)


def test_onnx_runtime_gives_what_the_flags_promise(tmp_path: Path) -> None:
    path = models.tracking(tmp_path / "m.onnx", 1, 0, 1)
    rows = np.array([[np.nan, 1, 0], [0, 1, np.nan], [0, 1, 0]], np.float32)
    [found] = onnxruntime.InferenceSession(path).run(None, {"x": rows})
    assert len({float(each) for each in found[:, 0]}) == 1  # NaN goes the way of 0


# The user ---------------------------------------------------------------------------------------


def test_the_user_says_which_values_may_be_missing(tmp_path: Path) -> None:
    path = models.tracking(tmp_path / "m.onnx", 1, 0)
    names = ("age", "income")
    assert missing(path, missing=("all",)) == (True,)
    assert missing(path, no_missing=("all",)) == ()
    assert missing(path, features=names, missing=("income",)) == (True,)
    assert missing(path, features=names, no_missing=("age",)) == ()
    assert missing(path, features=names, missing=("all",), no_missing=("age",)) == (False, True)
    assert missing(path, missing=("x[1]",), no_missing=("x[0]",)) == (False, True)


def test_a_model_that_gives_nan_for_a_value_that_may_be_missing_is_noted(tmp_path: Path) -> None:
    found = report(models.doubling(tmp_path / "m.onnx"), missing=("all",))
    assert found.signature.inputs[0].missing == (True,)
    assert found.notes[-1].startswith("warning: the model fails or gives no finite numbers if x")


def test_string_inputs_get_a_text_only_from_the_user(tmp_path: Path) -> None:
    path = models.imputing(tmp_path / "m.onnx")

    def text(*texts: str) -> str | None:
        return report(path, missing_text=texts).signature.inputs[3].missing_text

    assert text() is None
    assert text("") == ""
    assert text("unknown") == "unknown"
    assert text("city=a=b") == "a=b"


@pytest.mark.parametrize(
    ("choices", "detail", "hint"),
    [
        ({"missing": ("agee",)}, "no feature agee", "name a feature: age"),
        ({"missing": ("city",)}, "city is a string", "--missing-text city=VALUE"),
        ({"missing": ("age",), "no_missing": ("age",)}, "both name age", "one of the options"),
        ({"missing_text": ("citi=x",)}, "no string input citi", "the name of an input: city"),
        ({"missing_text": ("a\0",)}, "cannot be printed", "another text"),
        (
            {"features": ("a",)},
            "has 4 inputs: age, income, height, city",
            "leave the names of features out",
        ),
    ],
)
def test_wrong_choices_are_explained(
    tmp_path: Path, choices: dict[str, Any], detail: str, hint: str
) -> None:
    with pytest.raises(ConfigurationError) as error:
        report(models.imputing(tmp_path / "m.onnx"), **choices)
    assert detail in error.value.detail
    assert hint in error.value.hint


@pytest.mark.parametrize(
    ("features", "detail"),
    [
        (("a",), "expected 2 names of features, one for each value of a row, got 1"),
        (("a", "a"), "has the name a twice"),
        (("a", "b\0"), "cannot be printed"),
        (("a", ""), "is empty"),
    ],
)
def test_wrong_names_are_explained(tmp_path: Path, features: tuple[str, ...], detail: str) -> None:
    with pytest.raises(ConfigurationError, match=detail):
        report(models.tracking(tmp_path / "m.onnx", 1, 1), features=features)


def test_integers_cannot_be_missing(tmp_path: Path) -> None:
    path = models.picky(tmp_path / "m.onnx")
    with pytest.raises(ConfigurationError, match="x is of the type int64"):
        report(path, missing=("x",))
    with pytest.raises(ConfigurationError, match="inputs of the model are int64"):
        report(path, missing=("all",))
    with pytest.raises(ConfigurationError, match="for string inputs"):
        report(path, missing_text=("unknown",))


def test_choices_are_part_of_the_identity_of_a_version(tmp_path: Path) -> None:
    plain = options_text(Choices())
    assert json.loads(plain).keys() == {"format"}
    for choices in (
        Choices(features=("a", "b")),
        Choices(columns=("a", "b")),
        Choices(missing=("all",)),
        Choices(no_missing=("all",)),
        Choices(missing_text=("",)),
        Choices(labels=("a",), rows_axis="none"),
    ):
        assert options_text(choices) != plain
        assert read_choices(options_text(choices)) == choices


# Names ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "metadata",
    [
        {"feature_names": '["age", "income"]'},
        {"feature_names": "age, income"},
        {"feature_columns": "age,income"},
    ],
)
def test_features_are_named_in_the_metadata_of_the_file(
    tmp_path: Path, metadata: dict[str, str]
) -> None:
    found = report(models.tracking(tmp_path / "m.onnx", 1, 0, **metadata))
    assert found.signature.features == ("age", "income")
    assert "in the file's metadata" in found.notes[0]


@pytest.mark.parametrize("value", ["2", '["a"]', '["a", "a"]', '{"a": 1}', "[1, 2]", "a,b,c", ""])
def test_metadata_that_is_no_list_of_so_many_names_is_left_alone(
    tmp_path: Path, value: str
) -> None:
    found = report(models.tracking(tmp_path / "m.onnx", 1, 0, feature_names=value))
    assert found.signature.features is None


def test_the_user_names_features_before_the_file_does(tmp_path: Path) -> None:
    path = models.tracking(tmp_path / "m.onnx", 1, 0, feature_names="age,income")
    assert report(path, features=("a", "b")).signature.features == ("a", "b")


def test_names_are_read_from_the_header_of_a_csv_file(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(b'\xef\xbb\xbfage,"income, EUR"\r\n1,2\r\n')
    assert read_features(str(file)) == ("age", "income, EUR")
    assert read_features('age, "income, EUR"') == ("age", "income, EUR")
    with pytest.raises(ConfigurationError, match="No such file"):
        read_features(str(tmp_path / "other.csv"))


# MLflow -----------------------------------------------------------------------------------------


def mlflow(folder: Path, inputs: str | None = None, **flavors: Any) -> Path:
    """An MLflow model as `mlflow.onnx` writes it."""
    folder.mkdir(exist_ok=True)
    models.tracking(folder / "model.onnx", 1, 0)
    flavors = flavors or {"onnx": {"data": "model.onnx", "onnx_version": "1.17.0"}}
    signature = {} if inputs is None else {"signature": {"inputs": inputs, "params": None}}
    (folder / "MLmodel").write_text(json.dumps({"flavors": flavors, **signature}))  # is YAML, too
    return folder


COLUMNS = '[{"type": "double", "name": "age"}, {"type": "double", "name": "income"}]'


def read(location: Path) -> ModelReport:
    return ModelFile.read(str(location)).examine(None, None)


def test_an_mlflow_model_names_its_columns(tmp_path: Path) -> None:
    folder = mlflow(tmp_path / "m", COLUMNS)
    for location in (folder, folder / "MLmodel"):
        file = ModelFile.read(str(location))
        assert file.location == str(folder / "model.onnx")
        found = file.examine(None, None)
        assert found.signature.features == ("age", "income")
        assert "by the signature in MLmodel" in found.notes[0]


def test_yaml_of_mlflow_is_read(tmp_path: Path) -> None:
    folder = mlflow(tmp_path / "m")
    (folder / "MLmodel").write_text(
        "flavors:\n  onnx:\n    code: null\n    data: model.onnx\n    providers:\n"
        "    - CPUExecutionProvider\nsignature:\n"
        '  inputs: \'[{"type": "double", "name": "age", "required": true}, {"type":\n'
        '    "double", "name": "income", "required": true}]\'\n  params: null\n'
    )
    assert read(folder).signature.features == ("age", "income")


def test_a_signature_of_tensors_or_none_names_no_columns(tmp_path: Path) -> None:
    tensors = '[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}]'
    for inputs in (tensors, None, '[{"type": "double"}, {"type": "double"}]'):
        assert read(mlflow(tmp_path / "m", inputs)).signature.features is None


def test_columns_of_mlflow_that_do_not_fit_are_noted(tmp_path: Path) -> None:
    found = read(mlflow(tmp_path / "m", '[{"type": "double", "name": "age"}]'))
    assert found.signature.features is None
    assert "MLmodel names 1 column, but a row has 2 values" in found.notes[0]
    models.imputing(mlflow(tmp_path / "m", COLUMNS) / "model.onnx")
    [first, *_] = read(tmp_path / "m").notes
    assert "the columns age, income, but the inputs of the model are age, income, height" in first


@pytest.mark.parametrize(
    ("flavors", "detail"),
    [
        ({"sklearn": {}}, "has no flavor onnx, only sklearn"),
        ({"onnx": {"data": "../model.onnx"}}, "must be a path in its folder"),
        ({"onnx": {}}, "must be a path in its folder, got None"),
        ({"onnx": {"data": "other.onnx"}}, "No such file"),
    ],
)
def test_other_mlflow_models_are_rejected(
    tmp_path: Path, flavors: dict[str, Any], detail: str
) -> None:
    with pytest.raises(ConfigurationError, match=detail):
        read(mlflow(tmp_path / "m", **flavors))


def test_a_broken_mlmodel_is_rejected(tmp_path: Path) -> None:
    folder = mlflow(tmp_path / "m")
    for text, detail in (("a: [", "it is not YAML"), ("a", "not a mapping")):
        (folder / "MLmodel").write_text(text)
        with pytest.raises(ConfigurationError, match=detail):
            read(folder)
    with pytest.raises(ConfigurationError, match=r"signature\.inputs is not JSON"):
        read(mlflow(folder, "age"))
