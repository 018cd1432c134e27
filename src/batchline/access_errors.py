"""The errors of requests that are not allowed."""

from batchline.errors import BatchlineError


class Unauthorized(BatchlineError):
    """The request needs a valid API key.

    Send the header `Authorization: Bearer KEY`. To get a key, ask the operator of the service.
    """

    code = "unauthorized"
    status = 401


class Forbidden(BatchlineError):
    """The role of the API key does not allow this.

    Use a key with the role that `detail` names.
    """

    code = "forbidden"
    status = 403


class CrossSite(BatchlineError):
    """A page of another site has sent the request.

    If this page may send requests, the operator adds its origin to `CORS_ORIGINS`.
    """

    code = "cross_site"
    status = 403


class UnsupportedMediaType(BatchlineError):
    """A browser has sent the rows as a form or as text.

    Send the header `Content-Type: application/json`, or `application/x-ndjson` to `POST /items`.
    """

    code = "unsupported_media_type"
    status = 415


class UnknownHost(BatchlineError):
    """The API does not have the name that the request is for.

    Use an address that the API listens on. If it has other names, the operator adds them to
    `ALLOWED_HOSTS`.
    """

    code = "unknown_host"
    status = 421


class RateLimited(BatchlineError):
    """The API key has sent too many requests.

    Send the request again after `Retry-After` seconds.
    """

    code = "rate_limited"
    status = 429


class QuotaExceeded(BatchlineError):
    """The API key has registered its number of items for today.

    Send the rest after `Retry-After` seconds, when the next UTC day begins.
    """

    code = "quota_exceeded"
    status = 429
