"""A worker at work: the owner thread's loop and its parts, the executors, the process around them and its supervisor.
Sees Kafka through the ports only, and a user's handler as one call that returns an outcome."""
