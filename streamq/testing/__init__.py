"""What one tests handlers with: Kafka in memory, a clock that one moves, faults when one wants them, and a harness."""

from streamq.testing.clock import ManualClock
from streamq.testing.harness import Harness, HarnessError, harness
from streamq.testing.letters import DeadLetter
from streamq.testing.memory import HANG, Faults, MemoryCluster

__all__ = ["HANG", "DeadLetter", "Faults", "Harness", "HarnessError", "ManualClock", "MemoryCluster", "harness"]
