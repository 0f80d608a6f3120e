"""The tool that calculates: an expression of decimal numbers, parsed and evaluated by this module.

Nothing of the expression is executed as code. Numbers have PRECISION digits and a bounded exponent,
so that each operation takes microseconds; the length of the expression bounds their number.
"""

import math
import re
from collections.abc import Callable, Mapping
from decimal import (
    ROUND_CEILING,
    ROUND_FLOOR,
    ROUND_HALF_UP,
    Context,
    Decimal,
    DecimalException,
    InvalidOperation,
    Overflow,
)
from typing import Any, Final

from agents.tool_types import ToolResult

MAX_LENGTH: Final = 1_000
MAX_DEPTH: Final = 50
PRECISION: Final = 50
SHOWN_DIGITS: Final = 20
"""Significant digits of a result that is not a whole number."""
MAX_EXPONENT: Final = 9_999
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[a-z][a-z0-9]*)"
    r"|(?P<sign>\*\*|//|[-+*/%^(),]))"
)
_SIGNS: Final = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-"})
_CONTEXT: Final = Context(
    prec=PRECISION,
    Emax=MAX_EXPONENT,
    Emin=-MAX_EXPONENT,
    traps=[InvalidOperation, Overflow],
)


class NotCalculable(ValueError):
    """The expression cannot be calculated; the text says why."""


async def run(arguments: Mapping[str, Any]) -> ToolResult:
    """Return the value of `expression`."""
    try:
        value = calculate(arguments["expression"])
    except NotCalculable as problem:
        return ToolResult(str(problem), failed=True)
    return ToolResult(value, value)


def calculate(expression: str) -> str:
    """Return the value of an expression; raise NotCalculable."""
    if len(expression) > MAX_LENGTH:
        raise NotCalculable(f"The expression is longer than {MAX_LENGTH} characters.")
    try:
        return _written(_Expression(expression.translate(_SIGNS)).value())
    except Overflow:
        raise NotCalculable("A number is too large.") from None
    except (DecimalException, ValueError, OverflowError) as error:
        if isinstance(error, NotCalculable):
            raise
        raise NotCalculable("A function or an operator is not defined for its numbers.") from None


class _Expression:
    """Evaluates while it parses, by recursive descent."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._depth = 0
        self._kind = self._symbol = ""
        self._advance()

    def value(self) -> Decimal:
        value = self._sum()
        if self._kind != "end":
            raise self._unexpected()
        return value

    def _advance(self) -> None:
        found = _TOKEN.match(self._text, self._position)
        if found:
            self._kind, self._position = str(found.lastgroup), found.end()
            self._symbol = found[self._kind]
        elif self._text[self._position :].strip():
            raise NotCalculable(f"Cannot read “{self._text[self._position :].strip()[:20]}”.")
        else:
            self._kind = self._symbol = "end"

    def _sum(self) -> Decimal:
        value = self._product()
        while self._symbol in ("+", "-"):
            apply = _CONTEXT.add if self._take() == "+" else _CONTEXT.subtract
            value = apply(value, self._product())
        return value

    def _product(self) -> Decimal:
        value = self._signed()
        while self._symbol in _PRODUCTS:
            value = _PRODUCTS[self._take()](value, self._signed())
        return value

    def _signed(self) -> Decimal:
        self._depth += 1  # every recursion passes here
        if self._depth > MAX_DEPTH:
            raise NotCalculable("The expression is nested too deeply.")
        if self._symbol in ("+", "-"):
            minus = self._take() == "-"
            value = self._signed()
            value = _CONTEXT.minus(value) if minus else value
        else:
            value = self._atom()
            if self._symbol in ("**", "^"):
                self._take()
                value = _CONTEXT.power(value, self._signed())
        self._depth -= 1
        return value

    def _atom(self) -> Decimal:
        kind = self._kind
        if kind == "number":
            return _CONTEXT.create_decimal(self._take())
        if kind == "name":
            return self._named(self._take())
        if self._symbol != "(":
            raise self._unexpected()
        self._take()
        value = self._sum()
        self._expect(")")
        return value

    def _named(self, name: str) -> Decimal:
        if name in _CONSTANTS:
            return _CONSTANTS[name]
        if name not in _FUNCTIONS:
            raise NotCalculable(f"There is no function “{name[:20]}”.")
        self._expect("(")
        values = [self._sum()]
        while self._symbol == ",":
            self._take()
            values.append(self._sum())
        self._expect(")")
        least, most, function = _FUNCTIONS[name]
        if not least <= len(values) <= most:
            raise NotCalculable(f"Wrong number of values for “{name}”.")
        return function(*values)

    def _take(self) -> str:
        token = self._symbol
        self._advance()
        return token

    def _expect(self, sign: str) -> None:
        if self._take() != sign:
            raise NotCalculable(f"“{sign}” is missing.")

    def _unexpected(self) -> NotCalculable:
        if self._kind == "end":
            return NotCalculable("The expression ends too early.")
        return NotCalculable(f"“{self._symbol[:20]}” is not expected here.")


def _divide(value: Decimal, divisor: Decimal) -> Decimal:
    if not divisor:
        raise NotCalculable("Division by zero.")
    return _CONTEXT.divide(value, divisor)


def _floor_divide(value: Decimal, divisor: Decimal) -> Decimal:
    return _whole(_divide(value, divisor), ROUND_FLOOR)


def _modulo(value: Decimal, divisor: Decimal) -> Decimal:
    """Return the remainder with the sign of the divisor, as in Python."""
    if not divisor:
        raise NotCalculable("Division by zero.")
    rest = _CONTEXT.remainder(value, divisor)
    return _CONTEXT.add(rest, divisor) if rest and (rest < 0) != (divisor < 0) else rest


def _whole(value: Decimal, rounding: str) -> Decimal:
    return value.to_integral_value(rounding=rounding)


def _round(value: Decimal, digits: Decimal = Decimal(0)) -> Decimal:
    if abs(digits) > PRECISION:
        raise NotCalculable("Too many digits.")
    places = int(digits)
    return value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP, _CONTEXT)


def _by_float(function: Callable[[float], float]) -> Callable[[Decimal], Decimal]:
    return lambda value: _CONTEXT.create_decimal(repr(function(float(value))))


_PRODUCTS: Final[Mapping[str, Callable[[Decimal, Decimal], Decimal]]] = {
    "*": _CONTEXT.multiply,
    "/": _divide,
    "//": _floor_divide,
    "%": _modulo,
}
_CONSTANTS: Final = {
    "pi": Decimal("3.1415926535897932384626433832795028841971693993751"),
    "e": Decimal("2.7182818284590452353602874713526624977572470937000"),
}
_FUNCTIONS: Final[Mapping[str, tuple[int, int, Callable[..., Decimal]]]] = {
    "abs": (1, 1, _CONTEXT.abs),  # the built-in function rounds to 28 digits
    "ceil": (1, 1, lambda value: _whole(value, ROUND_CEILING)),
    "cos": (1, 1, _by_float(math.cos)),
    "exp": (1, 1, _CONTEXT.exp),
    "floor": (1, 1, lambda value: _whole(value, ROUND_FLOOR)),
    "ln": (1, 1, _CONTEXT.ln),
    "log10": (1, 1, _CONTEXT.log10),
    "max": (1, 50, max),
    "min": (1, 50, min),
    "round": (1, 2, _round),
    "sin": (1, 1, _by_float(math.sin)),
    "sqrt": (1, 1, _CONTEXT.sqrt),
    "tan": (1, 1, _by_float(math.tan)),
}


def _written(value: Decimal) -> str:
    """Return the number in digits, or with an exponent if it is very large or very small."""
    if not value.is_finite():
        raise ValueError
    if not value:
        return "0"
    if value != value.to_integral_value():
        value = value.normalize(Context(prec=SHOWN_DIGITS))
    else:
        value = value.normalize(_CONTEXT)
    return f"{value:f}" if -SHOWN_DIGITS < value.adjusted() < PRECISION else f"{value:E}"
