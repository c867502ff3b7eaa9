"""Apache Kafka behind the ports, by confluent-kafka (librdkafka). The only importer of it."""

from streamq.kafka.clients import KafkaClients
from streamq.kafka.probe import ping

__all__ = ["KafkaClients", "ping"]
