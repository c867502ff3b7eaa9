"""E-mails through a real SMTP server.

python -m topologies.emails.server          a local server that takes everything but a few addresses
streamq worker topologies.emails:app
"""

from topologies.emails.pipeline import app, emails, send

__all__ = ["app", "emails", "send"]
