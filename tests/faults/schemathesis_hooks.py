"""What Schemathesis cannot read in the OpenAPI document; loaded by its command line, not by pytest.

Whether rows are valid depends on the model, which the document does not know: there a row may be
anything. So the document is narrowed here to what the packaged iris model takes, and Schemathesis
can hold the API to both sides: rows that fit are accepted, all others are refused.
"""

import json
from typing import Any

import schemathesis
from schemathesis import Case, DeserializationContext, HookContext, Response, SerializationContext
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.openapi.checks import RejectedPositiveData

from batchline.ml.inputs import RANGES

NDJSON = "application/x-ndjson"
LOW, HIGH = RANGES["float32"]
NUMBER = {"type": "number", "exclusiveMinimum": LOW, "exclusiveMaximum": HIGH}
OF_NO_SCHEMA = {"idempotency_key_reused", "unknown_cursor", "unsupported_filters"}
ROW = {"type": "array", "items": NUMBER, "minItems": 4, "maxItems": 4}


@schemathesis.hook
def before_load_schema(context: HookContext, raw_schema: dict[str, Any]) -> None:
    """A row is four float32 numbers, of the input X, for the default model."""
    body = raw_schema["paths"]["/predict"]["post"]["requestBody"]
    _narrow(body["content"]["application/json"]["schema"]["properties"])
    lines = raw_schema["paths"]["/items"]["post"]["requestBody"]
    _narrow(lines["content"][NDJSON]["schema"]["items"]["properties"])


def _narrow(fields: dict[str, Any]) -> None:
    rows = next(each for each in fields["data"]["anyOf"] if each["type"] == "array")
    rows["items"] = ROW
    inputs = {
        "type": "object",
        "properties": {"X": rows},
        "required": ["X"],
        "additionalProperties": False,
    }
    fields["data"] = {"anyOf": [rows, inputs]}
    fields["model"] = {"type": "string", "const": "default"}


@schemathesis.serializer(NDJSON)
def write_lines(context: SerializationContext, value: Any) -> bytes:
    """A list as one line for each of its values."""
    lines = value if isinstance(value, list) else [value]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


@schemathesis.deserializer(NDJSON)
def read_lines(context: DeserializationContext, response: Response) -> Any:
    return [json.loads(line) for line in response.content.splitlines()]


@schemathesis.hook
def filter_failure(context: HookContext, failure: Failure, case: Case, response: Response) -> bool:
    """Whether it is one.

    A key that came before with other data is refused, and so are filters of two kinds at once and a
    cursor that is no item, and no schema can say which those are. Names that the model does not
    have are no error if the request says so. Lines are refused one by one, inside of an answer that
    is 200.
    """
    if isinstance(failure, AcceptedNegativeData) and _ignores_extra(case.body):
        return False
    if case.operation.label == "POST /items" and response.status_code == 200:
        refused = json.loads(response.content.splitlines()[-1])["rejected"]
        return not (isinstance(failure, AcceptedNegativeData) and refused)
    rejected = isinstance(failure, RejectedPositiveData)
    return not (rejected and response.json()["code"] in OF_NO_SCHEMA)


def _ignores_extra(body: Any) -> bool:
    sent = body if isinstance(body, list) else [body]
    return any(isinstance(each, dict) and each.get("extra") == "ignore" for each in sent)
