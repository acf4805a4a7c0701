"""What a run compares: configurations, each the mean over its replicates and over `metric.over`."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from sweepfleet.grid.space import Space
from sweepfleet.grid.sweep import Metric
from sweepfleet.run.ranking import rank
from sweepfleet.run.report.scan import METRIC, PARAM, Results, finite, query

TOP = 10  # that the page's table shows


@dataclass(frozen=True, slots=True)
class Configurations:
    """A run's configurations, best first; of more than one point each when `grouped`."""

    metric: Metric
    keys: tuple[str, ...]  # the parameters that make a configuration
    over: tuple[str, ...]  # the others, which its mean is over
    replicates: bool  # whether its mean is over them, too
    grouped: bool
    ranked: pl.DataFrame  # as `rank` gives it; the first ten alone unless grouped

    @property
    def incomplete(self) -> pl.DataFrame:
        """Those without a finite metric at every point."""
        return self.ranked.filter(pl.col("n") < pl.col("of")) if self.grouped else self.ranked.clear()

    def values(self, results: Results) -> pl.LazyFrame:
        """What charts of configurations show: their parameters, and their metric as `value`; complete ones alone."""
        if self.grouped:
            complete = self.ranked.filter(pl.col("n") >= pl.col("of"))
            return complete.lazy().rename({"mean": "value"})
        done = results.frame.filter(pl.col("status") == "done")
        return done.select(
            *(pl.col(PARAM + name) for name in self.keys), finite(METRIC + self.metric.name).alias("value")
        )

    def complete(self, results: Results) -> pl.Series | None:
        """For each row of the file, whether its configuration is complete.

        None when all are, or none is: then there is nothing to leave out.
        """
        incomplete = self.incomplete
        if incomplete.is_empty() or len(incomplete) == len(self.ranked):
            return None
        names = [PARAM + name for name in self.keys]
        found = results.frame.select(*names).with_row_index("row").collect()
        out = found.join(incomplete.select(names), on=names, how="semi", nulls_equal=True)["row"]
        keep = pl.Series([True]).new_from_index(0, results.rows)
        return keep.scatter(out, False).alias("complete")


def configurations(results: Results, metric: Metric | None, *, space: Space | None = None) -> Configurations | None:
    """A run's configurations; None without a metric of which any row has a number.

    `space` are the plan's points, where some may have no row yet.
    """
    if metric is None or METRIC + metric.name not in results.schema or not results.rows:
        return None
    over = tuple(name for name in results.params if name in metric.over)
    replicates = query(results.frame.select(pl.col("replicate").max())).item() or 0
    if space is not None:
        replicates = max(replicates, space.plan.replicates - 1)
    grouped = bool(over or replicates)
    ranked = rank(results.frame, metric, space=space, top=None if grouped else TOP)
    if not ranked["n"].sum():
        return None
    return Configurations(
        metric=metric,
        keys=tuple(name for name in results.params if name not in over),
        over=over,
        replicates=bool(replicates),
        grouped=grouped,
        ranked=ranked,
    )
