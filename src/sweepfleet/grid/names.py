"""Names of parameters and metrics: which ones are allowed, and how they are written in conditions.

A name with signs (`learning-rate`, `val/loss`, `+trainer.lr`, `numbers[0]`) stands in backticks in a condition, as
in pandas and MLflow. Without them its signs are operators, so such a name is refused rather than computed with.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection, Iterator

_SIGNS = r"\w\-/+@\[\]~:#%$"
NAME = rf"[+~@$%]*[^\W\d][{_SIGNS}]*(?:\.[{_SIGNS}]+)*"
_PARAMETER = re.compile(NAME)
_MAX_NAME = 200
_QUOTED = re.compile(
    r"""'{3}.*?'{3}|"{3}.*?"{3}|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`(?P<name>[^`]*)(?P<end>`?)""", re.DOTALL
)
_ARITHMETIC = re.compile(r"[\w.]+(?:[-+/%][\w.]+)+")
_OPERAND_ENDS = re.compile(r"(?:(?P<word>[^\W\d]\w*)|[\w)\]\"])\s*\Z")


class BacktickError(ValueError):
    """A condition with missing or unpaired backticks; has what was seen and what to write."""

    def __init__(self, message: str, remedy: str) -> None:
        self.message = message
        self.remedy = remedy
        super().__init__(f"{message} {remedy}")


def is_parameter(name: str) -> bool:
    """Whether a parameter may be called so."""
    return len(name) <= _MAX_NAME and _PARAMETER.fullmatch(name) is not None


def quoted(name: str) -> str:
    """A name as it is written in a condition: in backticks unless it is plain words with dots."""
    plain = all(part.isidentifier() and not keyword.iskeyword(part) for part in name.split("."))
    return name if plain else f"`{name}`"


def without_backticks(text: str, names: Collection[str]) -> tuple[str, dict[str, str]]:
    """`text` with each name in backticks replaced by an identifier, and the name of each identifier.

    Raises BacktickError for a backtick that is not closed, and for one of `names` that stands in the text with its
    signs and without backticks: it would be read as a subtraction, a division or a list's element.
    """
    stem = "_name"
    while stem in text:
        stem += "_"
    meant: dict[str, str] = {}

    def stand_in(found: re.Match[str]) -> str:
        name = found["name"]
        if name is None:
            return found[0]
        if not found["end"] or not name:
            seen = (
                f"A backtick in {text.strip()[:60]!r} has no closing backtick."
                if name
                else "There is no name between two backticks."
            )
            raise BacktickError(seen, "Write a name with signs in backticks: `learning-rate` > 0.1")
        word = f"{stem}{len(meant)}"
        meant[word] = name
        return word

    readable = _QUOTED.sub(stand_in, text)
    for name in _bare(_QUOTED.sub(lambda found: '"' * len(found[0]), text), names):
        raise _needs_backticks(name, names)
    return readable, meant


def _bare(text: str, names: Collection[str]) -> Iterator[str]:
    """The names with signs in a text, longest first."""
    signed = [name for name in names if name in text and not all(part.isidentifier() for part in name.split("."))]
    for name in sorted(signed, key=len, reverse=True):
        for found in re.finditer(rf"(?<!\w){re.escape(name)}(?!\.?\w)", text):
            before = text[: found.start()]
            if before.endswith("."):  # the end of a longer name
                continue
            if not name[0].isalpha() and name[0] != "_" and _ends_operand(before):
                continue  # a +b: the sign is between two values
            yield name


def _ends_operand(text: str) -> bool:
    found = _OPERAND_ENDS.search(text)
    return found is not None and not keyword.iskeyword(found["word"] or "")


def _needs_backticks(name: str, names: Collection[str]) -> BacktickError:
    if _ARITHMETIC.fullmatch(name) is None:
        return BacktickError(f"{name!r} is a name with signs in it.", f"Write it in backticks: `{name}`.")
    remedy = f"Write it in backticks: `{name}`."
    if all(part in names or part.isdecimal() for part in re.split(r"[-+/%]", name)):
        spaced = re.sub(r"([-+/%])", r" \1 ", name)
        remedy = (
            f"For the parameter, write `{name}` in backticks; for arithmetic, put spaces around the sign: {spaced}."
        )
    return BacktickError(f"{name!r} is a parameter's name, but without backticks it reads as arithmetic.", remedy)
