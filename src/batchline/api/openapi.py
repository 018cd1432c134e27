"""The application, with an OpenAPI document that says which endpoints need an API key."""

from typing import Any

from fastapi import FastAPI

from batchline.api.roles import NEEDS, Need, Open
from batchline.api_keys import PREFIX, Role

SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": f"{PREFIX}…",
    "description": "An API key. None is needed as long as none has been created.",
}

OF_EVERY_KEY = {
    "401": "The request needs a valid API key",
    "403": "The role of the API key does not allow this, or a page of another site has sent it",
    "429": "The API key has reached a limit",
}


class Application(FastAPI):
    """FastAPI does not know who guards it, so what guards it is added to its document."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            document = super().openapi()
            document["components"]["securitySchemes"] = {"key": SCHEME}
            for path, operations in document["paths"].items():
                for method, operation in operations.items():
                    need = NEEDS.get(f"{method.upper()} {path}", Role.ADMIN)
                    _describe(operation, need)
        return self.openapi_schema or {}


def _describe(operation: dict[str, Any], need: Need) -> None:
    responses = operation["responses"]
    if need is not Open.HEALTH:
        responses.setdefault("421", _problem("The API does not have the name in `Host`"))
    if isinstance(need, Open):
        return
    operation["security"] = [{"key": []}, {}]
    for status, meaning in OF_EVERY_KEY.items():
        responses.setdefault(status, _problem(meaning))
    if need is Role.WRITE:
        responses.setdefault("415", _problem("A browser has sent a form or text"))


def _problem(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": description, "content": {"application/problem+json": {"schema": schema}}}
