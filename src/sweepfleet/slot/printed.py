"""The result in what a command printed. Pure.

A JSON object on lines of its own is the result, the last one where there are several (a line an epoch, then the
end). Without any, an object at the end of a line of other text counts if it is the only one, and a number if it is
the last line. Whatever else could be meant, the reader refuses: a wrong number is worse than a failed point.
"""

from __future__ import annotations

import re
from typing import Any, Literal, NamedTuple

from sweepfleet.slot.escapes import without_escapes
from sweepfleet.slot.strict_json import GLANCE, LEADING_ZERO, NUMBER, decoded, number_of, shortened, truncation

ROWS, END_ROWS = "::rows::", "::endrows::"  # lines between which, or to the end, each line is a row
_TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|[{}\[\]]')
_MAP_LIKE = re.compile(r"""\{\s*['"\w][^{}\n]*[:=]""")  # of any language
_MAP_BEGINS = re.compile(r"""\{\s*(?:"|\}|'|\w+ *[:=])""")
_LIST_BEGINS = re.compile(r"""\[\s*(?:\]|[{\["']|-?\d[\d.eE+-]*\s*[,\]]|(?:true|false|null|NaN)\s*[,\]])""")
_ROWS_LINE = re.compile(rf"(?m)^[ \t]*{ROWS}[ \t]*$")
_END_LINE = re.compile(rf"(?m)^[ \t]*{END_ROWS}[ \t]*$")
EXAMPLE = '{"loss": 0.93}'
Place = Literal["alone", "after", "within"]  # on lines of its own, after other text, or within it


class NoResultError(Exception):
    """The output has no result, or more than one possible reading."""


class _Piece(NamedTuple):
    """An object or list among the output."""

    start: int
    end: int
    place: Place
    value: Any
    problem: str  # why it is not JSON, where it looks like it


def clean(text: str) -> str:
    """The text without escape sequences and byte order marks; a carriage return ends a line."""
    text = without_escapes(text)
    text = text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
    return re.sub(r"(?m)^\ufeff+", "", text) if "\ufeff" in text else text


def read(text: str, *, cut: bool = False, end: int | None = None) -> Any:
    """What a command printed: its `result`, or (its result or None, its rows) where it printed `ROWS`.

    Args:
        text: standard output; its end, if it is very long.
        cut: whether `text` is only the end.
        end: how much of the end of what is no row is looked through for the result; None: all of it.

    Raises:
        NoResultError: says what was found instead.
    """
    text = clean(text)
    marked = list(_ROWS_LINE.finditer(text)) if ROWS in text else []
    if len(marked) > 1:
        raise NoResultError(f"there are {len(marked)} {ROWS} lines; one is allowed")
    rest, rows = text, None
    if marked:
        below = text[marked[0].end() :]
        ended = _END_LINE.search(below)
        lines = (below[: ended.start()] if ended else below).split("\n")
        rows = [_row(number, line) for number, line in enumerate(lines) if line.strip()]
        rest = f"{text[: marked[0].start()]}\n{below[ended.end() :] if ended else ''}"
    if end is not None and len(rest) > end:
        rest, cut = rest[-end:], True
    found = result(rest, cut=cut, optional=rows is not None)
    return found if rows is None else (found, rows)


def _row(number: int, line: str) -> dict[str, Any]:
    value, problem = decoded(line, 0, len(line))
    if not isinstance(value, dict):
        raise NoResultError(
            f"line {number} below {ROWS} is not a JSON object, as each row is: {problem or shortened(line)}. A line "
            f"{END_ROWS} ends the rows"
        )
    return value


def result(text: str, *, cut: bool = False, optional: bool = False) -> Any:
    """The object of metrics, or the one number, that a command printed.

    Args:
        text: standard output; its end, if it is very long.
        cut: whether `text` is only the end.
        optional: whether there may be none, which is None then.

    Raises:
        NoResultError: says what was found instead.
    """
    text = clean(text)
    pieces, floor = _pieces(text, cut=cut)
    pieces = [piece for piece in pieces if piece.start >= floor]
    objects = [piece for piece in pieces if isinstance(piece.value, dict) or piece.problem]
    alone = [piece for piece in objects if piece.place == "alone"]
    others = [piece for piece in objects if piece.place != "alone" and (piece.value or piece.problem)]
    try:
        number = number_of(text)
    except ValueError as error:
        raise NoResultError(str(error)) from None
    if alone:
        last = alone[-1]
        if last.problem:
            raise NoResultError(f"the last object is not JSON: {last.problem}")
        later = [piece for piece in others if piece.start > last.start]
        if later:
            raise NoResultError(
                f"two objects could be the result: {_short(text, last)} on lines of its own, and "
                f"{_short(text, later[-1])} within a later line. Print the result last"
            )
        return last.value
    if others:
        return _labelled(text, others, number)
    if number is not None and not cut:
        holder = next((piece for piece in pieces if _has_object(piece.value)), None)
        if holder is not None:
            raise NoResultError(f"the list {_short(text, holder)} and the number {number} could be the result")
        return number
    if optional and number is None and not any(isinstance(piece.value, list) for piece in pieces):
        return None
    raise NoResultError(_nothing(text, pieces, number, cut=cut))


def _labelled(text: str, found: list[_Piece], number: Any) -> Any:
    """The only object in a line with other text."""
    only = found[0]
    if len(found) > 1:
        raise NoResultError(
            f"{len(found):,} objects are in lines with other text, such as {_short(text, found[-1])}, and none on a "
            "line of its own"
        )
    if only.problem:
        raise NoResultError(f"an object is not JSON: {only.problem}")
    if only.place == "within":
        raise NoResultError(f"the only object, {_short(text, only)}, is in the middle of a line")
    if number is not None:
        raise NoResultError(
            f"{_short(text, only)}, in a line with other text, and the number {number} could be the result"
        )
    return only.value


def _nothing(text: str, pieces: list[_Piece], number: Any, *, cut: bool) -> str:
    if cut:
        what = "in the last part of the output, which is all that is read, no complete object begins"
        return (
            what
            if number is None
            else f"{what}; a number alone, {number}, counts as a result only when all of the output is read"
        )
    lists = [piece for piece in pieces if isinstance(piece.value, list)]
    if lists and lists[-1].place == "alone":
        return f"{_short(text, lists[-1])} is a list; a result must be an object"
    last = text.rstrip().rpartition("\n")[2].strip()
    if re.match(r"\[1\]\s*\S+$", last):
        return "the last line is written by R's print; write the number with cat(), an object with jsonlite::toJSON"
    if _MAP_LIKE.match(last):
        return f"{shortened(last)} is not JSON; in Python, print(json.dumps(...))"
    if LEADING_ZERO.match(last) and NUMBER.fullmatch(last):
        return f"{shortened(last)} starts with a zero, which JSON does not allow"
    return "no object was printed, and the last line is not a number"


def _pieces(text: str, *, cut: bool) -> tuple[list[_Piece], int]:
    """The outermost objects and lists, in order, and the position before which nothing is reliable."""
    closing, open_ended, stray = _brackets(text)
    floor = 0
    if cut:  # what began before may end here; its first line is half a line
        floor = max(text.find("\n") + 1 or len(text), stray)
    found: list[_Piece] = []
    skip = 0
    whole = text.rstrip()
    for start in sorted([*closing, *open_ended]):
        if start < max(skip, floor):
            continue
        end = closing.get(start)
        if not _looks_like_json(text, start):
            if end is not None and "\n" not in text[start : min(end, start + GLANCE)] and end < start + GLANCE:
                skip = end  # as in [INFO]
            continue
        if end is None:
            problem = truncation(whole, start)
            if problem:
                found.append(_Piece(start, len(text), "alone", None, problem))
                break
            continue
        value, problem = decoded(text, start, end)
        skip = end
        if not problem or text[start] == "{" or "{" in text[start:end]:
            found.append(_Piece(start, end, _place(text, start, end), value, problem))
    return found, floor


def _brackets(text: str) -> tuple[dict[int, int], list[int], int]:
    """Where each bracket's partner ends, which ones have none, and where the last unopened one ends.

    Strings are passed over; none goes over a line's end, so an odd quote in a line of text spoils that line alone.
    """
    stack: list[int] = []
    closing: dict[int, int] = {}
    stray = 0
    for token in _TOKEN.finditer(text):
        sign, at = token[0], token.start()
        if sign in "{[":
            stack.append(at)
        elif sign in "}]":
            if stack and text[stack[-1]] == ("{" if sign == "}" else "["):
                closing[stack.pop()] = at + 1
            elif not stack:
                stray = at + 1
    return closing, stack, stray


def _place(text: str, start: int, end: int) -> Place:
    line_end = text.find("\n", end)
    if text[end : line_end if line_end >= 0 else len(text)].strip():
        return "within"
    return "after" if text[text.rfind("\n", 0, start) + 1 : start].strip() else "alone"


def _looks_like_json(text: str, start: int) -> bool:
    """Whether a bracket begins an object or list of values, in whatever language's spelling."""
    return (_MAP_BEGINS if text[start] == "{" else _LIST_BEGINS).match(text, start) is not None


def _has_object(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(each, dict) or _has_object(each) for each in value)


def _short(text: str, piece: _Piece) -> str:
    return shortened(text[piece.start : piece.end])
