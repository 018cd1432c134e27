"""A script with pandas and onnxruntime, as it is written by hand: SRC DST MODEL KIND.

It reads the whole file, calls the model once and writes the whole table. It runs in an environment
of its own, so it imports nothing of this project.
"""

import sys

import numpy as np
import onnxruntime as ort
import pandas as pd

TYPES = {
    "iris": {
        "sepal_length": "float32",
        "sepal_width": "float32",
        "petal_length": "float32",
        "petal_width": "float32",
    },
    "mixed": {
        "age": "int64",
        "visits": "int64",
        "income": "float32",
        "score": "float32",
        "rate": "float32",
        "city": "str",
        "job": "str",
    },
}


def main(source: str, target: str, model: str, kind: str) -> None:
    types = TYPES[kind]
    session = ort.InferenceSession(model)
    frame = pd.read_csv(source, dtype={**types, "id": "str"})
    inputs = {name: column(frame[name], type_) for name, type_ in types.items()}
    label, probabilities = session.run(["label", "probabilities"], inputs)
    frame["label"] = label
    for place, name in enumerate(class_names(session)):
        frame[f"probability_{name}"] = probabilities[:, place]
    frame.to_csv(target, index=False)


def column(values: pd.Series, type_: str) -> np.ndarray:
    if type_ == "str":
        return values.fillna("").to_numpy(object).reshape(-1, 1)
    return values.to_numpy(type_).reshape(-1, 1)


def class_names(session: ort.InferenceSession) -> list[str]:
    return session.get_modelmeta().custom_metadata_map["classes"].split(",")


if __name__ == "__main__":
    main(*sys.argv[1:])
