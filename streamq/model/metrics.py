"""Every metric, defined once: name, kind, unit, what it says, and what to do about it. Pinned by a golden test."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["counter", "gauge", "histogram"]


class MetricSpec(NamedTuple):
    """One metric as Prometheus shows it; `remedy` is for whoever is woken up by it."""

    name: str
    kind: Kind
    unit: str
    meaning: str
    remedy: str
    labels: tuple[str, ...] = ("group",)


RECEIVED = MetricSpec(
    "streamq_records_received_total", "counter", "records",
    "Records polled from the source topic.",
    "Flat while lag grows: the partitions are paused (slow handlers) or not assigned.",
)  # fmt: skip
SETTLED = MetricSpec(
    "streamq_records_settled_total", "counter", "records",
    "Records settled, by outcome (done, dead).",
    "Falling: look at streamq_handler_seconds and streamq_attempts_failed_total.", ("group", "outcome"),
)  # fmt: skip
FAILED = MetricSpec(
    "streamq_attempts_failed_total", "counter", "attempts",
    "Attempts that ended in a retry.",
    "Rising: the log names error type, key and offset of each.",
)  # fmt: skip
DEAD = MetricSpec(
    "streamq_dead_letters_total", "counter", "records",
    "Records moved to the dead-letter topic, by reason.",
    "Any: `streamq dlq list` and `streamq dlq show`.", ("group", "reason"),
)  # fmt: skip
DEAD_FAILED = MetricSpec(
    "streamq_dead_letter_failures_total", "counter", "attempts",
    "Dead letters that the dead-letter topic did not take; their records wait and are tried again.",
    "Any: `streamq topics check`; rights and size limit of the dead-letter topic.",
)  # fmt: skip
HANDLER_SECONDS = MetricSpec(
    "streamq_handler_seconds", "histogram", "seconds",
    "How long one attempt ran.",
    "Near the processor's timeout_s: raise it or make the handler faster.",
)  # fmt: skip
RUNNING = MetricSpec(
    "streamq_handlers_running", "gauge", "attempts",
    "Attempts that run or wait for a free slot in the executor.",
    "At the processor's concurrency while lag grows: raise concurrency or add workers.",
)  # fmt: skip
BUFFERED = MetricSpec(
    "streamq_records_buffered", "gauge", "records",
    "Records received and not settled.",
    "At its bound for long: one key or the handlers hold the partitions up; `streamq lag` names the key.",
)  # fmt: skip
BUFFERED_BYTES = MetricSpec(
    "streamq_buffered_bytes", "gauge", "bytes",
    "Bytes of the records that are buffered.",
    "At its bound: large records; lower concurrency or raise max_buffered_bytes.",
)  # fmt: skip
WAITING = MetricSpec(
    "streamq_keys_waiting", "gauge", "keys",
    "Keys whose head record waits for its next attempt.",
    "Rising: something that many keys need is away.",
)  # fmt: skip
OVERDUE = MetricSpec(
    "streamq_handlers_overdue", "gauge", "attempts",
    "Attempts beyond their timeout_s that could not be cancelled; each keeps its slot and its key.",
    "Not zero: the log names them; a restart frees the slots, the records run again.",
)  # fmt: skip
PARTITIONS = MetricSpec(
    "streamq_partitions_assigned", "gauge", "partitions",
    "Partitions that this worker owns.",
    "Zero on more workers than partitions is normal; zero everywhere: nobody works.",
)  # fmt: skip
PAUSED = MetricSpec(
    "streamq_partitions_paused", "gauge", "partitions",
    "Partitions that are not read because their buffers are full.",
    "For long: see streamq_records_buffered.",
)  # fmt: skip
FLIPS = MetricSpec(
    "streamq_pause_flips_total", "counter", "flips",
    "Pauses and resumes; each pause throws prefetched records away.",
    "Several a second: raise max_buffered_records.",
)  # fmt: skip
COMMITS = MetricSpec(
    "streamq_commits_total", "counter", "commits",
    "Offset commits by result (ok, stale, failed, unknown).",
    "failed or unknown rising: the group's coordinator is away; work goes on and is repeated after a crash.",
    ("group", "result"),
)  # fmt: skip
REBALANCES = MetricSpec(
    "streamq_rebalances_total", "counter", "rebalances",
    "Assignments, revocations and losses of partitions.",
    "lost rising: the worker stands still longer than its session time-out.", ("group", "kind"),
)  # fmt: skip
LAG = MetricSpec(
    "streamq_lag_records", "gauge", "records",
    "End offset less committed offset of the partitions that this worker owns.",
    "Growing: more workers or more concurrency.", ("group", "partition"),
)  # fmt: skip
TICK_SECONDS = MetricSpec(
    "streamq_last_tick_age_seconds", "gauge", "seconds",
    "Time since the owner thread last went round its loop.",
    "Above 10: /live fails; the process should be restarted.",
)  # fmt: skip

ALL: tuple[MetricSpec, ...] = (
    RECEIVED, SETTLED, FAILED, DEAD, DEAD_FAILED, HANDLER_SECONDS, RUNNING, BUFFERED, BUFFERED_BYTES, WAITING, OVERDUE,
    PARTITIONS, PAUSED, FLIPS, COMMITS, REBALANCES, LAG, TICK_SECONDS,
)  # fmt: skip
