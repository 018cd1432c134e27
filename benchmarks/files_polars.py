"""A script with polars and onnxruntime, as it is written by hand: SRC DST MODEL KIND.

It reads the whole file, calls the model once and writes the whole table. It runs in an environment
of its own, so it imports nothing of this project.
"""

import sys

import numpy as np
import onnxruntime as ort
import polars as pl

TYPES = {
    "iris": {
        "sepal_length": pl.Float32,
        "sepal_width": pl.Float32,
        "petal_length": pl.Float32,
        "petal_width": pl.Float32,
    },
    "mixed": {
        "age": pl.Int64,
        "visits": pl.Int64,
        "income": pl.Float32,
        "score": pl.Float32,
        "rate": pl.Float32,
        "city": pl.String,
        "job": pl.String,
    },
}


def main(source: str, target: str, model: str, kind: str) -> None:
    types = TYPES[kind]
    session = ort.InferenceSession(model)
    frame = pl.read_csv(source, schema_overrides={**types, "id": pl.String})
    inputs = {name: column(frame[name], type_) for name, type_ in types.items()}
    label, probabilities = session.run(["label", "probabilities"], inputs)
    added = [pl.Series("label", label.tolist(), pl.String)]
    for place, name in enumerate(class_names(session)):
        added.append(pl.Series(f"probability_{name}", probabilities[:, place]))
    frame.with_columns(added).write_csv(target)


def column(values: pl.Series, type_: type[pl.DataType]) -> np.ndarray:
    filled = values.fill_null("") if type_ is pl.String else values
    return filled.to_numpy().reshape(-1, 1)


def class_names(session: ort.InferenceSession) -> list[str]:
    return session.get_modelmeta().custom_metadata_map["classes"].split(",")


if __name__ == "__main__":
    main(*sys.argv[1:])
