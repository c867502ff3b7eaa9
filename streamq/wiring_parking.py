"""Wires what waits in the retry topic into an owner. Holds no policy."""

from __future__ import annotations

import base64
import os
from hashlib import blake2b
from typing import NamedTuple

from streamq.config import ProcessorConfig, WorkerConfig
from streamq.core.journal_batch import ParkPolicy
from streamq.model.clock import Clock
from streamq.model.errors import RetriableError
from streamq.model.ports import AdminPort, Clients, ConsumerPort
from streamq.runtime.committer import Committer
from streamq.runtime.journal_follower import JournalFollower
from streamq.runtime.journal_writer import JournalWriter
from streamq.runtime.letter_reader import LetterReader
from streamq.runtime.letters import Identity
from streamq.runtime.parking import Parking, ParkingRules, TopicIds
from streamq.runtime.payloads import InlinePayloadFetcher, PayloadFetcher
from streamq.runtime.request_server import RequestServer
from streamq.runtime.stats import OwnerStats
from streamq.runtime.transactor import InlineTransactor, Transactor
from streamq.runtime.trimmer import Trimmer

ASK_TIMEOUT_S = 10.0
ID_BYTES = 16


class ParkingMaker(NamedTuple):
    """Makes an owner's parking, once its committer is there. `inline`: everything on the owner's thread, for tests."""

    identity: Identity
    config: ProcessorConfig
    worker: WorkerConfig
    retry_topic: str
    clients: Clients
    admin: AdminPort
    consumer: ConsumerPort
    clock: Clock
    process: bytes
    stats: OwnerStats
    inline: bool

    def make(self, committer: Committer) -> Parking:
        """Nothing connects before it is needed."""
        park_after_s = self.config.park_after_s
        return Parking(
            rules=ParkingRules(
                retry_topic=self.retry_topic,
                policy=ParkPolicy() if park_after_s is None else ParkPolicy(park_after_s=park_after_s),
                leaves=park_after_s is not None,
                on_dead=self.config.on_dead,
            ),
            process=self.process,
            admin=self.admin,
            clock=self.clock,
            follower=JournalFollower(self.clients.reader),
            fetcher=(InlinePayloadFetcher if self.inline else PayloadFetcher)(self.clients.reader, self.identity.group),
            trimmer=Trimmer(self.admin),
            writer=self._writer(committer),
            server=RequestServer(
                admin=self.admin,
                reader=LetterReader(self.clients.reader, self.clock, self.identity.group, inline=self.inline),
                dead_letter_topic=self.identity.dead_letter_topic,
                group=self.identity.group,
            ),
        )

    def _writer(self, committer: Committer) -> JournalWriter:
        # A static member's id is its predecessor's, too: to begin a session decides at once what that left open.
        member = self.worker.instance_id or f"{os.uname().nodename}-{os.getpid()}-{self.process.hex()}"
        transactional_id = f"{self.identity.group}.{member}"
        make = InlineTransactor if self.inline else Transactor
        return JournalWriter(
            retry_topic=self.retry_topic,
            identity=self.identity,
            consumer=self.consumer,
            committer=committer,
            transactor=make(lambda: self.clients.transactions(transactional_id), self.clock, self.identity.group),
            clock=self.clock,
            heartbeat_s=self.worker.heartbeat_s,
            stats=self.stats,
        )


def topic_ids(admin: AdminPort, source: str, retry_topic: str | None) -> TopicIds | None:
    """Which topics these are at this moment. Blocks.

    Raises:
        RetriableError: one of them is gone, or nobody answered.
    """
    if retry_topic is None:
        return None
    found = admin.describe_topics([source, retry_topic], ASK_TIMEOUT_S)
    source_info, journal_info = found[source], found[retry_topic]
    if source_info is None or journal_info is None:
        raise RetriableError(f"topic {source} or {retry_topic} is gone again: somebody deletes it")
    return TopicIds(_id_bytes(source_info.topic_id), _id_bytes(journal_info.topic_id))


def _id_bytes(text: str) -> bytes:
    """The 16 bytes of a topic id (KIP-516: URL-safe base64 without padding)."""
    try:
        data = base64.urlsafe_b64decode(text + "==")
    except ValueError:
        data = b""
    return data if len(data) == ID_BYTES else blake2b(text.encode(), digest_size=ID_BYTES).digest()
