"""The owners' numbers as Prometheus metrics, made when the page is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from streamq.model import metrics
from streamq.model.metrics import MetricSpec
from streamq.runtime.owner import Owner
from streamq.runtime.stats import HANDLER_BOUNDS_S, OwnerStats

Sample = tuple[Sequence[str], float]


class OwnersCollector:
    """A `prometheus_client` collector over the owners of one process."""

    def __init__(self, owners: Callable[[], Iterable[Owner]], now: Callable[[], float]) -> None:
        self._owners = owners
        self._now = now

    def collect(self) -> Iterable[Metric]:
        """All metrics of `streamq.model.metrics`, in its order."""
        owners = list(self._owners())
        stats = [owner.stats for owner in owners]
        for spec in metrics.ALL:
            if spec is metrics.HANDLER_SECONDS:
                yield _histogram(spec, stats)
            elif spec is metrics.TICK_SECONDS:
                now = self._now()
                yield _family(spec, [((owner.stats.group,), owner.gate.age_s(now)) for owner in owners])
            else:
                yield _family(spec, [sample for each in stats for sample in _samples(spec, each)])


def _family(spec: MetricSpec, samples: Iterable[Sample]) -> Metric:
    make = CounterMetricFamily if spec.kind == "counter" else GaugeMetricFamily
    family = make(spec.name.removesuffix("_total"), _text(spec), labels=spec.labels)
    for labels, value in samples:
        family.add_metric(list(labels), value)
    return family


def _text(spec: MetricSpec) -> str:
    return f"{spec.meaning} {spec.remedy}"


def _samples(spec: MetricSpec, stats: OwnerStats) -> Iterable[Sample]:
    group = stats.group
    single: Mapping[str, float] = {
        metrics.RECEIVED.name: stats.received,
        metrics.FAILED.name: stats.failed,
        metrics.DEAD_FAILED.name: stats.dead_failures,
        metrics.RUNNING.name: stats.running,
        metrics.BUFFERED.name: stats.buffered,
        metrics.BUFFERED_BYTES.name: stats.buffered_bytes,
        metrics.WAITING.name: stats.waiting,
        metrics.OVERDUE.name: stats.overdue,
        metrics.PARTITIONS.name: stats.assigned,
        metrics.PAUSED.name: stats.paused,
        metrics.FLIPS.name: stats.flips,
    }
    several: Mapping[str, Mapping[str, float]] = {
        metrics.SETTLED.name: {"done": stats.done, "dead": stats.dead.total()},
        metrics.DEAD.name: dict(stats.dead),
        metrics.COMMITS.name: dict(stats.commits),
        metrics.REBALANCES.name: dict(stats.rebalances),
        metrics.LAG.name: {str(partition): lag for partition, lag in dict(stats.lag).items()},
    }
    if spec.name in single:
        yield (group,), single[spec.name]
    else:
        for label, value in several[spec.name].items():
            yield (group, label), value


def _histogram(spec: MetricSpec, stats: Iterable[OwnerStats]) -> Metric:
    family = HistogramMetricFamily(spec.name, _text(spec), labels=spec.labels)
    for each in stats:
        buckets, running = [], 0
        for bound, count in zip([*map(str, HANDLER_BOUNDS_S), "+Inf"], list(each.handler_buckets), strict=True):
            running += count
            buckets.append((bound, float(running)))
        family.add_metric([each.group], buckets, each.handler_seconds)
    return family
