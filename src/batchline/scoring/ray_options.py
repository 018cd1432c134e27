"""Where a run on Ray takes place, and with how many actors."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RayOptions:
    """The choices about the actors.

    Args:
        address: of the head of the cluster. None: the cluster in which the command runs.
        least, most: how many actors. `most` None: as many as the nodes can hold now.
        cpus, gpus: of each actor.
    """

    address: str | None = None
    least: int = 1
    most: int | None = None
    cpus: float = 1.0
    gpus: float = 0.0
