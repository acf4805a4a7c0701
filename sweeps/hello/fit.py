"""Fits polynomials to noisy samples of a sine, and says how far each is from it. Put your own model here."""

import math
import random


def fit(degree, noise, seed):
    """Least squares on 40 points; the error is the root mean square against the sine itself."""
    draw = random.Random(seed)
    xs = [2 * math.pi * number / 39 for number in range(40)]
    ys = [math.sin(x) + draw.gauss(0, noise) for x in xs]
    basis = [[math.cos(power * math.acos(x / math.pi - 1)) for power in range(degree + 1)] for x in xs]
    weights = solve(
        [[sum(row[i] * row[j] for row in basis) for j in range(degree + 1)] for i in range(degree + 1)],
        [sum(row[i] * y for row, y in zip(basis, ys)) for i in range(degree + 1)],
    )
    fitted = [sum(weight * value for weight, value in zip(weights, row)) for row in basis]
    error = math.sqrt(sum((one - math.sin(x)) ** 2 for one, x in zip(fitted, xs)) / len(xs))
    return {"error": error, "largest_weight": max(map(abs, weights))}


def solve(matrix, right):
    """Gaussian elimination with pivots."""
    rows = [[*row, value] for row, value in zip(matrix, right)]
    for at in range(len(rows)):
        pivot = max(range(at, len(rows)), key=lambda row: abs(rows[row][at]))
        rows[at], rows[pivot] = rows[pivot], rows[at]
        for row in range(len(rows)):
            if row != at:
                factor = rows[row][at] / rows[at][at]
                rows[row] = [a - factor * b for a, b in zip(rows[row], rows[at])]
    return [row[-1] / row[at] for at, row in enumerate(rows)]
