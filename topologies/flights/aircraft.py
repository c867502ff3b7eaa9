"""What is known of one aircraft, and how one more leg changes it. Pure: no file, no clock."""

from __future__ import annotations

from typing import NamedTuple
from zlib import crc32

from topologies.flights.records import Flight

LATE_MINUTES = 15
"""From here on a departure or an arrival counts as late, as the Bureau of Transportation Statistics counts."""


class Aircraft(NamedTuple):
    """The figures of one aircraft over its chain of legs.

    `flown` and `cancelled` add up to `legs`; `diverted` departed but has no arrival delay. `knock_on` counts late
    departures right after a late arrival of the same aircraft. `chain` is a checksum over the legs in their order, so
    that two legs in the wrong order show.
    """

    tailnum: str
    legs: int = 0
    flown: int = 0
    cancelled: int = 0
    diverted: int = 0
    distance: int = 0
    dep_delay: int = 0
    arr_delay: int = 0
    knock_on: int = 0
    last_arr_delay: int | None = None
    last_dest: str | None = None
    chain: int = 0

    def after(self, flight: Flight) -> Aircraft:
        """The figures with one more leg, the next of the chain."""
        label = f"{flight.date}:{flight.carrier}{flight.flight}:{flight.origin}-{flight.dest}"
        chain = crc32(label.encode(), self.chain)
        if flight.cancelled:
            return self._replace(legs=self.legs + 1, cancelled=self.cancelled + 1, chain=chain)
        dep_delay, arr_delay = flight.dep_delay or 0, flight.arr_delay
        was_late = self.last_arr_delay is not None and self.last_arr_delay >= LATE_MINUTES
        return Aircraft(
            self.tailnum,
            self.legs + 1,
            self.flown + 1,
            self.cancelled,
            self.diverted + (arr_delay is None),
            self.distance + flight.distance,
            self.dep_delay + dep_delay,
            self.arr_delay + (arr_delay or 0),
            self.knock_on + (was_late and dep_delay >= LATE_MINUTES),
            arr_delay,
            flight.dest,
            chain,
        )
