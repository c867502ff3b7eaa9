"""A real single-node Apache Kafka on this machine, for development, demo and tests. Needs no Java and no Docker there:
both the runtime and Kafka's jars come as packages. Asks a broker nothing by itself: the probe is passed in."""
