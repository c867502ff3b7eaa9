"""What a user declares and calls: topics, processors, the context of an attempt, publishing. Speaks to Kafka through
the ports only."""
