"""Background deletion of expired files, a batch a task.

CLEANUP_FOLDER=/srv/uploads streamq worker topologies.cleanup:app
"""

from topologies.cleanup.pipeline import app, clean, reports, sweeps

__all__ = ["app", "clean", "reports", "sweeps"]
