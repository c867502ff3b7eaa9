"""The in-memory cluster's own: faults, time, threads, and the harness."""
