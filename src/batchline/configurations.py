"""The settings: read once from the environment, and overridden by command-line options."""

import os
import re
from collections.abc import Set
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import quote, urlencode

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from batchline.constants import IRIS_LABELS, IRIS_MODEL, MODEL_TIMEOUT
from batchline.errors import ConfigurationError
from batchline.machine import cores

SECRETS = ("database_url", "mysql_password", "source_database_url", "target_database_url")
DEFAULT_WORKER_THREADS = min(4, max(2, cores()))
"""With two threads, one predicts while the other waits for the database. More threads than CPU
cores do not help, and each one delays registrations on the same machine."""
ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:\d+)?|https?://\[[0-9a-f:]+\](:\d+)?")
"""As browsers send it: in lower case, and without a slash at the end."""
HOST_NAME = re.compile(
    r"\*|(?:\*\.)?[\w-]+(?:\.[\w-]+)*\.?|\[?[0-9a-fA-F]*:[0-9a-fA-F:.]*\]?", re.ASCII
)
"""A name, or an IPv6 address, without a port, which `Host` may have or not."""
DEFAULT_DATABASE_URL = "sqlite:///batchline.db"


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


class Settings(BaseModel):
    """All settings. A field's name in upper case is its environment variable."""

    model_config = ConfigDict(frozen=True)

    database_url: SecretStr | None = Field(
        None,
        description="SQLAlchemy URL of SQLite, MySQL ≥ 8.0.1, MariaDB ≥ 10.6 or PostgreSQL ≥ 13",
    )
    mysql_server: str | None = Field(
        None, description="host of the MySQL or MariaDB server, used if `DATABASE_URL` is not set"
    )
    mysql_port: int = Field(3306, ge=1, le=65535, description="port of that server")
    mysql_user: str | None = Field(None, description="user on that server")
    mysql_password: SecretStr | None = Field(None, description="password of that user")
    mysql_database: str | None = Field(None, description="database on that server")
    mysql_ssl_ca: Path | None = Field(
        None,
        description="file with the certificate authority of that server. Then its certificate and "
        "its host are checked",
    )
    mysql_ssl_mode: (
        Literal["DISABLED", "PREFERRED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"] | None
    ) = Field(
        None,
        description="how connections to that server are encrypted, as `ssl_mode` of MySQL's "
        "clients. `VERIFY_IDENTITY` with `MYSQL_SSL_CA`, otherwise `PREFERRED`",
    )
    database_wait: float = Field(
        60.0,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="seconds that `up`, `api` and `job` wait at their start for a database that is "
        "not up yet; 0: exit at once",
    )
    source_database_url: SecretStr | None = Field(
        None, description="database that `predict --query` reads, if it is not `DATABASE_URL`"
    )
    target_database_url: SecretStr | None = Field(
        None, description="database that `predict --into` writes, if it is not `DATABASE_URL`"
    )
    batch_wait_time: float = Field(
        60.0,
        gt=0,
        le=31_536_000,
        allow_inf_nan=False,
        description="seconds between the starts of two runs; fractions are allowed",
    )
    worker_threads: int = Field(
        DEFAULT_WORKER_THREADS,
        ge=1,
        le=256,
        description="batches that one job process predicts in parallel",
    )
    model_filepath: Path = Field(
        IRIS_MODEL,
        description="ONNX file of the model `default`; a new file or other labels become a new "
        "version. The bundled model is used only until there is a `default`",
    )
    label_filepath: Path | None = Field(
        None, description='JSON with class names: `{"0": "setosa", …}`, or a list in class order'
    )
    execution_providers: str = Field(
        "CPUExecutionProvider",
        description="ONNX Runtime execution providers, separated by commas, in order of preference",
    )
    operator_libraries: str = Field(
        "",
        description="Paths of shared libraries with custom ONNX operators, separated by commas",
    )
    model_timeout: float = Field(
        MODEL_TIMEOUT,
        gt=0,
        le=86_400,
        allow_inf_nan=False,
        description="seconds for one call of a model, and for loading one. An item, or a row of a "
        "file, that takes longer by itself fails with `timed_out`. The limit also ends the "
        "trial run of a new model",
    )
    model_threads: int = Field(
        0, ge=0, le=256, description="threads per model call; 0: CPU cores ÷ `WORKER_THREADS`"
    )
    graph_optimization: Literal["all", "extended", "basic", "disabled"] = Field(
        "all", description="ONNX Runtime graph optimization level when a model is loaded"
    )
    models_max_megabytes: int = Field(
        1024,
        ge=1,
        description="model files that one job keeps loaded; beyond that it evicts the least "
        "recently used model",
    )
    host: str = Field("127.0.0.1", description="address that the API listens on")
    port: int = Field(8000, ge=1, le=65535, description="port that the API listens on")
    metrics_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="port on `HOST` for the metrics of `job` and of the job of `up`. Without it, "
        "the job does not listen. The API has its metrics at `/metrics`",
    )
    auth: Literal["auto", "on", "off"] = Field(
        "auto",
        description="`auto`: the API requires API keys once one exists, and without one it listens "
        "only on loopback addresses. `on`: always. `off`: never, since a proxy checks the clients",
    )
    allowed_hosts: str = Field(
        "",
        description="names of the API, separated by commas, that requests may have in `Host` while "
        "no key is required. `*.example.com` stands for all names that end so, `*` for all names",
    )
    cors_origins: str = Field(
        "",
        description="origins of web pages that may send requests, separated by commas, such as "
        "`https://app.example.com`",
    )
    late_after: float | None = Field(
        None,
        gt=0,
        le=31_536_000,
        allow_inf_nan=False,
        description="seconds that a request may wait for its prediction until `status` and "
        "`/health/batch` say that predictions are late. Default: 3 × `BATCH_WAIT_TIME`, at least "
        "300",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="least severe level that is logged"
    )
    log_format: Literal["console", "json"] = Field(
        "console", description="`console` for people, `json` for machines"
    )

    _in_files: Set[str] = PrivateAttr(frozenset())
    """The secrets that come from files."""

    @model_validator(mode="after")
    def _mysql_is_complete(self) -> Self:
        names = ("user", "password", "database", "ssl_ca", "ssl_mode")
        given = [name for name in names if getattr(self, f"mysql_{name}")]
        if given and not self.mysql_server and not self.database_url:
            raise ValueError(f"MYSQL_SERVER must be set with MYSQL_{given[0].upper()}")
        if self.mysql_server and not self.database_url:
            for name in ("mysql_user", "mysql_database"):
                if not getattr(self, name):
                    raise ValueError(f"{name.upper()} must be set with MYSQL_SERVER")
        return self

    @field_validator("allowed_hosts")
    @classmethod
    def _are_names(cls, text: str) -> str:
        for each in _listed(text):
            if not HOST_NAME.fullmatch(each):
                raise ValueError(
                    "names such as api.example.com, separated by commas, without ports"
                )
        return text

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, text: str) -> str:
        for each in _listed(text):
            if not ORIGIN.fullmatch(each):
                raise ValueError("origins such as https://app.example.com, separated by commas")
        return text

    @property
    def labels(self) -> Path | None:
        """Return the label file. The bundled labels are used only with the bundled model."""
        if self.label_filepath is None and self.model_filepath == IRIS_MODEL:
            return IRIS_LABELS
        return self.label_filepath

    @property
    def chose_model(self) -> bool:
        """Return whether the user has set a default model."""
        return self.model_filepath != IRIS_MODEL or self.label_filepath is not None

    @property
    def late_after_seconds(self) -> float:
        """Return `LATE_AFTER` or its default."""
        return self.late_after or max(3 * self.batch_wait_time, 300.0)

    @property
    def providers(self) -> tuple[str, ...]:
        """Return the execution providers, the preferred one first."""
        return _listed(self.execution_providers)

    @property
    def libraries(self) -> tuple[str, ...]:
        """Return `OPERATOR_LIBRARIES` as a tuple."""
        return _listed(self.operator_libraries)

    @property
    def hosts(self) -> tuple[str, ...]:
        """Return `ALLOWED_HOSTS` as a tuple."""
        return _listed(self.allowed_hosts)

    @property
    def origins(self) -> frozenset[str]:
        """Return `CORS_ORIGINS` as a set."""
        return frozenset(_listed(self.cors_origins))

    def url(self) -> str:
        """Return the database's SQLAlchemy URL from `DATABASE_URL`, or else from `MYSQL_*`."""
        if self.database_url:
            return self.database_url.get_secret_value()
        if not self.mysql_server:
            return DEFAULT_DATABASE_URL
        user = quote(self.mysql_user or "", safe="")
        if self.mysql_password:
            user += ":" + quote(self.mysql_password.get_secret_value(), safe="")
        host = f"[{self.mysql_server}]" if ":" in self.mysql_server else self.mysql_server
        given = {"ssl_ca": self.mysql_ssl_ca, "ssl_mode": self.mysql_ssl_mode}
        query = urlencode({name: value for name, value in given.items() if value})
        name = quote(self.mysql_database or "", safe="")
        url = f"mysql+pymysql://{user}@{host}:{self.mysql_port}/{name}"
        return f"{url}?{query}" if query else url

    def source_url(self) -> str:
        """Return the URL of the database that `predict --query` reads."""
        return self._other(self.source_database_url)

    def target_url(self) -> str:
        """Return the URL of the database that `predict --into` writes."""
        return self._other(self.target_database_url)

    def _other(self, given: SecretStr | None) -> str:
        return given.get_secret_value() if given else self.url()

    def renewed(self) -> Self:
        """Return these settings with the secrets that their files contain now.

        Raises:
            ConfigurationError: a file cannot be read.
        """
        found = _secrets_in_files()
        return self.model_copy(
            update={name: SecretStr(found[name]) for name in self._in_files & found.keys()}
        )

    def environment(self) -> dict[str, str]:
        """Return these settings as environment variables for a child process.

        The child reads the files of secrets itself, so that it can read them again.
        """
        names = [name for name in type(self).model_fields if name not in self._in_files]
        values = {name: getattr(self, name) for name in names}
        return {name.upper(): _plain(value) for name, value in values.items() if value is not None}


def read_settings(**flags: Any) -> Settings:
    """Read the settings. A flag that is not None overrides its variable.

    Raises:
        ConfigurationError: a value is invalid. The detail lists each invalid variable.
    """
    chosen = {name: value for name, value in flags.items() if value is not None}
    try:
        in_files, in_variables = _secrets_in_files(), _environment()
        settings = Settings(**{**in_files, **in_variables, **chosen})
        settings._in_files = in_files.keys() - in_variables.keys() - chosen.keys()
        return settings
    except ValidationError as error:
        given = set(chosen)
        wrong = [str(problem["loc"][0]) for problem in error.errors() if problem["loc"]]
        names = ", ".join(_shown(name, given) for name in wrong) or "the value"
        again = "the command again" if given.intersection(wrong) else "`batchline check`"
        raise ConfigurationError(
            "; ".join(_in_words(problem, given) for problem in error.errors()),
            hint=f"correct {names}, then run {again}",
        ) from None


def _environment() -> dict[str, str]:
    """Return the variables of settings that are not empty, whatever their case is."""
    names = {name.upper(): name for name in Settings.model_fields}
    values = {names.get(name.upper()): value for name, value in os.environ.items() if value}
    return {name: value for name, value in values.items() if name}


def _secrets_in_files() -> dict[str, str]:
    """Return what is in the files that `NAME_FILE` names, as Docker and Kubernetes mount secrets.

    Raises:
        ConfigurationError: one cannot be read.
    """
    found = {}
    for name in SECRETS:
        variable = f"{name.upper()}_FILE"
        try:
            if path := os.environ.get(variable):
                found[name] = Path(path).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"{variable} cannot be read: {error}",
                hint=f"set {variable} to a text file that contains only the secret",
            ) from error
    return found


def _in_words(problem: Any, flags: Set[str]) -> str:
    """Return a sentence about an invalid value, without the value of a secret."""
    message = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:
        return str(message)
    name = str(problem["loc"][0])
    limit = message.removeprefix("Input should be ").partition(", unable")[0]
    value = problem["input"]
    found = f"{value:g}" if isinstance(value, float) else value
    got = "" if name.lower() in SECRETS else f", got {found}"
    return f"{_shown(name, flags)} must be {limit[0].lower()}{limit[1:]}{got}"


def _shown(name: str, flags: Set[str]) -> str:
    """Return a setting as the user gave it: as an option or as a variable."""
    return f"--{name.replace('_', '-')}" if name in flags else name.upper()


def _plain(value: Any) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
