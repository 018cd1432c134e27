"""The settings: read once from the environment, frozen, overruled by flags of the command line."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from batchline.constants import IRIS_LABELS, IRIS_MODEL
from batchline.errors import ConfigurationError
from batchline.machine import cores

SECRETS = ("database_url", "mysql_password")
DEFAULT_WORKER_THREADS = min(4, max(2, cores()))
"""Two overlap the database's work with ours, and no more are of use than there are cores; but each
one more adds to the time for which a registration beside them waits."""
DEFAULT_DATABASE_URL = "sqlite:///batchline.db"


class SecretFiles(PydanticBaseSettingsSource):
    """Reads each secret from the file that `NAME_FILE` names, as Docker and Kubernetes mount it."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        path = os.environ.get(f"{field_name.upper()}_FILE") if field_name in SECRETS else None
        return (Path(path).read_text().strip() if path else None), field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {name: self._read(name) for name in SECRETS}
        return {name: value for name, value in found.items() if value is not None}

    def _read(self, name: str) -> str | None:
        try:
            value, _, _ = self.get_field_value(self.settings_cls.model_fields[name], name)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"{name.upper()}_FILE cannot be read: {error}",
                hint="name a text file that holds nothing but the secret, or set the variable.",
            ) from error
        return None if value is None else str(value)


class Settings(BaseSettings):
    """Every setting of the three roles. Field names are the variables' names in lower case."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True)

    database_url: SecretStr | None = None
    mysql_server: str | None = None
    mysql_port: Annotated[int, Field(ge=1, le=65535)] = 3306
    mysql_user: str | None = None
    mysql_password: SecretStr | None = None
    mysql_database: str | None = None
    batch_wait_time: Annotated[float, Field(gt=0, le=31_536_000, allow_inf_nan=False)] = 60.0
    worker_threads: Annotated[int, Field(ge=1, le=256)] = DEFAULT_WORKER_THREADS
    model_filepath: Path = IRIS_MODEL
    label_filepath: Path | None = None
    execution_providers: str = "CPUExecutionProvider"
    model_threads: Annotated[int, Field(ge=0, le=256)] = 0
    graph_optimization: Literal["all", "extended", "basic", "disabled"] = "all"
    models_max_megabytes: Annotated[int, Field(ge=1)] = 1024
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["console", "json"] = "console"

    @model_validator(mode="after")
    def _mysql_is_complete(self) -> Self:
        given = [n for n in ("user", "password", "database") if getattr(self, f"mysql_{n}")]
        if given and not self.mysql_server and not self.database_url:
            raise ValueError(f"MYSQL_{given[0].upper()} is set, but MYSQL_SERVER is not")
        if self.mysql_server and not self.database_url:
            for name in ("mysql_user", "mysql_database"):
                if not getattr(self, name):
                    raise ValueError(f"MYSQL_SERVER is set, but {name.upper()} is not")
        return self

    @property
    def labels(self) -> Path | None:
        """The label file; the packaged one belongs to the packaged model and to no other."""
        if self.label_filepath is None and self.model_filepath == IRIS_MODEL:
            return IRIS_LABELS
        return self.label_filepath

    @property
    def chose_model(self) -> bool:
        """Whether the user has named a default model."""
        return self.model_filepath != IRIS_MODEL or self.label_filepath is not None

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers, the preferred one first."""
        return tuple(name.strip() for name in self.execution_providers.split(",") if name.strip())

    def url(self) -> str:
        """The database's SQLAlchemy URL: `DATABASE_URL`, else the `MYSQL_*` variables."""
        if self.database_url:
            return self.database_url.get_secret_value()
        if not self.mysql_server:
            return DEFAULT_DATABASE_URL
        user = quote(self.mysql_user or "", safe="")
        if self.mysql_password:
            user += ":" + quote(self.mysql_password.get_secret_value(), safe="")
        host = f"[{self.mysql_server}]" if ":" in self.mysql_server else self.mysql_server
        return f"mysql+pymysql://{user}@{host}:{self.mysql_port}/{self.mysql_database}"

    def environment(self) -> dict[str, str]:
        """These settings as variables, for a child process that shall have the same ones."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {name.upper(): _plain(value) for name, value in values.items() if value is not None}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, SecretFiles(settings_cls)


def read_settings(**flags: Any) -> Settings:
    """Read the settings; a flag that is not None wins over its variable.

    Raises:
        ConfigurationError: a value cannot work; it names each such variable.
    """
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        problems = "; ".join(_in_words(problem) for problem in error.errors())
        raise ConfigurationError(
            problems, hint="the README's table of settings lists what each one takes."
        ) from None


def _in_words(problem: Any) -> str:
    name = ".".join(str(part) for part in problem["loc"]).upper()
    message = problem["msg"].removeprefix("Value error, ")
    if not name:
        return str(message)
    shown = "" if name.lower() in SECRETS else f"={problem['input']}"
    return f"{name}{shown} is refused: {message[0].lower()}{message[1:]}"


def _plain(value: Any) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)
