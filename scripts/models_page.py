"""Fill `docs/reference/example-models.md`: how each model was added, a request, and its prediction.

Needs the development extra:

    .venv/bin/python -m scripts.models_page
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from scripts.example_models import EXAMPLES, Example
from tests.service import Service

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "example-models.md"
BEGIN, END = "<!-- examples, by scripts/models_page.py -->\n", "<!-- end -->"
NEEDS_SAMPLE = {"movers"}
LONGEST = 300
"""Characters of data or of an answer that are shown."""


def main() -> None:
    with TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/batchline.db"
        run(folder, url, "db", "upgrade")
        parts = [describe(folder, url, name, example) for name, example in EXAMPLES.items()]
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + BEGIN + "\n" + "\n".join(parts) + "\n" + END + after)


def run(folder: str, url: str, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "batchline", *words],
        env={**os.environ, "DATABASE_URL": url, "LOG_LEVEL": "ERROR"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def describe(folder: str, url: str, name: str, example: Example) -> str:
    """One model's section."""
    Path(folder, f"{name}.onnx").write_bytes(example.make())
    words = ["models", "add", name, f"{name}.onnx"]
    if name in NEEDS_SAMPLE:
        Path(folder, "rows.json").write_text(json.dumps(example.data(12)))
        words += ["--sample", "rows.json"]
    said = run(folder, url, *words)
    body = {"model": name, "data": example.data(1)}
    with Service(url, "api") as service:
        item_id = service.http.post("/predict", json=body).json()["id"]
        run(folder, url, "job", "--once")
        answer = service.read(item_id)
    return (
        f"### {name}: {example.what}\n\n"
        f"```console\n$ batchline {' '.join(words)}\n{shorten(said)}"
        f"$ curl -s -X POST http://127.0.0.1:8000/predict -d '{shown(body)}'\n"
        f'{{"id":{item_id}}}\n```\n\n'
        f"After the next run `GET /predict/id/{item_id}` has\n\n"
        f'```json\n"label": {shown(answer["label"])},\n'
        f'"prediction": {shown(answer["prediction"])}\n```\n'
    )


def shorten(said: str) -> str:
    return re.sub(r"^(.{200}).+$", r"\1…", said, flags=re.MULTILINE)


def shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} … {text[-LONGEST // 4 :]}"


if __name__ == "__main__":
    main()
