"""What Schemathesis cannot read in the OpenAPI document; loaded by its command line, not by pytest.

Whether rows are valid depends on the model, which the document does not know: there a row may be
anything. So the document is narrowed here to what the packaged iris model takes, and Schemathesis
can hold the API to both sides: rows that fit are accepted, all others are refused.
"""

from typing import Any

import schemathesis
from schemathesis import Case, HookContext, Response
from schemathesis.core.failures import Failure
from schemathesis.openapi.checks import RejectedPositiveData

from batchline.ml.signature import RANGES

LOW, HIGH = RANGES["float32"]
NUMBER = {"type": "number", "exclusiveMinimum": LOW, "exclusiveMaximum": HIGH}
ROW = {"type": "array", "items": NUMBER, "minItems": 4, "maxItems": 4}


@schemathesis.hook
def before_load_schema(context: HookContext, raw_schema: dict[str, Any]) -> None:
    """A row is four float32 numbers."""
    body = raw_schema["paths"]["/predict"]["post"]["requestBody"]
    body["content"]["application/json"]["schema"]["properties"]["data"]["items"] = ROW


@schemathesis.hook
def filter_failure(context: HookContext, failure: Failure, case: Case, response: Response) -> bool:
    """A key that came before with other data is refused, and no schema can say which those are."""
    rejected = isinstance(failure, RejectedPositiveData)
    return not (rejected and response.json()["code"] == "idempotency_key_reused")
