"""What a command line shows of itself."""

import pytest

from batchline.redaction import urls


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("mysql+pymysql://me:p@ss:w0rd@db:3306/rows", "mysql+pymysql://me:***@db:3306/rows"),
        ("--database-url=postgresql://me:pw@db/rows", "--database-url=postgresql://me:***@db/rows"),
        ("postgresql://db/rows?user=me&password=pw", "postgresql://db/rows?***"),
        ("https://host/in.csv?X-Amz-Signature=abc", "https://host/in.csv?***"),
        ("https://host/in/2026-??.csv", "https://host/in/2026-??.csv"),
        ("sqlite:///rows.db", "sqlite:///rows.db"),
        ("s3://bucket/a:b@c.csv", "s3://bucket/a:b@c.csv"),
        ("--columns", "--columns"),
    ],
)
def test_no_secret_of_a_url_is_repeated(given: str, shown: str) -> None:
    assert urls(given) == shown
