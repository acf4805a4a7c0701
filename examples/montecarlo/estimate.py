"""Simulate a shop's stock under one ordering policy: pure Python, ten to twenty microseconds a point."""

from __future__ import annotations

from random import Random

DAYS = 28
OPENING_STOCK = 60.0  # litres
MEAN_DEMAND = 10.0  # litres a day, exponentially distributed
DELIVERY_DAYS = 3  # from the evening of the order to the morning of the delivery
COST_OF_ORDER = 20.0  # each, whatever its size
COST_OF_STORING = 0.1  # a litre, overnight
COST_OF_MISSING = 2.0  # a litre that was asked for and not there: the customer goes elsewhere


def month(reorder_at: float, order: float, seed: int) -> dict[str, float]:
    """Four weeks of a policy: when no more than `reorder_at` litres are left and none on the way, order `order`.

    One month says little; the mean over many replicates is the policy's expected cost a day.
    """
    draw_demand = Random(seed).expovariate
    stock, arrives_on = OPENING_STOCK, -1
    orders, stored, missed = 0, 0.0, 0.0

    for day in range(DAYS):
        if day == arrives_on:
            stock += order
        stock -= draw_demand(1 / MEAN_DEMAND)
        if stock < 0:
            missed -= stock
            stock = 0.0
        stored += stock
        if stock <= reorder_at and day >= arrives_on:
            orders += 1
            arrives_on = day + DELIVERY_DAYS

    cost = COST_OF_ORDER * orders + COST_OF_STORING * stored + COST_OF_MISSING * missed
    return {"cost_per_day": cost / DAYS, "missed": missed, "orders": orders}
