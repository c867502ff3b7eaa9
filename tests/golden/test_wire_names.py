"""Names that leave the process. They stand in topics, groups, dashboards and alerts: a change here breaks those."""

from __future__ import annotations

from streamq.model import headers, metrics, names

HEADERS = {
    "GROUP": "streamq.group",
    "SOURCE_TOPIC": "streamq.source.topic",
    "SOURCE_PARTITION": "streamq.source.partition",
    "SOURCE_OFFSET": "streamq.source.offset",
    "SOURCE_TIMESTAMP_MS": "streamq.source.timestamp_ms",
    "ATTEMPTS": "streamq.attempts",
    "REASON": "streamq.reason",
    "ERROR_TYPE": "streamq.error.type",
    "ERROR_MESSAGE": "streamq.error.message",
    "ERROR_STACK": "streamq.error.stack",
    "PROCESSOR": "streamq.processor",
    "APP": "streamq.app",
    "APP_VERSION": "streamq.app.version",
    "DEAD_AT_MS": "streamq.dead_at_ms",
    "JOURNAL": "streamq.journal",
    "MARK": "streamq.mark",
}

METRICS = {
    "streamq_records_received_total": ("counter", "records", ("group",)),
    "streamq_records_settled_total": ("counter", "records", ("group", "outcome")),
    "streamq_attempts_failed_total": ("counter", "attempts", ("group",)),
    "streamq_dead_letters_total": ("counter", "records", ("group", "reason")),
    "streamq_dead_letter_failures_total": ("counter", "attempts", ("group",)),
    "streamq_handler_seconds": ("histogram", "seconds", ("group",)),
    "streamq_handlers_running": ("gauge", "attempts", ("group",)),
    "streamq_records_buffered": ("gauge", "records", ("group",)),
    "streamq_buffered_bytes": ("gauge", "bytes", ("group",)),
    "streamq_keys_waiting": ("gauge", "keys", ("group",)),
    "streamq_handlers_overdue": ("gauge", "attempts", ("group",)),
    "streamq_partitions_assigned": ("gauge", "partitions", ("group",)),
    "streamq_partitions_paused": ("gauge", "partitions", ("group",)),
    "streamq_pause_flips_total": ("counter", "flips", ("group",)),
    "streamq_commits_total": ("counter", "commits", ("group", "result")),
    "streamq_rebalances_total": ("counter", "rebalances", ("group", "kind")),
    "streamq_lag_records": ("gauge", "records", ("group", "partition")),
    "streamq_last_tick_age_seconds": ("gauge", "seconds", ("group",)),
}


def test_header_names() -> None:
    found = {name: value for name, value in vars(headers).items() if name.isupper() and name != "PREFIX"}
    assert found == HEADERS
    assert all(value.startswith(headers.PREFIX) for value in found.values())


def test_derived_names() -> None:
    group = names.group_name("shop", "charge")
    assert group == "shop.charge"
    assert names.dead_letter_topic(group) == "shop.charge.dlq"
    assert names.replay_group_name(group, "r") == "shop.charge.replay.r"
    assert names.retry_topic(group) == "shop.charge.retry"


def test_metric_names() -> None:
    assert {spec.name: (spec.kind, spec.unit, spec.labels) for spec in metrics.ALL} == METRICS


def test_every_metric_says_what_it_means_and_what_to_do() -> None:
    for spec in metrics.ALL:
        assert spec.meaning.endswith("."), spec.name
        assert spec.remedy.endswith("."), spec.name
