"""The options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

# No option has a default or reads its variable here: `configurations` does both, for all commands.
DatabaseUrl = Annotated[
    str | None,
    typer.Option(help="SQLAlchemy URL of the database. [DATABASE_URL, or MYSQL_*]"),
]
Host = Annotated[str | None, typer.Option(help="Address to listen on. [HOST=127.0.0.1]")]
Port = Annotated[int | None, typer.Option(help="Port to listen on. [PORT=8000]")]
BatchWaitTime = Annotated[
    float | None,
    typer.Option(help="Seconds between the starts of two runs. [BATCH_WAIT_TIME=60]"),
]
WorkerThreads = Annotated[
    int | None,
    typer.Option(help="Batches in prediction at once. [WORKER_THREADS, 2 to 4 by cores]"),
]
ModelFilepath = Annotated[
    Path | None, typer.Option(help="The ONNX model. [MODEL_FILEPATH, packaged: iris]")
]
LabelFilepath = Annotated[
    Path | None, typer.Option(help="JSON: class index to name. [LABEL_FILEPATH]")
]
ModelName = Annotated[str, typer.Argument(help="The model's name, such as flowers.")]
VersionNumber = Annotated[
    int | None, typer.Option("--version", help="A version's number. [default: the active one]")
]
LogLevel = Annotated[
    str | None, typer.Option(help="DEBUG, INFO, WARNING or ERROR. [LOG_LEVEL=INFO]")
]
LogFormat = Annotated[str | None, typer.Option(help="console or json. [LOG_FORMAT=console]")]
