"""Two stages on Ray: decoding in tasks on any node's cores, encoding and writing in a pool of actors.

    shard tasks ─▶ decode, a few clips a task ─▶ encode and write, one actor per encoder, two shards in each

A shard is handed to an encoder once all its clips are decoded. Decoded frames (uint8, some tens of MB a
shard) travel through Ray's object store; tokens never do: the actor that computes them writes them. Of the
two shards that an encoder holds, one is in the tower while the other is written and committed. No more shards
are begun than the encoders can take soon, so neither the store nor the driver fills up, however many there
are.

Ray Core and not Ray Data, which ran these stages before: it fuses stages that ask for equal resources, passes
on only the text of an actor's error, takes the list of all work at once, and has no way to put a shard aside
whose workers keep dying. What is needed of it is the loop below.

What dies is replaced: a lost decode task is run again by Ray, an encoder that died (or its node) by a new
one, and its shards are handed out anew, each to an encoder that has no other; making a shard twice gives the
same bytes. A shard that took several workers down is left out, the others go on, and the run says so at its
end.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import ray
from ray.exceptions import OutOfMemoryError, RayActorError, RayError

from pipeline.errors import ExtractionError
from pipeline.host import Host

IN_ENCODER = 2
"""Shards that an encoder holds: one in the tower, one being written."""
TRIES = 4
"""Times that a shard's workers may die before it is left out."""
DEATHS = 20
"""Encoders that may die one after another, without a shard done meanwhile, before a run ends."""
LOOK_SECONDS = 5.0
"""How often a run looks whether the cluster has grown."""
PATIENCE_SECONDS = 60.0
"""Without any encoder for so long, a run says what it waits for."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Stages(Generic[T, R]):
    """What is done to a task. Everything is pickled and runs elsewhere."""

    name: Callable[[T], str] = str
    """What a person calls a task."""
    parts: Callable[[T], Sequence[Any]]
    """Cuts a task into parts that are decoded one by one; called in the driver."""
    decode: Callable[[Any], list[Any]]
    """Decodes a part."""
    encoder: Callable[[], Callable[[T, list[Any]], R]]
    """Makes an encoder, where it runs: a function of a task and what its parts gave, in one list. Called from
    two threads.
    """
    decode_resources: dict[str, float] = field(default_factory=lambda: {"num_cpus": 1.0})
    """What a decode task takes of a node."""
    encode_resources: dict[str, float] = field(default_factory=lambda: {"num_cpus": 1.0})
    """What an encoder takes of a node."""
    encoders: int = 0
    """How many encoders; 0: as many as fit into the cluster, more when it grows."""


@dataclass(eq=False)
class Flight(Generic[T]):
    """A task on its way."""

    task: T
    refs: list[ray.ObjectRef]
    undecoded: int
    lost: int = 0

    @property
    def places(self) -> int:
        """Places that it takes in an encoder. One that was lost is tried alone: if its encoder dies again,
        no other shard is to blame, and none pays for it.
        """
        return IN_ENCODER if self.lost else 1


@dataclass(eq=False)
class Encoder:
    """An actor, and how many of its places are taken."""

    actor: Any
    alive: bool = False
    loaded: bool = False
    held: int = 0


class Engine(Generic[T, R]):
    """Runs tasks through the stages.

    Args:
        stages: what is done.
        say: where to tell what a person should know, a line at a time.
    """

    def __init__(self, stages: Stages[T, R], say: Callable[[str], None] = lambda line: None) -> None:
        self.stages, self.say = stages, say
        self.encoders: list[Encoder] = []
        self.given_up: list[tuple[T, str]] = []
        decoding: dict[str, Any] = {"max_retries": TRIES, **stages.decode_resources}
        hosting: dict[str, Any] = {"max_concurrency": IN_ENCODER, **stages.encode_resources}
        self._decode = ray.remote(**decoding)(_call(stages.decode))
        self._host = ray.remote(**hosting)(Host)
        self._pending: dict[ray.ObjectRef, tuple[Flight[T] | None, Encoder | None]] = {}
        self._ready: deque[Flight[T]] = deque()
        self._flights = self._deaths = 0
        self._looked = float("-inf")
        self._idle_since = time.monotonic()

    def run(self, tasks: Iterable[T]) -> Iterator[R]:
        """The tasks' reports as they come. Tasks are taken from the iterator when there is room for them.

        Raises:
            ExtractionError: encoders keep dying, or those of some tasks did.
            Exception: whatever an encoder raised.
        """
        left = iter(tasks)
        try:
            yield from self._run(left)
        finally:
            for encoder in self.encoders:
                ray.kill(encoder.actor)
            for ref, (_, encoder) in self._pending.items():
                if encoder is None:
                    ray.cancel(ref, force=True)
        if self.given_up:
            task, why = self.given_up[0]
            raise ExtractionError(
                f"{len(self.given_up)} shards are not done because their workers died {TRIES} times, e.g. "
                f"{self.stages.name(task)}: {why}. All else is committed; run the same command to try them "
                "again"
            )

    @property
    def alive(self) -> int:
        """Encoders that run."""
        return sum(encoder.alive for encoder in self.encoders)

    def _run(self, left: Iterator[T]) -> Iterator[R]:
        more = True
        while True:
            self._look()
            while more and self._flights < self.room:
                task = next(left, None)
                more = task is not None
                if task is not None:
                    self._begin(task)
            self._staff()
            self._hand_out()
            if not self._flights:
                return
            done, _ = ray.wait(list(self._pending), timeout=1.0, fetch_local=False)
            for ref in done:
                yield from self._finished(ref, *self._pending.pop(ref))

    def _look(self) -> None:
        """How large the cluster is now."""
        now = time.monotonic()
        if self.alive:
            self._idle_since = now
        elif now - self._idle_since > PATIENCE_SECONDS:
            self._idle_since = now
            self.say(
                f"still waiting for a place for an encoder ({self.stages.encode_resources}); the cluster has "
                f"{ray.cluster_resources()}, of which {ray.available_resources()} are free"
            )
        if now - self._looked > LOOK_SECONDS:
            self._looked = now
            total = ray.cluster_resources()
            self.wanted = self.stages.encoders or max(1, fitting(total, self.stages.encode_resources))
            self.room = IN_ENCODER * self.wanted + 1 + int(total.get("CPU", 1)) // 4

    def _begin(self, task: T) -> None:
        parts = self.stages.parts(task)
        flight = Flight(task=task, refs=[], undecoded=0)
        self._flights += 1
        self._send(flight, parts)

    def _send(self, flight: Flight[T], parts: Sequence[Any]) -> None:
        flight.refs = [self._decode.remote(part) for part in parts]
        flight.undecoded = len(parts)
        for ref in flight.refs:
            self._pending[ref] = flight, None
        if not parts:
            self._ready.append(flight)

    def _staff(self) -> None:
        """As many encoders as are wanted, but no more than there are shards for. The first loads alone: it
        is ready sooner, it says what is wrong before many do, and weights are downloaded once.
        """
        wanted = self.wanted if any(encoder.loaded for encoder in self.encoders) else 1
        while len(self.encoders) < min(wanted, self._flights):
            encoder = Encoder(actor=self._host.remote(self.stages.encoder))
            self.encoders.append(encoder)
            for answer in (encoder.actor.ready.remote(), encoder.actor.load.remote()):
                self._pending[answer] = None, encoder

    def _hand_out(self) -> None:
        alive = [encoder for encoder in self.encoders if encoder.alive]
        while self._ready and alive:
            encoder, flight = min(alive, key=lambda one: one.held), self._ready[0]
            if encoder.held + flight.places > IN_ENCODER:
                return
            self._ready.popleft()
            self._pending[encoder.actor.run.remote(flight.task, *flight.refs)] = flight, encoder
            encoder.held += flight.places

    def _finished(self, ref: ray.ObjectRef, flight: Flight[T] | None, encoder: Encoder | None) -> Iterator[R]:
        if encoder is None and flight is not None:  # a part is decoded, or lost, which its encoder will find
            flight.undecoded -= 1
            if not flight.undecoded:
                self._ready.append(flight)
            return
        assert encoder is not None
        encoder.held -= flight.places if flight is not None else 0
        try:
            report = ray.get(ref)
        except (RayActorError, OutOfMemoryError) as error:  # the latter is no kind of the former
            self._dismiss(encoder, error)
            self._again(flight, error)
        except RayError as error:
            cause = getattr(error, "cause", None)
            if flight is None or (isinstance(cause, Exception) and not isinstance(cause, RayError)):
                raise cause or error from None
            self._again(flight, error)
        else:
            if flight is None:
                encoder.loaded = encoder.alive
                encoder.alive = True
            else:
                self._flights -= 1
                self._deaths = 0
                yield report

    def _dismiss(self, encoder: Encoder, error: RayError) -> None:
        if encoder not in self.encoders:
            return
        self.encoders.remove(encoder)
        ray.kill(encoder.actor)  # it may only have been out of reach
        self._deaths += 1
        if self._deaths >= DEATHS:
            raise ExtractionError(
                f"{DEATHS} encoders died one after another and no shard was done meanwhile: "
                f"{reason_of(error)}. Committed shards are kept; see Ray's logs for what kills them, then "
                "run the same command to go on"
            )
        self.say("an encoder died; another takes its place")

    def _again(self, flight: Flight[T] | None, error: RayError) -> None:
        """Hand a task out anew whose encoder or frames were lost."""
        if flight is None:
            return
        flight.lost += 1
        if flight.lost < TRIES:
            self._send(flight, self.stages.parts(flight.task))
        else:
            self._flights -= 1
            self.given_up.append((flight.task, reason_of(error)))


def fitting(total: Mapping[str, float], resources: Mapping[str, float]) -> int:
    """How many workers with these needs a cluster has room for."""
    names = {"num_cpus": "CPU", "num_gpus": "GPU"}
    rooms = [total.get(names[name], 0) / share for name, share in resources.items() if share]
    return int(min(rooms, default=1))


def reason_of(error: RayError) -> str:
    """The line of Ray's text that says why a worker was lost; of lacking memory it is the first, advice
    follows.
    """
    lines = str(error).strip().splitlines()
    return lines[0 if isinstance(error, OutOfMemoryError) else -1].rstrip(".")


def _call(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A plain function, which `ray.remote` takes, of any callable."""

    def decode(part: Any) -> Any:
        return function(part)

    return decode
