"""The whole story in under a minute, on a real Kafka: what `streamq demo` runs.

It works as a user would, through `app.publish` and the commands, on the topology `topologies.flights`; what it claims
is checked by `topologies.flights.audit` and `topologies.flights.check`, which share nothing with streamq.
"""
