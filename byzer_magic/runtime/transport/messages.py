"""What the controller and the pools are told, and what they return, apart from requests to models.

`protocol.METHODS` says which method takes and yields which.
"""

from __future__ import annotations

from typing import Any

import msgspec

from byzer_magic.backends.network import Network
from byzer_magic.catalog.prices import Price
from byzer_magic.commands.spec import DeploySpec, ServeSpec
from byzer_magic.types import Dispatched, Item, Localizable, Message, Routed, Waiting, unpack_texts


class UndeployRequest(msgspec.Struct, frozen=True):
    """Admit no more requests, wait up to `grace` seconds for those in flight, and end."""

    grace: float


class UndeployResult(msgspec.Struct, frozen=True):
    """The number of requests that were cancelled, and the processes that end with the deployment."""

    unfinished: int
    pids: list[int]


class ScaleRequest(msgspec.Struct, frozen=True):
    """Change the number of workers."""

    workers: int
    why: Localizable = ""
    """Shown by `stat` and the panel; empty for a command."""

    def __post_init__(self) -> None:
        """Unpack a text that has crossed a socket."""
        unpack_texts(self, "why")


class RestartRequest(msgspec.Struct, frozen=True):
    """Restart a worker (None: all, one by one) when its requests have finished, at the latest after `grace` seconds."""

    worker: int | None
    grace: float


class DrainRequest(msgspec.Struct, frozen=True):
    """Dispatch no more requests to a worker (None: to all)."""

    worker: int | None


class DeployRequest(msgspec.Struct, frozen=True):
    """Create a deployment; see `plans`, which makes one of a plan and a plan of one."""

    spec: DeploySpec
    id: str
    token: str
    params: dict[str, Any]
    secret: list[str]
    """The names of the parameters whose values are secrets."""
    model_path: str | None
    concurrency: int
    network: Network
    spare: bool
    """Whether to keep a process ready for the next deployment."""
    folder: str = ""
    """The working directory of the face, whose `.env` it has read."""


class FleetEntry(msgspec.Struct, frozen=True):
    """A deployment that the cluster is to have."""

    alias: str
    kind: str
    workers: int
    why: Localizable = ""
    """Why it does not run; empty while it does."""
    hint: Localizable = ""
    restoring: bool = False
    spec: DeploySpec | None = None
    """As typed, without the parameters in `left_out`."""
    left_out: list[str] = []
    """The parameters whose values were secrets, and are kept nowhere."""

    def __post_init__(self) -> None:
        """Unpack texts that have crossed a socket."""
        unpack_texts(self, "why", "hint")


class FleetView(msgspec.Struct, frozen=True):
    """All deployments that the cluster is to have."""

    entries: list[FleetEntry]
    path: str
    """Of the file in which they are kept."""
    problem: Localizable = ""
    """Why that could not be read or written."""

    def __post_init__(self) -> None:
        """Unpack a text that has crossed a socket."""
        unpack_texts(self, "problem")


class RoomRequest(msgspec.Struct, frozen=True):
    """Make room for the model of a deployment that wakes; True says that it may load it until the call is closed."""

    alias: str
    spec: DeploySpec
    """With the number of workers that are to load the model."""
    waits: bool = True
    """Whether it waits for others that are in use; otherwise they are the reason of an error, NoRoom."""


class SleepRequest(msgspec.Struct, frozen=True):
    """Unload the model until the next request comes."""

    why: Localizable = ""
    """Shown by `stat` and the panel; empty for a command."""
    finish: bool = False
    """Also where there are requests: those that run end first, those in the queue wake it again."""

    def __post_init__(self) -> None:
        """Unpack a text that has crossed a socket."""
        unpack_texts(self, "why")


class ModelIdentity(msgspec.Struct, frozen=True):
    """Which model a deployment is; see `model_identity`."""

    digest: str
    kind: str
    title: str
    members: list[str] = []
    """Of a route: the deployments that may answer, whose models count, too."""


class ModelPrice(msgspec.Struct, frozen=True):
    """What the tokens of a deployment's model cost."""

    kind: str
    title: str
    price: Price | None = None
    """None where it is unknown."""
    members: list[str] = []
    """Of a route: the deployments that may answer, at their prices."""
    limit: int | None = None
    """Tokens of an answer, where the deployment sets it."""

    @property
    def is_free(self) -> bool:
        """Return whether the model runs on machines of one's own, so that there is no price."""
        return not self.kind.startswith("saas/") and not self.members


class AliasRequest(msgspec.Struct, frozen=True):
    """About one deployment."""

    alias: str


class RemoveRequest(msgspec.Struct, frozen=True):
    """Undeploy an alias, after up to `grace` seconds for requests in flight."""

    alias: str
    grace: float


class AbandonRequest(msgspec.Struct, frozen=True):
    """Wait until nothing is left of a deploy that was cancelled."""

    id: str


class Resources(msgspec.Struct, frozen=True):
    """The free and the total amount of each resource of the cluster: `CPU` and `GPU`."""

    amounts: dict[str, tuple[float, float]]


class ServeRequest(msgspec.Struct, frozen=True):
    """Start replicas of the endpoint."""

    spec: ServeSpec
    """Without its key."""
    key: str
    keys: str
    """The path of the stored keys on each node."""
    replicas: int
    """0: one on each node."""
    closed: bool = True
    """Whether a key is needed, also where the file of keys is missing."""

    def __repr__(self) -> str:
        return f"ServeRequest({self.spec!r}, replicas={self.replicas})"


class StopRequest(msgspec.Struct, frozen=True):
    """Stop the replicas of the endpoint, after up to `grace` seconds for requests in flight."""

    grace: float


class Served(msgspec.Struct, frozen=True):
    """Where a replica of the endpoint serves; or why it does not, as `errors.to_wire` encodes it."""

    url: str
    node: str
    pid: int
    error: dict[str, Any] | None = None
    replicas: int = 1
    """How many were started together."""


class LogsRequest(msgspec.Struct, frozen=True):
    """Return the last `lines` lines of each process."""

    lines: int


class Opened(msgspec.Struct, frozen=True, tag=True):
    """An engine has loaded its model: its capabilities, and where its process runs."""

    capabilities: list[str]
    node: str
    pid: int


# ---- what a pool keeps for its clients


class KeepRequest(msgspec.Struct, frozen=True):
    """The request of this id, which comes next, goes on without its client, and its answer is kept."""

    id: str
    folder: str = ""
    """The working directory of the face, of which the newest answer is continued."""
    session: str = ""
    """The conversation that the turn is added to at its end; empty for none."""
    turn: int = 0
    """Where in the messages of the request the turn begins."""


class AnswersRequest(msgspec.Struct, frozen=True):
    """One answer that is kept, with its request; or all of them, without."""

    id: str = ""


class KeptAnswer(msgspec.Struct, frozen=True):
    """An answer that is kept."""

    id: str
    capability: str
    state: str
    """running, done, failed, cancelled, or dropped, which only says why it is gone."""
    words: str
    """How its prompt begins."""
    age: float
    """Seconds since it was asked for."""
    size: int
    """Bytes."""
    folder: str = ""
    session: str = ""
    error: Localizable = ""
    """What ended it, or why it was dropped."""
    request: bytes = b""
    """As msgpack, without large media; empty in a list."""

    def __post_init__(self) -> None:
        """Unpack a text that has crossed a socket."""
        unpack_texts(self, "error")


class AttachRequest(msgspec.Struct, frozen=True):
    """Follow an answer, from an item on."""

    id: str
    position: int = 0


class Piece(msgspec.Struct, frozen=True, array_like=True):
    """An item of an answer that is kept, and when it came, in seconds since the request; the last one has no item."""

    seconds: float
    item: Item | Dispatched | Waiting | Routed | None = None


class SessionRequest(msgspec.Struct, frozen=True):
    """A conversation; without its messages if this is still its version."""

    name: str
    version: str = ""


class SessionState(msgspec.Struct, frozen=True):
    """A conversation as it is now; or that a change of it was taken."""

    version: str
    """Empty where there is none."""
    messages: list[Message] = []
    taken: bool = False


class PutSession(msgspec.Struct, frozen=True):
    """Change a conversation: after its first `keep` messages come these."""

    name: str
    version: str | None
    """The version that is changed; None: whichever it has."""
    keep: int
    messages: list[Message] = []


class SessionInfo(msgspec.Struct, frozen=True):
    """A line about a conversation."""

    name: str
    turns: int
    last: str
    """How its last message begins."""
    age: float
    """Seconds since it was changed."""
