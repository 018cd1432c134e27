"""Which values may be missing: what the graph shows and a trial confirms, or what the user says.

A trial alone proves nothing, since a model that knows no missing values may return a number for
NaN all the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from batchline.errors import ConfigurationError
from batchline.ml.examination.missing_trial import MissingTrial
from batchline.ml.examination.nan_paths import shown_missing
from batchline.ml.examination.onnx_file import Graph
from batchline.ml.examination.report import WARNING
from batchline.ml.features import Feature, features_of, with_missing
from batchline.ml.inputs import FLOATS
from batchline.ml.signature import Signature

Names = tuple[str, ...]

ALL = "all"
"""Instead of names: all features."""

MAX_NAMES = 5
"""Names that a hint or a note lists."""

ROWS = 3
"""Rows on which each feature is tried."""


@dataclass(frozen=True, slots=True)
class MissingChoices:
    """What a user says about missing values.

    Args:
        missing: the names of features that may be missing, or `all`.
        no_missing: the names of features that may not.
        texts: `VALUE` for all string inputs, or `NAME=VALUE`.
    """

    missing: Names = ()
    no_missing: Names = ()
    texts: Names = ()


def find_missing(
    graph: Graph, trial: MissingTrial, choices: MissingChoices
) -> tuple[Signature, list[str]]:
    """Return the signature of the trial with the values that may be missing, and notes for people.

    Raises:
        ConfigurationError: a name is unknown, or its values cannot be missing.
    """
    signature = trial.signature
    features = features_of(signature)
    told = _told(features, choices)
    shown = _shown(graph, trial, features)
    confirmed, notes = _confirmed(trial, [each for each in shown if each.name not in told])
    if confirmed:
        notes.append(f"the graph and trials show that {_listed(confirmed)} may be missing")
        known = {each.name for each in confirmed} | told.keys()
        if any(each.of.dtype in FLOATS and each.name not in known for each in features):
            notes.append(
                "if the model accepts missing values of other features, name them with --missing"
            )
    forced = [each for each in features if told.get(each.name)]
    if forced:
        notes.append(f"--missing says that {_listed(forced)} may be missing")
        notes += _warning(trial, forced)
    found = _flagged(signature, [*confirmed, *forced])
    return _with_texts(found, choices.texts), notes


def _shown(graph: Graph, trial: MissingTrial, features: Sequence[Feature]) -> list[Feature]:
    flags = shown_missing(graph, trial.signature.inputs, axis=trial.batching.axis)
    return [
        each
        for each in features
        if each.of.name in flags and _has_flag(flags[each.of.name], each.place)
    ]


def _has_flag(flags: Sequence[bool], place: int | None) -> bool:
    return all(flags) if place is None or len(flags) == 1 else flags[place]


def _flagged(signature: Signature, features: Sequence[Feature]) -> Signature:
    """Return the signature with a flag for each of these features."""
    missing = {(each.of.name, each.place) for each in features}
    flags: dict[str, list[bool]] = {}
    for each in features_of(signature):
        if each.of.dtype in FLOATS:
            flags.setdefault(each.of.name, []).append((each.of.name, each.place) in missing)
    return with_missing(signature, flags)


def _confirmed(trial: MissingTrial, shown: Sequence[Feature]) -> tuple[list[Feature], list[str]]:
    """Return the features for which a trial confirms what the graph shows, and notes."""
    if not shown:
        return [], []
    trial = trial.of_finite_rows()
    each_alone = [[each] for each in shown for _ in range(ROWS)]
    if trial.accepts([*each_alone, shown]):
        return list(shown), []
    good = [each for each in shown if trial.accepts([[each]] * ROWS)]
    if not good or not trial.accepts([good]):
        good = []
    names = {each.name for each in good}
    bad = [each for each in shown if each.name not in names]
    note = (
        f"{_listed(bad)} may be missing by the graph, but in a trial the model failed or gave no "
        "finite numbers"
    )
    return good, [note]


def _warning(trial: MissingTrial, forced: Sequence[Feature]) -> list[str]:
    if trial.accepts([[each] for each in forced if not each.of.per_item]):
        return []
    return [
        f"{WARNING}the model fails or gives no finite numbers if {_listed(forced)} is missing. "
        "Give --missing only what the model knows to handle"
    ]


def _listed(features: Sequence[Feature]) -> str:
    names = ", ".join(each.name for each in features[:MAX_NAMES])
    rest = len(features) - MAX_NAMES
    return f"{names} and {rest} more" if rest > 0 else names


# The user ---------------------------------------------------------------------------------------


def _told(features: Sequence[Feature], choices: MissingChoices) -> dict[str, bool]:
    """Return what the user says about each feature. A name counts more than `all`."""
    both = set(choices.missing) & set(choices.no_missing)
    if both:
        name = min(both)
        raise ConfigurationError(
            f"--missing and --no-missing both name {name}", hint="name it with one of the options"
        )
    told: dict[str, bool] = {}
    for names, may_be in ((choices.missing, True), (choices.no_missing, False)):
        if ALL in names:
            _check_floats(features)
            told |= {each.name: may_be for each in features if each.of.dtype in FLOATS}
    for names, may_be in ((choices.missing, True), (choices.no_missing, False)):
        for name in names:
            if name != ALL:
                told |= {each.name: may_be for each in _named(name, features, may_be=may_be)}
    return told


def _check_floats(features: Sequence[Feature]) -> None:
    if not any(each.of.dtype in FLOATS for each in features):
        kinds = ", ".join(sorted({each.of.dtype for each in features}))
        raise ConfigurationError(
            f"only float values can be missing, but the inputs of the model are {kinds}",
            hint="leave --missing and --no-missing out",
        )


def _named(name: str, features: Sequence[Feature], *, may_be: bool) -> list[Feature]:
    """Return the feature with this name, or all features of the input with this name."""
    found = [each for each in features if each.name == name]
    found = found or [each for each in features if each.of.name == name]
    if not found:
        names = [each.name for each in features]
        near = get_close_matches(name, names, MAX_NAMES) or names[:MAX_NAMES]
        raise ConfigurationError(
            f"the model has no feature {name[:80]}", hint=f"name a feature: {', '.join(near)}"
        )
    dtype = found[0].of.dtype
    if may_be and dtype == "str":
        raise ConfigurationError(
            f"{name} is a string, for which --missing gives no value",
            hint=f"say what the model gets: --missing-text {name}=VALUE",
        )
    if may_be and dtype not in FLOATS:
        raise ConfigurationError(
            f"{name} is of the type {dtype}, which has no missing value",
            hint=f"leave {name} out, or export the model with a float input",
        )
    return found


def _with_texts(signature: Signature, texts: Names) -> Signature:
    """Return the signature with the text that string inputs get for a missing value."""
    inputs = {each.name: each for each in signature.inputs}
    strings = [each.name for each in signature.inputs if each.dtype == "str"]
    for text in texts:
        if not text.isprintable():
            raise ConfigurationError(
                f"--missing-text {text!r} has characters that cannot be printed",
                hint="choose another text",
            )
        if not strings:
            raise ConfigurationError(
                "--missing-text is for string inputs, and the model has none",
                hint="leave --missing-text out, or use --missing for floats",
            )
        name, is_named, value = text.partition("=")
        if is_named and name not in strings:
            near = get_close_matches(name, strings, MAX_NAMES) or strings[:MAX_NAMES]
            raise ConfigurationError(
                f"the model has no string input {name[:80]}",
                hint=f"write NAME=VALUE with the name of an input: {', '.join(near)}",
            )
        for each in [name] if is_named else strings:
            inputs[each] = replace(inputs[each], missing_text=value if is_named else text)
    return replace(signature, inputs=tuple(inputs.values()))
