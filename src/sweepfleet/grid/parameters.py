"""Turns a parameter of a grid file into a dimension: explicit values, or a distribution to draw from.

Values are computed so that they are the same on every machine: a point's id depends on their last bit.
"""

from __future__ import annotations

import decimal
import math
from collections.abc import Iterable, Sequence
from fractions import Fraction

from sweepfleet.grid.identity import encode
from sweepfleet.grid.plan import Dimension, Distribution, Method, Value
from sweepfleet.grid.spec import ParameterSpec
from sweepfleet.grid.wandb import LAWS, Law
from sweepfleet.grid.wording import nearest, show

MAX_VALUES = 1_000_000  # computed for one parameter
_DECIMAL = decimal.Context(prec=30, Emax=999_999, Emin=-999_999)
_FORMS = ("values", "value", "range", "linspace", "logspace", "parameters")
_EXPLICIT = {"categorical": ["values"], "categorical_w_probabilities": ["values"], "constant": ["value"]}
_LAW_KEYS = ("min", "max", "mu", "sigma", "q", "a", "b")


class ParameterError(Exception):
    """A parameter that cannot be used: why, what to write, and which key is wrong."""

    def __init__(self, message: str, remedy: str, key: str | None = None) -> None:
        self.message = message
        self.remedy = remedy
        self.key = key
        super().__init__(f"{message} {remedy}")


def dimension(name: str, spec: ParameterSpec, *, method: Method) -> Dimension:
    """The dimension that a parameter is under a method. Raises ParameterError."""
    given = spec.model_fields_set
    form = _form(spec)
    if spec.probabilities is not None:
        return _weighted(name, spec, method=method)
    if form != "distribution":
        return Dimension((name,), rows=tuple((value,) for value in _values(form, spec)))
    law = _law(spec)
    distribution = _distribution(law, spec)
    if method in {"random", "sobol"} or law.name == "int_uniform":
        return Dimension((name,), distribution=distribution)
    if law.name != "q_uniform":
        kind = "a distribution without a list of values" if "distribution" in given else "an interval of real numbers"
        bounds = f"{show(spec.min)}, {show(spec.max)}" if spec.min is not None and spec.max is not None else "0, 1"
        raise ParameterError(
            f"{law.name} is {kind}: method {method} cannot go through it.",
            f"Write linspace: [{bounds.replace('`', '')}, 11] or values, or use method: random with samples.",
        )
    return Dimension((name,), rows=tuple((value,) for value in _distinct(_arange(spec))))


def explicit(spec: ParameterSpec) -> list[Value]:
    """All values of a parameter of a zip, repeated ones too. Raises ParameterError."""
    form = _form(spec)
    if spec.probabilities is not None:
        raise ParameterError("The parameters of a zip cannot have probabilities.", "Remove them.", "probabilities")
    if form != "distribution":
        return _values(form, spec, distinct=False)
    if (law := _law(spec)).name == "int_uniform":
        _distribution(law, spec)
        low, high = map(int, _bounds(spec))
        _check_count(high - low + 1, "max")
        return list(range(low, high + 1))
    raise ParameterError("The parameters of a zip need lists of values.", "Write values, range or linspace.")


def _form(spec: ParameterSpec) -> str:
    """The form in which a parameter has its values."""
    given = spec.model_fields_set
    forms = [form for form in _FORMS if form in given]
    law_keys = [key for key in _LAW_KEYS if key in given]
    named = spec.distribution
    if not law_keys and _EXPLICIT.get(named or "") == forms:
        named = None  # W&B's name for what is written out anyway
    if named is not None or law_keys:
        forms.append("distribution" if named is not None else law_keys[0])
    if len(forms) > 1:
        seen = " and ".join(f"`{form}`" for form in forms)
        raise ParameterError(f"{seen} cannot be used together.", "Remove one of them.", forms[1])
    if not forms:
        raise ParameterError("It has no values.", "Write a list such as [0.1, 1], or range, linspace, logspace.")
    if "probabilities" in given and forms != ["values"]:
        raise ParameterError("`probabilities` go with `values` only.", "Remove them.", "probabilities")
    return forms[0] if forms[0] in _FORMS else "distribution"


def _values(form: str, spec: ParameterSpec, *, distinct: bool = True) -> list[Value]:
    match form:
        case "value":
            return [spec.value]
        case "values":
            values: list[Value] = spec.values or []
        case "range":
            values = _range(_numbers(form, spec.range, allowed=(2, 3)))
        case "linspace":
            values = list(linspace(*_ends(form, spec.linspace)))
        case _:
            values = list(logspace(*_ends("logspace", spec.logspace)))
    if not values:
        raise ParameterError("The list of values is empty.", "Write at least one value.", form)
    return _distinct(values) if distinct else values


def _distinct(values: Iterable[Value]) -> list[Value]:
    """Each value once, in order; 1, 1.0 and true are three."""
    found: dict[str, Value] = {}
    for value in values:
        found.setdefault(encode(value), value)
    return list(found.values())


def _weighted(name: str, spec: ParameterSpec, *, method: Method) -> Dimension:
    """Values with probabilities; those of a repeated value add up."""
    values, weights = spec.values or [], spec.probabilities or []
    if method not in {"random", "sobol"}:
        seen = f"Method {method} takes every value once, so it does not use probabilities."
        raise ParameterError(seen, "Remove them, or use method: random with samples.", "probabilities")
    if len(values) != len(weights):
        seen = f"There are {len(values)} values and {len(weights)} probabilities."
        raise ParameterError(seen, "Give one probability for each value.", "probabilities")
    total = math.fsum(weights)
    if not values or min(weights) < 0 or abs(total - 1) > 1e-6:
        seen = f"Probabilities must be 0 or more and sum to 1; these sum to {total:g}."
        raise ParameterError(seen, "Correct them.", "probabilities")
    sums: dict[str, tuple[Value, float]] = {}
    for value, weight in zip(values, weights, strict=True):
        key = encode(value)
        sums[key] = (value, sums[key][1] + weight if key in sums else weight)
    rows = tuple((value,) for value, _ in sums.values())
    return Dimension((name,), rows=rows, probabilities=tuple(float(weight) for _, weight in sums.values()))


def _law(spec: ParameterSpec) -> Law:
    """W&B's law for a spec: the named one, or the one that its bounds imply. Raises ParameterError."""
    name = spec.distribution
    if name is None:
        if spec.min is None or spec.max is None:
            missing = "min" if spec.min is None else "max"
            raise ParameterError(f"`{missing}` is missing.", "Give both min and max, or name a distribution.")
        name = "int_uniform" if isinstance(spec.min, int) and isinstance(spec.max, int) else "uniform"
    if name in _EXPLICIT:
        needed = _EXPLICIT[name][0]
        raise ParameterError(
            f"The distribution {name} needs `{needed}`.",
            f"Write `{needed}` and remove `distribution`.",
            "distribution",
        )
    if name not in LAWS:
        remedy = nearest(name, list(LAWS), what="distributions")
        raise ParameterError(f"{show(name)} is not a distribution.", remedy, "distribution")
    return LAWS[name]


def _distribution(law: Law, spec: ParameterSpec) -> Distribution:
    """The law with its numbers, checked. Raises ParameterError."""
    for key in law.needs:
        if getattr(spec, key) is None:
            raise ParameterError(f"{law.name} needs `{key}`.", f"Write {', '.join(law.needs)}.", "distribution")
    for key in _LAW_KEYS:
        if getattr(spec, key) is not None and key not in (*law.needs, *law.takes):
            keys = ", ".join((*law.needs, *law.takes))
            raise ParameterError(f"{law.name} has no `{key}`.", f"Its keys are {keys}.", key)
    for key, number in (("sigma", spec.sigma), ("a", spec.a), ("b", spec.b), ("q", spec.q), ("min", spec.min)):
        positive = key in {"q", "a", "b"} or (key == "min" and law.positive)
        if number is not None and (number <= 0 if positive else key == "sigma" and number < 0):
            least = "above 0" if positive else "0 or more"
            raise ParameterError(f"{show(number)} is not {least}.", f"Write a `{key}` {least}.", key)
    if spec.min is not None and spec.max is not None and spec.min > spec.max:
        raise ParameterError(f"min {show(spec.min)} is above max {show(spec.max)}.", "Exchange the two.", "min")
    if law.name == "int_uniform":
        for key, number in zip(("min", "max"), _bounds(spec), strict=True):
            if number != int(number):
                raise ParameterError(f"{show(number)} is not a whole number.", "Write one, or uniform.", key)
        low, high = (_float(key, int(getattr(spec, key))) for key in ("min", "max"))
        return Distribution(law.name, low=low, high=high)
    low, high, mu, sigma, a, b = (_float(key, getattr(spec, key)) for key in ("min", "max", "mu", "sigma", "a", "b"))
    return Distribution(law.name, low=low, high=high, mu=mu, sigma=sigma, q=spec.q, a=a, b=b)


def _float(key: str, number: float | None) -> float | None:
    """The number itself, if it fits in a float."""
    try:
        float(number or 0)
    except OverflowError:
        raise ParameterError(f"{show(number)} is too large.", "Write a smaller number.", key) from None
    return number


def _numbers(form: str, numbers: Sequence[float] | None, *, allowed: Sequence[int]) -> list[float]:
    numbers = list(numbers or [])
    if len(numbers) not in allowed:
        example = "[start, stop, step]" if form == "range" else "[first, last, count]"
        raise ParameterError(f"{form} has {len(numbers)} numbers.", f"Write {form}: {example}.", form)
    for number in numbers:
        _float(form, number)
    return numbers


def _ends(form: str, numbers: Sequence[float] | None) -> tuple[float, float, int]:
    first, last, count = _numbers(form, numbers, allowed=(3,))
    if not isinstance(count, int) or count < 1:
        raise ParameterError(
            f"The count {show(count)} is not a whole number above 0.", "Write one, such as 11.", form
        )
    _check_count(count, form)
    if not math.isfinite(float(last) - float(first)):
        raise ParameterError("The ends are too far apart.", "Bring them nearer.", form)
    if form == "logspace" and max(first, last) > 308:
        raise ParameterError("10 to this power is too large for a float.", "Exponents go up to 308.", form)
    return first, last, count


def _check_count(count: int, key: str) -> None:
    if count > MAX_VALUES:
        seen = f"That is {count:,} values; {MAX_VALUES:,} can be listed for one parameter."
        raise ParameterError(seen, "Take a larger step, or use method: random with min, max and samples.", key)


def _range(numbers: Sequence[float]) -> list[Value]:
    """As Python's range, for decimals too: stop is excluded, and each value is the float nearest to the true one.

    Whole numbers stay whole when all are. Raises ParameterError.
    """
    start, stop, step = (Fraction(repr(number)) for number in (*numbers, 1)[:3])
    if step == 0:
        raise ParameterError("The step is 0.", "Write a step other than 0.", "range")
    count = max(0, math.ceil((stop - start) / step))
    if count == 0:
        seen = f"The range from {show(numbers[0])} to {show(numbers[1])} is empty."
        raise ParameterError(seen, "The stop is excluded. Move it, or change the sign of the step.", "range")
    _check_count(count, "range")
    scale = math.lcm(start.denominator, step.denominator)
    first, by = int(start * scale), int(step * scale)
    if all(isinstance(number, int) for number in numbers):
        return list(range(first, first + count * by, by))
    return [(first + by * number) / scale for number in range(count)]


def linspace(first: float, last: float, count: int) -> list[float]:
    """`count` evenly spaced floats from first to last, both exact; numpy.linspace's numbers to the last bit."""
    first, last = float(first), float(last)
    if count == 1:
        return [first]
    width = last - first
    step = width / (count - 1)
    if step == 0:  # as numpy, for widths so small that the step vanishes
        values = [number / (count - 1) * width + first for number in range(count)]
    else:
        values = [number * step + first for number in range(count)]
    values[-1] = last
    return values


def logspace(first: float, last: float, count: int) -> list[float]:
    """10 to the powers of `linspace`: whole powers exact (1e-4), all the same on every machine.

    numpy.logspace's numbers come from the machine's `pow` and may differ from these in the last bit.
    """
    ten = decimal.Decimal(10)
    return [float(_DECIMAL.power(ten, decimal.Decimal(power))) for power in linspace(first, last, count)]


def _arange(spec: ParameterSpec) -> list[Value]:
    """A q_uniform's values in a grid: numpy.arange(min, max, q), max excluded, which is what W&B takes."""
    low, high = _bounds(spec)
    q: float = 1.0 if spec.q is None else spec.q
    if not all(isinstance(number, int) for number in (low, high, q)):
        low = float(low)
    count = (float(high) - low) / q
    if count > 0:
        _check_count(math.ceil(min(count, 2 * MAX_VALUES)), "q")
    else:
        seen = "q_uniform has no value in a grid: its max is excluded."
        raise ParameterError(seen, "Write values, or a larger max.", "max")
    step = (low + q) - low
    return [low + number * step for number in range(math.ceil(count))]


def _bounds(spec: ParameterSpec) -> tuple[float, float]:
    """Min and max, which the distribution has been checked to have."""
    return (spec.min or 0, spec.max or 0)
