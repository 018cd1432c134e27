"""Settings from the environment, from files and from flags."""

from pathlib import Path

import pytest

from batchline.configurations import Settings, read_settings
from batchline.constants import IRIS_LABELS, IRIS_MODEL
from batchline.db.database import Database
from batchline.errors import ConfigurationError
from tests.service import SETTINGS


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if SETTINGS.match(name):
            monkeypatch.delenv(name)


def test_the_defaults_are_those_of_the_contract() -> None:
    settings = read_settings()
    assert settings.url() == "sqlite:///batchline.db"
    assert settings.batch_wait_time == 60
    assert 2 <= settings.worker_threads <= 4
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert (settings.log_level, settings.log_format) == ("INFO", "console")
    assert (settings.model_filepath, settings.labels) == (IRIS_MODEL, IRIS_LABELS)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:SECRET@host/db",
        "postgresql://host/db?user=batchline&password=SECRET",
        "mysql://host/db?passwd=SECRET",
    ],
)
def test_the_url_that_is_logged_holds_no_password(url: str) -> None:
    assert "SECRET" not in Database(url).url


def test_a_password_with_an_at_sign_that_is_not_escaped_is_not_taken_for_the_host() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Database("mysql://user:SEC@RET@127.0.0.1/db")
    assert "RET" not in caught.value.detail
    assert "%40" in caught.value.hint


def test_a_flag_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "9000")
    monkeypatch.setenv("BATCH_WAIT_TIME", "0.5")
    settings = read_settings(port=9001, batch_wait_time=None)
    assert (settings.port, settings.batch_wait_time) == (9001, 0.5)


@pytest.mark.parametrize(
    "origin", ["app.example", "https://app.example/", "https://App.example", "*", "null", "ftp://a"]
)
def test_only_origins_as_browsers_send_them_can_be_allowed(origin: str) -> None:
    with pytest.raises(ConfigurationError, match="must be origins such as"):
        read_settings(cors_origins=f"https://ok.example:8443,{origin}")
    assert read_settings(cors_origins="http://a, http://[::1]:80").origins == {
        "http://a",
        "http://[::1]:80",
    }


@pytest.mark.parametrize(
    "name", ["api.example:8000", "http://api.example", "api.example/", "*.", "a b", "[::1]:8000x"]
)
def test_a_name_that_no_request_can_have_is_not_allowed(name: str) -> None:
    with pytest.raises(ConfigurationError, match="must be names such as"):
        read_settings(allowed_hosts=f"ok.example,{name}")
    names = ("localhost", "a_b.example.", "*.example.org", "*", "10.0.0.1", "::1", "[::1]")
    assert read_settings(allowed_hosts=", ".join(names)).hosts == names


def test_five_variables_make_a_mysql_url(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"SERVER": "db", "PORT": "3307", "USER": "u", "PASSWORD": "p@/:", "DATABASE": "d"}
    for name, value in values.items():
        monkeypatch.setenv(f"MYSQL_{name}", value)
    assert read_settings().url() == "mysql+pymysql://u:p%40%2F%3A@db:3307/d"
    assert read_settings(database_url="sqlite:///x").url() == "sqlite:///x"


def test_a_secret_may_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("from-a-file\n")
    for name in ("SERVER", "USER", "DATABASE"):
        monkeypatch.setenv(f"MYSQL_{name}", "x")
    monkeypatch.setenv("MYSQL_PASSWORD_FILE", str(tmp_path / "secret"))
    password = read_settings().mysql_password
    assert password is not None
    assert password.get_secret_value() == "from-a-file"
    monkeypatch.setenv("MYSQL_PASSWORD_FILE", str(tmp_path / "missing"))
    with pytest.raises(ConfigurationError, match="MYSQL_PASSWORD_FILE cannot be read"):
        read_settings()


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "")
    assert read_settings().port == 8000


def test_the_labels_of_the_packaged_model_are_for_no_other(tmp_path: Path) -> None:
    assert read_settings(model_filepath=tmp_path / "other.onnx").labels is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BATCH_WAIT_TIME", "-1"),
        ("BATCH_WAIT_TIME", "0"),
        ("BATCH_WAIT_TIME", "nan"),
        ("BATCH_WAIT_TIME", "inf"),
        ("BATCH_WAIT_TIME", "soon"),
        ("WORKER_THREADS", "0"),
        ("WORKER_THREADS", "1.5"),
        ("PORT", "70000"),
        ("MYSQL_PORT", "tcp://10.0.0.1:3306"),
        ("LOG_LEVEL", "LOUD"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_a_value_that_cannot_work_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        read_settings()
    assert caught.value.detail.startswith(f"{name} must be ")
    assert caught.value.detail.endswith(f", got {value}")
    assert caught.value.hint


def test_mysql_without_a_user_is_named() -> None:
    with pytest.raises(ConfigurationError, match="MYSQL_USER must be set"):
        read_settings(mysql_server="db")


def test_a_mysql_password_without_a_server_is_named() -> None:
    with pytest.raises(ConfigurationError, match="MYSQL_SERVER must be set"):
        read_settings(mysql_password="secret")


def test_secrets_are_not_shown() -> None:
    settings = read_settings(database_url="mysql://u:hunter2@db/d", mysql_password="hunter2")
    assert "hunter2" not in repr(settings)
    assert settings.environment()["MYSQL_PASSWORD"] == "hunter2"


def test_settings_can_be_handed_to_a_child_process(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read_settings(database_url="sqlite:///x.db", port=1234, batch_wait_time=0.25)
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert read_settings() == settings


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]


def test_a_child_process_reads_the_files_of_secrets_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("mysql://u:old@db/d")
    monkeypatch.setenv("DATABASE_URL_FILE", str(secret))
    settings = read_settings()
    secret.write_text("mysql://u:new@db/d")
    assert "DATABASE_URL" not in settings.environment()
    assert settings.url() == "mysql://u:old@db/d"
    assert settings.renewed().url() == "mysql://u:new@db/d"
    assert read_settings(database_url="sqlite:///x").renewed().url() == "sqlite:///x"
