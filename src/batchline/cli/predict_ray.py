"""The options of `predict --engine ray`, and the engine that they describe."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from batchline.cli.predict_ask import RunSettings
    from batchline.configurations import Settings
    from batchline.files.sink import Encoder
    from batchline.scoring.local import LocalEngine
    from batchline.scoring.model import ScoringModel
    from batchline.scoring.ray_options import RayOptions
    from batchline.scoring.scorer import Scorer

RAY = "Ray"
GPU = "CUDAExecutionProvider"


class EngineName(StrEnum):
    LOCAL = "local"
    RAY = "ray"


def _option(text: str, **more: Any) -> Any:
    return typer.Option(help=text, rich_help_panel=RAY, **more)


Engine = Annotated[
    str, _option("Predict on this machine, or on a Ray cluster.", metavar="local|ray")
]
RayAddress = Annotated[
    str | None,
    _option(
        "Connect to this Ray cluster. \\[default: the one that the command runs in]",
        metavar="HOST:PORT",
    ),
]
MinActors = Annotated[int, _option("Start at least this many actors.", min=1)]
MaxActors = Annotated[
    int | None,
    _option("Start at most this many actors. \\[default: as many as fit now]", min=1),
]
CpusPerActor = Annotated[float, _option("Reserve this many cores for each actor.", min=0)]
GpusPerActor = Annotated[
    float, _option("Reserve this many GPUs for each actor, and predict on them.", min=0)
]


def check_ray(
    engine: str, sources: Sequence[str], unfit: Mapping[str, object], options: "RayOptions"
) -> "RayOptions | None":
    """Return the options of the Ray engine, or None if the engine is local.

    Args:
        unfit: option → its value, of those for which there is only the local engine.

    Raises:
        BadParameter: there is no such engine, or it does not take an option.
        ConfigurationError: Ray is not installed.
    """
    from batchline.errors import ConfigurationError

    if engine not in [*EngineName]:
        raise typer.BadParameter(
            f"expected {' or '.join(EngineName)}, got {engine}", param_hint="--engine"
        )
    if engine == EngineName.LOCAL:
        _check_unused(options)
        return None
    given = [name for name, value in unfit.items() if value]
    if "-" in sources:
        given.append("standard input")
    if given:
        raise typer.BadParameter(
            f"ray does not support {given[0]}, only --engine local does", param_hint="--engine"
        )
    _check_actors(options)
    if find_spec("ray") is None:
        raise ConfigurationError(
            "--engine ray needs ray, which cannot be imported",
            hint='run: pip install "batchline[ray]"',
        )
    return options


def _check_actors(options: "RayOptions") -> None:
    if (options.address or "").startswith("ray://"):
        raise typer.BadParameter(
            "expected HOST:PORT of the head, not a ray:// address", param_hint="--ray-address"
        )
    if options.most is not None and options.most < options.least:
        raise typer.BadParameter(
            f"must be at least --min-actors, {options.least}, got {options.most}",
            param_hint="--max-actors",
        )


def _check_unused(options: "RayOptions") -> None:
    """Check that no option about actors is given for the local engine, which would ignore it."""
    names = {
        "address": "--ray-address",
        "least": "--min-actors",
        "most": "--max-actors",
        "cpus": "--cpus-per-actor",
        "gpus": "--gpus-per-actor",
    }
    for field, name in names.items():
        if getattr(options, field) != getattr(type(options)(), field):
            raise typer.BadParameter("needs --engine ray", param_hint=name)


@contextmanager
def ray_engine(
    options: "RayOptions",
    settings: "Settings | RunSettings",
    model: "ScoringModel",
    scorer: "Scorer",
    encoder: "Encoder",
    keep: list[str] | None,
    *rest: Any,
    **more: Any,
) -> "Iterator[LocalEngine]":
    """Connect to the cluster, and return the engine with its actors."""
    from batchline.cli.runtime import runtime_of
    from batchline.errors import ConfigurationError
    from batchline.scoring.ray_actor import ActorWork
    from batchline.scoring.ray_engine import Actors, RayEngine, connected

    content = model.content()
    if content.sha256 != model.sha256:
        raise ConfigurationError("the model file changed while it was read")
    runtime = runtime_of(settings)
    threads = runtime.threads or max(1, int(options.cpus))
    providers = (GPU, "CPUExecutionProvider") if options.gpus else runtime.providers
    work = ActorWork(
        content.pack(),
        model.predictor.signature,
        model.predictor.batching,
        model.predictor.allow_non_finite,
        replace(runtime, providers=providers, threads=threads),
        scorer.kinds,
        scorer.added,
        scorer.name,
        scorer.version,
        encoder,
        keep,
        settings.model_timeout,
    )
    with connected(options.address):
        actors = Actors(work, options)
        yield RayEngine(*rest, scorer, keep=keep, actors=actors, **more)
