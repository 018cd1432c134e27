"""The client's own ids: which are accepted, and what a key says about them."""

from hashlib import sha256

import orjson
import pytest

from batchline.api.ndjson import check_lines
from batchline.api.requests import NewItem, is_custom_id, to_key
from batchline.api.signatures import Signatures
from batchline.ml.inputs import Input
from batchline.ml.signature import Signature

IRIS = Signatures({"default": Signature((Input("x", "float32", (4,)),))})
ROW = "[[1,2,3,4]]"


@pytest.mark.parametrize(
    "own", ["a", "0", "a b", "x" * 255, "漢字 🌸", "a\u200db", "'; --", "%s", '"', "\\", None]
)
def test_an_id_of_any_script_is_accepted(own: str | None) -> None:
    assert is_custom_id(own)


@pytest.mark.parametrize(
    "own",
    [
        "",
        " ",
        " a",
        "a ",
        "\u00a0a",
        "a\u3000",
        "a\n",
        "a\nb",
        "\0",
        "a\x7f",
        "a\u2028b",
        "x" * 256,
        7,
        [],
    ],
)
def test_an_id_that_is_no_text_or_hard_to_compare_is_rejected(own: object) -> None:
    assert not is_custom_id(own)
    line = orjson.dumps({"data": [[1, 2, 3, 4]], "custom_id": own})
    good = orjson.dumps({"data": [[1, 2, 3, 4]], "custom_id": "good"})
    group = check_lines([good, line, good], 1, IRIS, 0)
    assert (group.numbers, group.custom_ids) == ([1, 3], ["good", "good"])
    [(number, rejected)] = group.rejected
    assert (number, rejected["errors"][0]["pointer"]) == (2, "/custom_id")


def test_half_a_surrogate_pair_is_not_json() -> None:
    line = rb'{"data": [[1, 2, 3, 4]], "custom_id": "\ud800", "idempotency_key": "k"}'
    [(_, rejected)] = check_lines([line], 1, IRIS, 0).rejected
    assert rejected["code"] == "invalid_json"


def of(item: NewItem) -> str:
    key = to_key("key", item)
    assert key is not None
    return key.data


def test_a_key_of_a_request_without_a_custom_id_is_as_it_always_was() -> None:
    assert of(NewItem("default", ROW)) == sha256(ROW.encode()).hexdigest()
    assert of(NewItem("other", ROW)) == sha256(f"other {ROW}".encode()).hexdigest()


def test_a_key_covers_the_custom_id() -> None:
    requests = [
        NewItem(model, ROW, own)
        for model in ("default", "other", "a")
        for own in (None, "a", "b", "a other", 'a" other', "other")
    ]
    assert len(set(map(of, requests))) == len(requests)
    assert of(NewItem("a", ROW, "b")) == of(NewItem("a", ROW, "b"))
