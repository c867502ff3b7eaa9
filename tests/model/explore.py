"""One run of the world, and many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context

from streamq.core.journal_batch import ParkPolicy
from streamq.core.key_states import OnDead
from streamq.model.errors import InvariantError, JournalError
from tests.model.owner import Owner, Rules
from tests.model.rules import broken, lanes_of
from tests.model.world import Violation, World

EVENTFUL, RANDOM, MOST = 160, 220, 600  # steps: things go wrong, any order, all
SHARE = 250  # seeds that a process takes at once
ON_DEAD: tuple[OnDead, ...] = ("skip", "chain", "hold")


@dataclass
class Tally:
    """What many runs came to: violations by kind, with the first seed of each."""

    runs: int = 0
    violations: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    @property
    def promises(self) -> int:
        """How many runs broke a promise. Where the core noticed and stopped instead, none is broken."""
        return self.violations.total() - self.violations["InvariantError"] - self.violations["JournalError"]

    def add(self, other: Tally) -> None:
        """Take in another process's share."""
        self.runs += other.runs
        self.violations += other.violations
        for kind, text in other.first.items():
            self.first.setdefault(kind, text)


class Run:
    """A world with one or two members, from a seed."""

    def __init__(self, seed: int, off: frozenset[str]) -> None:
        self.world = World(seed, off)
        self.rnd = self.world.rnd
        self.on_dead = ON_DEAD[seed // 2 % 3]
        self.events = ["crash", "move", "late", "decide"] + ["request"] * self.rnd.pick((0, 1, 3))
        self.rate = self.rnd.pick((0.03, 0.06, 0.12))
        policy = ParkPolicy(
            park_after_s=1.0, backlog=2, span=5, few=1, keep=self.rnd.pick((1, 2)), window_records=4,
            ahead=2, batch_records=self.rnd.pick((1, 2, 3, 8)), slack=self.rnd.pick((2, 5, 30)),
        )  # fmt: skip
        self.rules = Rules(lanes_of(off), policy, self.on_dead, self.rnd.pick((1.0, 0.2)))
        self.owners = [Owner(self.world, self.rules)]
        for partition in self.world.partitions:
            self.owners[0].take_over(partition)

    def go(self) -> None:
        """Until all has come to rest.

        Raises:
            Violation: a promise is broken.
        """
        for step in range(RANDOM):
            if step < EVENTFUL:
                self.maybe()
            elif step % 10 == 0:
                self.calm(step)
            self.rnd.pick(self.rnd.pick(self.owners).actions())()
        for step in range(MOST - RANDOM):
            self.calm(step)
            for owner in self.owners:
                owner.round()
            if self.at_rest():
                self.world.judge(self.on_dead)
                return
        raise Violation("stuck: it does not end")

    def maybe(self) -> None:
        """Something happens now and then; rather where most is at stake: a crash behind a commit, a rebalance between
        the snapshot of a transaction over two partitions and its sending."""
        if self.rnd.random() < self.rate:
            self.event()
        elif self.world.just_committed and self.rnd.random() < 0.1:
            self.crash()
        elif any(one.unsent > 1 for one in self.owners) and self.rnd.random() < 0.2:
            self.move()
        self.world.just_committed = False

    def event(self) -> None:
        """Something goes wrong, or an operator asks for something."""
        match self.rnd.pick(self.events):
            case "crash":
                self.crash()
            case "move":
                self.move()
            case "late" if self.world.commits:
                self.world.arrive(self.rnd.pick(self.world.commits))
            case "decide" if self.world.undecided:
                self.world.decide(self.rnd.pick(self.world.undecided), self.rnd.random() < 0.5)
            case "request":
                self.request()
            case _:
                pass

    def crash(self) -> None:
        """A process is gone with what ran in it; others have its partitions, after a rebalance."""
        dead = self.rnd.pick(self.owners)
        partitions = [held.partition for held in dead.held]
        self.owners.remove(dead)
        self.world.generation += 1
        if not self.owners or self.rnd.random() < 0.5:
            self.owners.append(Owner(self.world, self.rules))
        for partition in partitions:
            self.rnd.pick(self.owners).take_over(partition)

    def move(self) -> None:
        """A partition goes to another member. The one that loses it lives on, maybe with another partition."""
        if len(self.owners) == 1:
            self.owners.append(Owner(self.world, self.rules))
        giver = max(self.owners, key=lambda one: (one.unsent, self.rnd.random()))
        if giver.held:
            held = self.rnd.pick(giver.held)
            self.world.generation += 1
            if self.rnd.random() < 0.3:
                giver.lose(held, back=True)
                return
            giver.lose(held)
            giver.running = [one for one in giver.running if one.held.partition is not held.partition]
            self.rnd.pick([one for one in self.owners if one is not giver]).take_over(held.partition)
            if self.rnd.random() < 0.5:
                giver.heartbeat()

    def request(self, kinds: Iterable[str] = ("redrive", "redrive", "purge", "release")) -> None:
        """An operator asks for a key."""
        partition = self.rnd.pick(self.world.partitions)
        kind = self.rnd.pick([kind for kind in kinds if kind != "release" or self.on_dead == "hold"])
        self.world.request(partition, self.rnd.pick(partition.source).key, kind)

    def calm(self, step: int) -> None:
        """Nothing fails any more, and operators let go what is held."""
        self.world.eventful = False
        for owner in self.owners:
            owner.calm = True
            for held in owner.held:
                for key, standing in held.parked.standing.items():
                    if standing.state.kind == "held" and step % 10 == 0 and isinstance(key, bytes):
                        self.world.request(held.partition, key, self.rnd.pick(("redrive", "release")))

    def at_rest(self) -> bool:
        """Whether all is read, settled and written."""
        helds = [held for owner in self.owners for held in owner.held]
        return not self.world.undecided and all(
            held.partition.map.base > held.partition.source[-1].offset
            and held.next_journal == len(held.partition.journal)
            and not (held.parked.index.live or held.parked.letters or held.parked.heads.pending or held.busy)
            and not len(held.parked.requests)
            and not any(one.state.kind != "chained" for one in held.parked.standing.values())
            for held in helds
        )


def explore(seeds: Iterable[int], off: frozenset[str]) -> Tally:
    """Run these seeds and count what is violated. An invariant of the core that raises counts, too."""
    tally = Tally()
    with broken(off):
        for seed in seeds:
            tally.runs += 1
            try:
                Run(seed, off).go()
            except Violation as violation:
                found = str(violation)
            except (InvariantError, JournalError) as error:
                found = f"{type(error).__name__}: {error}"
            else:
                continue
            kind = found.split(":")[0]
            tally.violations[kind] += 1
            tally.first.setdefault(kind, f"seed {seed}: {found}")
    return tally


def all_cores() -> ProcessPoolExecutor:
    """As many processes as there are cores."""
    return ProcessPoolExecutor(mp_context=get_context("spawn"))


def explore_on(cores: Executor, runs: int, off: frozenset[str], *, enough: int | None = None) -> Tally:
    """`explore`, shared out; until `enough` promises are broken, if that is given."""
    size = SHARE if enough is None else SHARE // 10
    tally = Tally()
    shares = [cores.submit(explore, range(at, min(runs, at + size)), off) for at in range(0, runs, size)]
    for share in shares:
        if enough is not None and tally.promises >= enough:
            share.cancel()
        else:
            tally.add(share.result())
    return tally
