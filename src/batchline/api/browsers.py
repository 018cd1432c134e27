"""Keep the pages of other sites from using the browser of somebody who can reach the API."""

from collections.abc import Mapping, Set

from batchline.access_errors import CrossSite, UnsupportedMediaType

SAME_SITE = frozenset({b"same-origin", b"none"})
"""`none`: the user has opened the page, for example from a bookmark."""

WITHOUT_PREFLIGHT = frozenset(
    {b"", b"text/plain", b"application/x-www-form-urlencoded", b"multipart/form-data"}
)
"""A browser sends these to other sites without asking first."""


def check_origin(fields: Mapping[bytes, bytes], origins: Set[str]) -> None:
    """Check a request that changes something. Programs other than browsers send none of the fields.

    Raises:
        CrossSite: a page of another site has sent it.
        UnsupportedMediaType: a page has sent it as a form or as text.
    """
    origin, site = fields.get(b"origin"), fields.get(b"sec-fetch-site")
    if origin is None and site is None:
        return
    host = fields.get(b"host", b"").lower()
    if not _is_own(origin, site, host) and not _is_allowed(origin, origins):
        raise CrossSite(
            "a page of another site has sent this request",
            hint="add the origin of the page to CORS_ORIGINS, if it may send requests",
        )
    media_type = fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if media_type in WITHOUT_PREFLIGHT:
        raise UnsupportedMediaType(
            "a browser must send rows as JSON, not as a form or as text",
            hint="send the header Content-Type: application/json, or application/x-ndjson",
        )


def _is_own(origin: bytes | None, site: bytes | None, host: bytes) -> bool:
    """Whether a page of the API has sent the request. Older browsers send only `Origin`."""
    if site is not None:
        return site in SAME_SITE
    return origin is not None and origin.lower() in (b"http://" + host, b"https://" + host)


def _is_allowed(origin: bytes | None, origins: Set[str]) -> bool:
    return origin is not None and origin.decode("latin-1") in origins
