"""The options of `predict --engine ray`, and the engine that they describe."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from batchline.cli.predict_ask import RunSettings
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


@dataclass(frozen=True)
class EngineOptions:
    """The engine, and the actors of the one on Ray."""

    engine: Annotated[
        str, _option("Predict on this machine, or on a Ray cluster.", metavar="local|ray")
    ] = EngineName.LOCAL
    ray_address: Annotated[
        str | None,
        _option(
            "Connect to this Ray cluster. "
            "\\[env: RAY_ADDRESS; default: the one that the command runs in]",
            metavar="HOST:PORT",
        ),
    ] = None
    min_actors: Annotated[int, _option("Start at least this many actors.", min=1)] = 1
    max_actors: Annotated[
        int | None,
        _option("Start at most this many actors. \\[default: as many as fit now]", min=1),
    ] = None
    cpus_per_actor: Annotated[float, _option("Reserve this many cores for each actor.", min=0)] = (
        1.0
    )
    gpus_per_actor: Annotated[
        float, _option("Reserve this many GPUs for each actor, and predict on them.", min=0)
    ] = 0.0

    def ray(self, sources: Sequence[str], unfit: Mapping[str, object]) -> "RayOptions | None":
        """Return the options of the Ray engine, or None if the engine is local.

        Args:
            unfit: option → its value, of those for which there is only the local engine.

        Raises:
            BadParameter: there is no such engine, or it does not take an option.
            ConfigurationError: Ray is not installed.
        """
        from batchline.errors import ConfigurationError
        from batchline.scoring.ray_options import RayOptions

        if self.engine not in [*EngineName]:
            raise typer.BadParameter(
                f"expected {' or '.join(EngineName)}, got {self.engine}", param_hint="--engine"
            )
        if self.engine == EngineName.LOCAL:
            self._check_no_actors()
            return None
        given = [name for name, value in unfit.items() if value]
        if "-" in sources:
            given.append("standard input")
        if given:
            raise typer.BadParameter(
                f"ray does not support {given[0]}, only --engine local does", param_hint="--engine"
            )
        self._check_actors()
        if find_spec("ray") is None:
            raise ConfigurationError(
                "--engine ray needs ray, which cannot be imported",
                hint=f"run {sys.executable} -m pip install ray",
            )
        actors = self.min_actors, self.max_actors, self.cpus_per_actor, self.gpus_per_actor
        return RayOptions(self.ray_address, *actors)

    def _check_no_actors(self) -> None:
        """Check that no option about actors is given for the local engine, which ignores it."""
        for each in fields(self):
            if each.name != "engine" and getattr(self, each.name) != each.default:
                name = f"--{each.name.replace('_', '-')}"
                raise typer.BadParameter("needs --engine ray", param_hint=name)

    def _check_actors(self) -> None:
        if (self.ray_address or "").startswith("ray://"):
            raise typer.BadParameter(
                "expected HOST:PORT of the head, not a ray:// address", param_hint="--ray-address"
            )
        if self.max_actors is not None and self.max_actors < self.min_actors:
            raise typer.BadParameter(
                f"must be at least --min-actors, {self.min_actors}, got {self.max_actors}",
                param_hint="--max-actors",
            )


@contextmanager
def ray_engine(
    options: "RayOptions",
    settings: "RunSettings",
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
