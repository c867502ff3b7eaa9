"""One flight, as it stands in the topic."""

from __future__ import annotations

import msgspec


class Flight(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One scheduled flight out of New York.

    Times are local clock times as whole numbers (517 is 5:17), delays and `air_time` minutes, `distance` miles.
    `dep_time` is missing where the flight never departed, `arr_delay` where it did not arrive where it should,
    `tailnum` where nobody wrote down which aircraft it was.
    """

    year: int
    month: int
    day: int
    carrier: str
    flight: int
    origin: str
    dest: str
    sched_dep_time: int
    sched_arr_time: int
    distance: int
    tailnum: str | None = None
    dep_time: int | None = None
    dep_delay: int | None = None
    arr_time: int | None = None
    arr_delay: int | None = None
    air_time: int | None = None

    @property
    def cancelled(self) -> bool:
        """Whether it never departed."""
        return self.dep_time is None

    @property
    def date(self) -> int:
        """The scheduled day as one number that sorts: 20130131."""
        return (self.year * 100 + self.month) * 100 + self.day
