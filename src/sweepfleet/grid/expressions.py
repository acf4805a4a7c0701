"""Conditions over parameters, as written in `where` and `when`: parsed, checked, then compiled.

What can be written: parameter names (dotted ones too, those with signs in backticks), numbers, strings, True,
False, None, lists; `and`, `or`, `not`; comparisons, also chained; `in` and `not in` a list written out; `is None`;
`+ - * / // %` on numbers; `a if condition else b`; calls to abs, min, max, round and len. The user's text itself is
never evaluated: its tree is rebuilt from a whitelist of nodes, with every arithmetic operation replaced by a guarded
one.

A parameter that a point does not have reads as None. A condition that cannot be computed at a point (None or
a string where a number is needed, a division by zero, a number past 2**128) is false there, as a whole: a
sweep never stops for it. What cannot be computed at any point is an error when the expression is made.
"""

from __future__ import annotations

import ast
import keyword
import warnings
from collections.abc import Callable, Collection, Mapping
from typing import Any

from sweepfleet.grid.arithmetic import FUNCTIONS, GUARDED, MAX_INT, MOST_ARGUMENTS
from sweepfleet.grid.errors import UsageError
from sweepfleet.grid.names import BacktickError, quoted, without_backticks
from sweepfleet.grid.plan import Value

MAX_LENGTH = 2000  # characters
MAX_DEPTH = 50  # nested operations

# What evaluation may raise at one point; anything else is a defect of ours and keeps its traceback.
_NOT_COMPUTABLE = (ArithmeticError, TypeError, ValueError, RecursionError)

_COMPARISONS = (ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn, ast.Is, ast.IsNot)


class ExpressionError(UsageError):
    """A condition that cannot be used; has what was seen and what to write instead."""

    def __init__(self, message: str, remedy: str) -> None:
        self.message = message
        self.remedy = remedy
        super().__init__(f"{message} {remedy}")


class Expression:
    """A compiled condition, which can be evaluated for any point.

    `names` are the parameters that it uses. Calling it with a point's parameters never raises.
    """

    __slots__ = ("_run", "names", "text")

    def __init__(self, text: str, names: Collection[str]) -> None:
        """Parse and check `text`, in which `names` may be used. Raises ExpressionError."""
        self.text = text
        tree, meant = _parse(text, names)
        builder = _Builder(names, meant)
        body = builder.build(tree)
        self.names: frozenset[str] = frozenset(builder.used)
        self._run = _compile(body)
        if not self.names:
            _prove(self._run, text)

    def __call__(self, params: Mapping[str, Value]) -> bool:
        """Whether the condition is true for these parameters; false when it cannot be computed."""
        try:
            return bool(self._run(params.get))
        except _NOT_COMPUTABLE:
            return False

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"


def _parse(text: str, names: Collection[str]) -> tuple[ast.expr, dict[str, str]]:
    """The syntax tree of a text that is short and shallow enough to be walked safely.

    And the name that each identifier stands for which took the place of backticks.
    """
    if not isinstance(text, str):
        raise ExpressionError(f"A condition is text, not {type(text).__name__}.", "Write it in quotes.")
    if not text.strip():
        raise ExpressionError("A condition is empty.", "Write one, such as: alpha > 0.1")
    if len(text) > MAX_LENGTH:
        raise ExpressionError(
            f"A condition has {len(text)} characters; {MAX_LENGTH} are allowed.",
            "Split it: every entry of `where` must hold.",
        )
    try:
        readable, meant = without_backticks(" ".join(text.split("\n")).strip(), names)
    except BacktickError as error:
        raise ExpressionError(error.message, error.remedy) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's advice on its own syntax, such as "\d", is not ours
            tree = ast.parse(readable, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = (
            error.msg
            if isinstance(error, SyntaxError)
            else "it is nested too deeply, or has characters that are not allowed"
        )
        raise ExpressionError(f"{_short(text)} cannot be read: {reason}.", _advice(text, names)) from None
    level: list[ast.AST] = [tree]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return tree, meant
    raise ExpressionError(
        f"{_short(text)} is nested more than {MAX_DEPTH} deep.", "Split it: every entry of `where` must hold."
    )


def _advice(text: str, names: Collection[str]) -> str:
    for name in names:
        words = [word for word in name.split(".") if keyword.iskeyword(word)]
        if words and name in text:
            return f"{words[0]!r} is a Python keyword: write {quoted(name)} in backticks."
    for seen, meant in (("&&", "and"), ("||", "or"), ("=>", ">="), ("=<", "<="), ("<>", "!=")):
        if seen in text:
            return f"Write `{meant}` instead of `{seen}`."
    if "=" in text and not any(sign in text for sign in ("==", "!=", "<=", ">=")):
        return "Write `==` to compare."
    return "Write it as in Python: model == 'lasso' and alpha < 0.1"


class _Builder:
    """Rebuilds a tree from allowed nodes only; names become look-ups, arithmetic becomes guarded calls."""

    def __init__(self, names: Collection[str], meant: Mapping[str, str]) -> None:
        self.known = names
        self.used: set[str] = set()
        self._meant = meant  # what identifiers that took the place of backticks stand for

    def build(self, node: ast.expr) -> ast.expr:
        """The safe equal of `node`. Raises ExpressionError for whatever is not on the whitelist."""
        match node:
            case ast.Constant(value=value):
                return ast.Constant(_checked_constant(value))
            case ast.Name() | ast.Attribute():
                return self._name(node)
            case ast.BoolOp(op=op, values=values):
                return ast.BoolOp(op, [self.build(value) for value in values])
            case ast.UnaryOp(op=ast.Not() as op, operand=operand):
                return ast.UnaryOp(op, self.build(operand))
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as op, operand=operand):
                return self._proved(_call(type(op).__name__, [self.build(operand)]), node)
            case ast.BinOp(left=left, op=op, right=right) if type(op).__name__ in GUARDED:
                return self._proved(_call(type(op).__name__, [self.build(left), self.build(right)]), node)
            case ast.Compare():
                return self._comparison(node)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return ast.IfExp(self.build(test), self.build(body), self.build(orelse))
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                return ast.List([self.build(element) for element in elements], ast.Load())
            case ast.Call(func=ast.Name(id=function), args=arguments, keywords=[]) if function in FUNCTIONS:
                if not 1 <= len(arguments) <= MOST_ARGUMENTS[function]:
                    raise ExpressionError(
                        f"{_short(self._source(node))}: {len(arguments)} arguments.",
                        "Write abs(alpha), max(a, b).",
                    )
                return self._proved(_call(function, [self.build(argument) for argument in arguments]), node)
        raise self._refusal(node)

    def _name(self, node: ast.expr) -> ast.expr:
        words = _words(node)
        if words is None:
            raise self._refusal(node)
        dotted = ".".join(self._meant.get(word, word) for word in words)
        if dotted not in self.known:
            raise _unknown(dotted, self.known)
        self.used.add(dotted)
        return ast.Call(ast.Name("_get", ast.Load()), [ast.Constant(dotted)], [])

    def _comparison(self, node: ast.Compare) -> ast.expr:
        for operator, right in zip(node.ops, node.comparators, strict=True):
            if not isinstance(operator, _COMPARISONS):
                raise self._refusal(node)
            if isinstance(operator, ast.In | ast.NotIn) and not isinstance(right, ast.List | ast.Tuple):
                raise ExpressionError(
                    f"{_short(self._source(node))}: `in` needs a list.",
                    "Write, for example, model in ['ridge', 'lasso']",
                )
            if isinstance(operator, ast.Is | ast.IsNot) and not (
                isinstance(right, ast.Constant) and right.value is None
            ):
                raise ExpressionError(
                    f"{_short(self._source(node))}: `is` compares with None only.", "Write `==` or `!=`."
                )
        rights = [self.build(right) for right in node.comparators]
        return self._proved(ast.Compare(self.build(node.left), node.ops, rights), node)

    def _proved(self, built: ast.expr, node: ast.expr) -> ast.expr:
        """`built`, once it is known that it can be computed if it has nothing but constants in it."""
        if not any(isinstance(part, ast.Name) and part.id == "_get" for part in ast.walk(built)):
            _prove(_compile(built), self._source(node))
        return built

    def _source(self, node: ast.AST) -> str:
        """A part of the condition as it was written."""
        source = ast.unparse(node)
        for word, name in self._meant.items():
            source = source.replace(word, f"`{name}`")
        return source

    def _refusal(self, node: ast.AST) -> ExpressionError:
        what = {
            "Call": "only abs, min, max, round and len can be called",
            "Attribute": "a dot is only allowed inside a parameter's name",
            "Subscript": "square brackets after a value are not allowed",
            "BinOp": "only the operators + - * / // % are allowed",
            "UnaryOp": "only the operators + - * / // % are allowed",
        }.get(type(node).__name__, "this form is not allowed in a condition")
        return ExpressionError(
            f"{_short(self._source(node))}: {what}.",
            "Use names, numbers, text, comparisons, and, or, not, + - * / // %, abs, min, max, round, len.",
        )


def _prove(run: Callable[..., Any], text: str) -> None:
    try:
        run({}.get)
    except _NOT_COMPUTABLE as error:
        raise ExpressionError(
            f"{_short(text)} can never be computed: {error}.", "Use numbers with numbers, and text with text."
        ) from None


def _checked_constant(value: object) -> Any:
    if value is None or isinstance(value, bool | float | str):
        return value
    if isinstance(value, int):
        if value > MAX_INT:
            raise ExpressionError("A number is larger than 2**128.", "Write it as a float, such as 1e40.")
        return value
    raise ExpressionError(
        f"{_short(repr(value))} cannot be used in a condition.", "Use numbers, text, True, False and None."
    )


def _words(node: ast.expr) -> list[str] | None:
    """`net`, `depth` for the tree of net.depth; None when it is anything but names and dots."""
    words: list[str] = []
    while isinstance(node, ast.Attribute):
        words.append(node.attr)
        node = node.value
    return [node.id, *reversed(words)] if isinstance(node, ast.Name) else None


def _unknown(name: str, known: Collection[str]) -> ExpressionError:
    import difflib  # only when there is something to say

    near = difflib.get_close_matches(name, list(known), n=1)
    if near:
        remedy = f"Did you mean `{near[0]}`?"
    elif known:
        remedy = f"The parameters are {', '.join(map(quoted, sorted(known)[:20]))}."
    else:
        remedy = "No parameter can be used here."
    return ExpressionError(f"{_short(name)} is not a parameter of this sweep.", remedy)


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


def _call(function: str, arguments: list[ast.expr]) -> ast.expr:
    return ast.Call(ast.Name(function, ast.Load()), arguments, [])


def _compile(body: ast.expr) -> Callable[..., Any]:
    """A function of a look-up (name to value) from a tree that `_Builder` made; no builtins in its reach."""
    look_up = ast.arguments(posonlyargs=[], args=[ast.arg("_get")], kwonlyargs=[], kw_defaults=[], defaults=[])
    tree = ast.fix_missing_locations(ast.Expression(ast.Lambda(look_up, body)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python's advice, such as on comparing a constant with `is`
        code = compile(tree, "<condition>", "eval")
    reach: dict[str, Any] = {"__builtins__": {}, **GUARDED, **FUNCTIONS}
    function: Callable[..., Any] = eval(code, reach)  # noqa: S307  (a tree rebuilt above, never the user's text)
    return function
