"""`batchline predict` reads and writes a real S3 server on this machine."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.server import ThreadedMotoServer
from pyarrow import csv, fs, parquet

from tests.acceptance.test_predict import IRIS, flowers, predict, predict_here

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}


@pytest.fixture
def server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"{host}:{port}"
    server.stop()


@pytest.fixture
def lake(server: str) -> Any:
    """A bucket."""
    found = fs.S3FileSystem(
        access_key="test",
        secret_key="test",
        scheme="http",
        endpoint_override=server,
        allow_bucket_creation=True,
    )
    found.create_dir("lake/in")
    return found


def put(lake: Any, path: Path, name: str) -> None:
    with lake.open_output_stream(name) as stream:
        stream.write(path.read_bytes())


def names(lake: Any) -> set[str]:
    every = lake.get_file_info(fs.FileSelector("lake", recursive=True))
    return {each.path for each in every if each.type == fs.FileType.File}


def test_a_folder_of_s3_becomes_a_folder_or_a_file_or_nothing(
    lake: Any, server: str, tmp_path: Path
) -> None:
    put(lake, flowers(tmp_path / "1.csv"), "lake/in/1.csv")
    put(lake, flowers(tmp_path / "2.csv", "bad,oops,1,1,1,x"), "lake/in/2.csv")
    settings = {**KEYS, "AWS_ENDPOINT_URL": f"http://{server}"}
    before = names(lake)

    words = ("s3://lake/in/", *IRIS)
    predict_here(*words, "-o", "s3://lake/none.csv", "--max-errors", "0", status=1, **settings)
    assert names(lake) == before
    said = predict(*words, "-o", "s3://lake/scored.csv", status=3, **settings).stderr
    assert "in s3://lake/scored.csv, 1 with errors (1 not_a_number)" in said
    predict_here(*words, "-o", "s3://lake/out/", "--output-format", "parquet", status=3, **settings)
    added = names(lake) - before
    [part] = added - {"lake/scored.csv", "lake/out/_SUCCESS"}
    table = parquet.read_table(part, filesystem=lake)
    with lake.open_input_file("lake/scored.csv") as file:
        scored = csv.read_csv(file)
    assert table["label"].to_pylist()[:-1] == scored["label"].to_pylist()[:-1]
    assert table["error"].null_count == table.num_rows - 1
