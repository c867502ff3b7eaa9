"""Each topology: its work by itself, on the harness, and on a real Kafka."""
