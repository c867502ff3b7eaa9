"""Reference applications: real work on streamq's public surface, run with `streamq worker topologies.<name>:app`."""
