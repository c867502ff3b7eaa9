"""What a user may set, what is refused, and what reaches which client."""

from __future__ import annotations

import pytest

from streamq.kafka import KafkaClients
from streamq.kafka import settings as rules
from streamq.kafka.errors import config_error
from streamq.model.errors import ConfigError
from streamq.model.ports import ConsumerOptions

BROKERS = "localhost:9092"


@pytest.mark.parametrize(
    ("name", "value", "instead"),
    [
        ("enable.auto.commit", True, "only what is settled"),
        ("enable.auto.offset.store", "true", "only what is settled"),
        ("group.id", "mine", "<app>.<processor>"),
        ("group.instance.id", "one", "--static-members"),
        ("group.protocol", "consumer", "--group-protocol"),
        ("auto.offset.reset", "earliest", "start="),
        ("enable.partition.eof", False, "the end of a partition"),
        ("isolation.level", "read_uncommitted", "committed records only"),
        ("partition.assignment.strategy", "range", "incrementally"),
        ("session.timeout.ms", 6000, "--session-timeout"),
        ("heartbeat.interval.ms", 500, "--session-timeout"),
        ("enable.idempotence", False, "out of order"),
        ("acks", 1, "in-sync"),
        ("acks", "0", "in-sync"),
        ("max.in.flight", 6, "at most 5"),
        ("max.in.flight.requests.per.connection", "1000000", "at most 5"),
        ("partitioner", "consistent_random", "murmur2_random"),
        ("transactional.id", "tx", "itself"),
        ("allow.auto.create.topics", True, "a typo"),
        ("bootstrap.servers", "elsewhere:9092", "bootstrap_servers="),
        ("on_commit", print, "callbacks"),
        ("error_cb", print, "callbacks"),
        ("stats_cb", print, "callbacks"),
    ],
)
def test_what_would_break_a_guarantee_is_refused_before_any_connection(name: str, value: object, instead: str) -> None:
    with pytest.raises(ConfigError) as raised:
        KafkaClients(BROKERS, {name: value})
    message = str(raised.value)
    assert repr(name) in message
    assert repr(value) in message
    assert instead in message


@pytest.mark.parametrize(
    "settings",
    [
        {"enable.auto.commit": False},
        {"enable.idempotence": "true"},
        {"acks": "all"},
        {"acks": -1},
        {"max.in.flight": 3},
    ],
)
def test_values_that_say_what_streamq_does_anyway_are_no_error(settings: dict[str, object]) -> None:
    KafkaClients(BROKERS, settings)


def test_secrets_are_never_shown() -> None:
    with pytest.raises(ConfigError) as raised:
        KafkaClients(BROKERS, {"sasl.password": ["hunter2"]})
    assert "hunter2" not in str(raised.value)
    assert "sasl.password" in str(raised.value)
    told = config_error(ValueError('Invalid value "hunter2" for sasl.password'), {"sasl.password": "hunter2"})
    assert "hunter2" not in str(told)
    assert "hunter2" not in repr(KafkaClients(BROKERS, {"sasl.password": "hunter2"}))
    for name in ("ssl.key.password", "sasl.oauthbearer.client.secret", "ssl.key.pem", "ssl.keystore.password"):
        assert rules.masked(name, "hunter2") == "'***'"
    assert rules.masked("sasl.username", "anna") == "'anna'"


def test_an_unknown_setting_is_named() -> None:
    clients = KafkaClients(BROKERS, {"linger.msec": 5})
    for make in (clients.producer, clients.reader, clients.admin, lambda: clients.consumer(ConsumerOptions("g", "c"))):
        with pytest.raises(ConfigError, match=r"linger\.msec"):
            make()


def test_a_value_that_is_none_is_named() -> None:
    with pytest.raises(ConfigError, match=r'"bad".*compression'):
        KafkaClients(BROKERS, {"compression.type": "bad"}).producer()


@pytest.mark.parametrize(
    "brokers", ["", "localhost", "localhost:", ":9092", "localhost:port", "a:1,,b:2", "a:0", "a:70000"]
)
def test_an_address_that_is_none_is_refused(brokers: str) -> None:
    with pytest.raises(ConfigError, match="host:port") as raised:
        KafkaClients(brokers)
    assert repr(brokers) in str(raised.value)


def test_addresses_are_trimmed_and_described() -> None:
    assert KafkaClients("one:9092, two:9093").description == "one:9092,two:9093"


def test_each_client_takes_what_fits_it() -> None:
    user = rules.check(
        {"fetch.min.bytes": 10, "compression.type": "lz4", "security.protocol": "SSL", "client.rack": "r1"}
    )
    consumer = rules.consumer(BROKERS, user, ConsumerOptions("g", "c"))
    producer = rules.producer(BROKERS, user)
    admin = rules.admin(BROKERS, user)
    assert (consumer["fetch.min.bytes"], consumer["client.rack"]) == (10, "r1")
    assert "compression.type" not in consumer
    assert producer["compression.type"] == "lz4"
    assert "fetch.min.bytes" not in producer
    assert not {"fetch.min.bytes", "compression.type", "client.rack"} & admin.keys()
    for settings in (consumer, producer, admin, rules.reader(BROKERS, user, "read_committed")):
        assert settings["security.protocol"] == "SSL"
        assert settings["bootstrap.servers"] == BROKERS


def test_a_users_value_counts_more_than_ours_also_under_its_other_name() -> None:
    settings = rules.producer(BROKERS, rules.check({"linger.ms": 50, "message.timeout.ms": 5000}))
    assert settings["linger.ms"] == 50
    assert settings["delivery.timeout.ms"] == 5000
    assert "message.timeout.ms" not in settings


def test_a_member_of_the_classic_protocol() -> None:
    options = ConsumerOptions("shop.charge", "me", instance_id="charge-1", session_timeout_s=6.0, heartbeat_s=0.5)
    settings = rules.consumer(BROKERS, {}, options)
    assert settings["group.id"] == "shop.charge"
    assert settings["partition.assignment.strategy"] == "cooperative-sticky"
    assert settings["session.timeout.ms"] == 6000
    assert settings["heartbeat.interval.ms"] == 500
    assert settings["group.instance.id"] == "charge-1"


def test_under_kip_848_session_and_heartbeat_are_the_brokers() -> None:
    settings = rules.consumer(BROKERS, {}, ConsumerOptions("g", "c", "consumer"))
    assert settings["group.protocol"] == "consumer"
    assert not {"session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy"} & settings.keys()


def test_a_static_member_under_kip_848_is_refused() -> None:
    with pytest.raises(ConfigError, match="classic"):
        rules.consumer(BROKERS, {}, ConsumerOptions("g", "c", "consumer", "one"))


def test_the_guarantees_are_set() -> None:
    consumer = rules.consumer(BROKERS, {}, ConsumerOptions("g", "c"))
    assert consumer["enable.auto.commit"] is False
    assert consumer["enable.auto.offset.store"] is False
    assert consumer["auto.offset.reset"] == "error"
    assert consumer["enable.partition.eof"] is True
    assert consumer["isolation.level"] == "read_committed"
    assert consumer["allow.auto.create.topics"] is False
    producer = rules.producer(BROKERS, {})
    assert producer["enable.idempotence"] is True
    assert producer["acks"] == "all"
    assert producer["partitioner"] == "murmur2_random"
