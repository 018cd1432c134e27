"""`/docs`: the OpenAPI document in Swagger UI, which loads nothing from other hosts."""

from importlib.resources import files
from typing import Literal

from fastapi import APIRouter, Response

router = APIRouter(include_in_schema=False)

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Batchline</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</html>
"""

START = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
});
"""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)

PACKAGE = "fastapi_offline"
"""Has the files of Swagger UI. It is not imported."""


@router.get("/docs")
async def page() -> Response:
    """Return the page."""
    headers = {"Content-Security-Policy": POLICY}
    return Response(PAGE, headers=headers, media_type="text/html")


@router.get("/docs/start.js")
async def start() -> Response:
    """Return what starts Swagger UI. The policy allows no script within the page."""
    return Response(START, media_type="text/javascript")


@router.get("/docs/{name}")
def asset(name: Literal["swagger-ui-bundle.js", "swagger-ui.css"]) -> Response:
    """Return a file of Swagger UI."""
    kind = "text/css" if name.endswith(".css") else "text/javascript"
    return Response((files(PACKAGE) / "static" / name).read_bytes(), media_type=kind)
