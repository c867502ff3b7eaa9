"""One behaviour suite over the ports, run on the in-memory cluster and on a real Kafka under both group protocols."""
