"""The data set is what the topology says of it, and comes in the order of the scheduled departures."""

from __future__ import annotations

from topologies.flights import source


def test_all_flights_with_their_gaps_in_order() -> None:
    flights = source.load()
    assert len(flights) == source.FLIGHTS
    assert sum(flight.tailnum is None for flight in flights) == 2_512
    assert sum(flight.cancelled for flight in flights) == 8_255
    times = [(flight.date, flight.sched_dep_time) for flight in flights]
    assert times == sorted(times)
    identities = {(f.date, f.sched_dep_time, f.carrier, f.flight, f.origin) for f in flights}
    assert len(identities) == source.FLIGHTS
