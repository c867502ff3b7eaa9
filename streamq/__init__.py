"""streamq: ordered, at-least-once, per key, under failure. Task queue and stream processor for Apache Kafka."""
