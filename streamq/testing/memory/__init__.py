"""Kafka in memory: implements the ports, and passes the same behaviour suite as the real one."""

from streamq.testing.memory.cluster import MemoryCluster
from streamq.testing.memory.faults import HANG, Fault, Faults

__all__ = ["HANG", "Fault", "Faults", "MemoryCluster"]
