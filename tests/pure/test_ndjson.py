"""Lines of an upload: cut out of any stream, checked like single bodies, told in runs."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from math import nan

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchline.api.ndjson import blocks, check_lines, id_ranges, rejections, split
from batchline.api.signatures import Signatures
from batchline.constants import UPLOAD_BLOCK_BYTES, UPLOAD_GROUP_LINES, UPLOAD_MAX_EXPLAINED_LINES
from batchline.errors import NoModel
from batchline.ml.inputs import Input
from batchline.ml.signature import Signature

IRIS = Signatures({"default": Signature((Input("x", "float32", (4,)),))})
LINE = b'{"data":[[5.1,3.5,1.4,0.2]]}'


def cut(pieces: Sequence[bytes]) -> list[bytes]:
    async def stream() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def collect() -> list[bytes]:
        return [line async for block in blocks(stream()) for part in split(block) for line in part]

    return asyncio.run(collect())


@given(st.lists(st.text("ab\n\r", max_size=20).map(str.encode)))
def test_however_a_body_is_cut_in_pieces_its_lines_are_the_same(pieces: list[bytes]) -> None:
    body = b"".join(pieces)
    assert cut(pieces) == body.removesuffix(b"\n").split(b"\n") if body else cut(pieces) == []


@given(st.lists(st.sampled_from([b"a", b"b" * 6, b"\n", b"cc\n", b"d\nee\nf"])))
def test_of_a_line_that_is_too_large_only_the_beginning_is_kept(pieces: list[bytes]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("batchline.api.ndjson.MAX_BODY_BYTES", 4)
        patch.setattr("batchline.api.ndjson.UPLOAD_BLOCK_BYTES", 8)
        body = b"".join(pieces)
        whole = body.removesuffix(b"\n").split(b"\n") if body else []
        assert cut(pieces) == [line[:5] for line in whole]


def test_a_line_of_any_length_takes_no_more_memory_than_one_that_fits() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("batchline.api.ndjson.MAX_BODY_BYTES", 1_000)
        assert [len(line) for line in cut([b"x" * 700] * 1_000 + [b"\nabc"])] == [1_001, 3]


def test_groups_of_a_block_are_about_as_large() -> None:
    sizes = [len(part) for part in split(b"\n" * (UPLOAD_GROUP_LINES + 2))]
    assert sizes == [UPLOAD_GROUP_LINES // 2 + 1] * 2
    assert len(LINE) < UPLOAD_BLOCK_BYTES


values = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.integers(), st.just("x"), st.booleans()
)
rows = st.one_of(st.lists(values, min_size=4, max_size=4), st.lists(values), st.just(1))
bodies = st.one_of(
    st.builds(lambda data: {"data": data}, st.lists(rows)),
    st.builds(lambda key: {"data": [[1, 2, 3, 4]], "idempotency_key": key}, st.text() | values),
    st.builds(lambda own: {"data": [[1, 2, 3, 4]], "custom_id": own}, st.text() | values),
    st.just({"data": [[1, 2, 3, 4]], "more": 1}),
    st.just({"data": {"x": [[1, 2, 3, 4]]}}),
    st.builds(
        lambda model: {"data": [[1, 2, 3, 4]], "model": model},
        st.sampled_from(["default", "other", 1, None]),
    ),
    st.just([]),
)
GOOD = {"data": [[1, 2, 3, 4]]}
PERSON = Signatures(
    {
        "default": Signature(
            (Input("age", "float32", (1,), missing=(True,)), Input("job", "str", (1,)))
        )
    }
)
record = st.sampled_from(
    [
        {"age": 47, "job": "clerk"},
        {"job": "clerk", "age": None},
        {"age": nan, "job": "clerk"},
        {"age": "47", "job": "clerk"},
        {"age": 47, "job": "clerk", "id": 1},
        {"age": 47, "agee": nan},
    ]
)
persons = st.fixed_dictionaries(
    {
        "data": record
        | st.lists(record, min_size=1, max_size=2)
        | st.sampled_from([{"age": [1, 2], "job": ["a", "b"]}, {"age": [[1]], "job": [["a"]]}]),
    },
    optional={"extra": st.sampled_from(["ignore", "ignore", "ignore", None, [], "", "drop"])},
)


@given(st.lists(persons, min_size=1, max_size=8))
def test_a_line_of_records_among_many_is_judged_as_it_is_alone(sent: list[object]) -> None:
    lines = [json.dumps(body).encode() for body in sent]
    together = check_lines(lines, 1, PERSON, 0)
    alone = [check_lines([line], number, PERSON, 0) for number, line in enumerate(lines, start=1)]
    for name in ("numbers", "data", "rejected"):
        assert getattr(together, name) == [x for group in alone for x in getattr(group, name)]


def test_nan_counts_as_null_and_is_stored_as_such() -> None:
    line = b'{"data": [{"age": NaN, "job": "NaN"}]}'
    assert check_lines([line], 1, PERSON, 0).data == ['[{"age":null,"job":"NaN"}]']
    for bad in (b"Infinity", b"-Infinity", b"1e999"):
        ((_, rejected),) = check_lines([line.replace(b": NaN", b": " + bad)], 1, PERSON, 0).rejected
        assert rejected["errors"][0]["code"] == "not_finite"


def test_half_of_a_surrogate_pair_is_rejected_wherever_it_is() -> None:
    value = b'{"data": [{"age": NaN, "job": "\\ud800"}]}'
    name = b'{"data": [{"age": 1, "\\ud800": "a"}]}'
    rejected = [error for _, error in check_lines([value, name], 1, PERSON, 0).rejected]
    assert [error["code"] for error in rejected] == ["invalid_json", "invalid_data"]
    told = orjson.loads(orjson.dumps(rejected[1]["errors"]))  # the response can be written
    assert told[1]["pointer"] == "/data/0/?"


def test_a_string_without_an_end_is_read_once_however_many_quotes_it_has() -> None:
    line = b'{"data": "' + b'\\"' * 1_000_000  # if each of them began a string, it took hours
    ((_, rejected),) = check_lines([line], 1, PERSON, 0).rejected
    assert rejected["code"] == "invalid_json"
    assert rejected["detail"].startswith("not valid JSON: ")


def test_names_that_the_model_does_not_have_are_left_out_only_if_the_request_says_so() -> None:
    body = {"data": [{"id": 7, "age": 1, "job": "a"}]}
    ((_, rejected),) = check_lines([orjson.dumps(body)], 1, PERSON, 0).rejected
    assert rejected["errors"][0] == {
        "pointer": "/data/0/id",
        "code": "unknown_input",
        "detail": "the model has no id, only age, job",
    }
    lines = [orjson.dumps(body | {"extra": "ignore"})] * 2
    assert check_lines(lines, 1, PERSON, 0).data == ['[{"age":1,"job":"a"}]'] * 2


@given(st.lists(bodies | st.just(GOOD), min_size=1))
def test_a_line_among_many_is_judged_as_it_is_alone(sent: list[object]) -> None:
    lines = []
    for body in sent:
        try:
            lines.append(orjson.dumps(body))
        except TypeError:  # integers that orjson does not write
            lines.append(str(body).replace("'", '"').encode())
    together = check_lines(lines, 1, IRIS, 0)
    alone = [check_lines([line], number, IRIS, 0) for number, line in enumerate(lines, start=1)]
    for name in ("numbers", "data", "models", "custom_ids", "keys", "rejected"):
        assert getattr(together, name) == [x for group in alone for x in getattr(group, name)]


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        (b"x", 'send {"data": [[…], …]}'),
        (b'{"data":[[1,2,3,4]],"model":"other"}', "use one of these models: default"),
        (
            b'{"data":[[1,2,3,4]],"idempotency_key":7}',
            "send a string, or leave idempotency_key out",
        ),
        (b'{"data":[[1,2,3]]}', None),
    ],
)
def test_a_rejected_line_has_the_hint_of_its_error(line: bytes, hint: str | None) -> None:
    ((_, rejected),) = check_lines([line], 1, IRIS, 0).rejected
    assert rejected.get("hint") == hint


def test_without_a_model_a_rejected_line_says_how_to_add_one() -> None:
    ((_, rejected),) = check_lines([LINE], 1, Signatures({}), 0).rejected
    assert (rejected["code"], rejected["hint"]) == (NoModel.code, NoModel.advice)


@pytest.mark.parametrize("key", [" a", "a ", " ", "  a  "])
def test_a_key_that_no_header_can_carry_is_rejected_in_a_line_too(key: str) -> None:
    line = orjson.dumps({"data": [[1, 2, 3, 4]], "idempotency_key": key})
    ((_, rejected),) = check_lines([line], 1, IRIS, 0).rejected
    assert rejected["code"] == "invalid_idempotency_key"
    inner = orjson.dumps({"data": [[1, 2, 3, 4]], "idempotency_key": "a b"})
    assert check_lines([inner], 1, IRIS, 0).keys != [None]


def test_invalid_lines_are_found_among_many_valid_ones() -> None:
    bad = {1, 18, 19, 500, 501, 1_203}
    texts = {n: f"[[{n},2,3,{'null' if n in bad else 4}]]" for n in range(1, 1_204)}
    group = check_lines([f'{{"data":{text}}}'.encode() for text in texts.values()], 1, IRIS, 0)
    assert [number for number, _ in group.rejected] == sorted(bad)
    stored = dict(zip(group.numbers, group.data, strict=True))
    assert stored == {n: text for n, text in texts.items() if n not in bad}
    assert list(stored) == sorted(stored)


def test_after_many_refusals_only_codes_are_told_and_neighbours_together() -> None:
    lines = [b"x"] * (UPLOAD_MAX_EXPLAINED_LINES + 500)
    group = check_lines(lines, 1, IRIS, 0)
    assert "detail" in group.rejected[UPLOAD_MAX_EXPLAINED_LINES - 1][1]
    assert group.rejected[UPLOAD_MAX_EXPLAINED_LINES][1] == {"code": "invalid_json"}
    *_, last = rejections(group.rejected)
    assert last == {
        "lines": [UPLOAD_MAX_EXPLAINED_LINES + 1, UPLOAD_MAX_EXPLAINED_LINES + 500],
        "error": {"code": "invalid_json"},
    }


@pytest.mark.parametrize(
    ("ids", "told"),
    [
        ([], []),
        ([(1, 17), (2, 18), (3, 19)], [{"lines": [1, 3], "ids": [17, 19]}]),
        ([(1, 1), (3, 2)], [{"lines": [1, 1], "ids": [1, 1]}, {"lines": [3, 3], "ids": [2, 2]}]),
        ([(1, 1), (2, 4), (3, 7)], [{"lines": [1, 3], "ids": [1, 7], "step": 3}]),
        (
            [(1, 10), (2, 11), (3, 14)],
            [{"lines": [1, 2], "ids": [10, 11]}, {"lines": [3, 3], "ids": [14, 14]}],
        ),
        (
            [(1, 9), (2, 9), (3, 3)],
            [{"lines": [n, n], "ids": [i, i]} for n, i in [(1, 9), (2, 9), (3, 3)]],
        ),
    ],
)
def test_lines_and_ids_are_told_in_runs_that_grow_evenly(
    ids: list[tuple[int, int]], told: list[dict[str, object]]
) -> None:
    assert list(id_ranges([line for line, _ in ids], [item_id for _, item_id in ids])) == told


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), unique_by=lambda x: x[0]))
def test_every_line_and_its_id_can_be_read_from_the_runs(ids: list[tuple[int, int]]) -> None:
    read = []
    for told in id_ranges([line for line, _ in sorted(ids)], [i for _, i in sorted(ids)]):
        (first, last), (first_id, last_id) = told["lines"], told["ids"]
        found = range(first_id, last_id + 1, told.get("step", 1))
        read += zip(range(first, last + 1), found, strict=True)
    assert read == sorted(ids)
