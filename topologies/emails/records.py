"""One e-mail to be sent."""

from __future__ import annotations

import msgspec


class Email(msgspec.Struct, frozen=True):
    """Plain text to one recipient. Keyed by the recipient: what goes to one address arrives in order."""

    to: str
    subject: str
    text: str
    sender: str = "shop@streamq.example"
