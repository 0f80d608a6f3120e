"""The calculator: right results, clear failures, and no expression that takes long."""

import time
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.tools import calculator
from agents.tools.calculator import NotCalculable, calculate


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3", "7"),
        ("(1250 * 3 + 40) / 7", "541.42857142857142857"),
        ("0.1 + 0.2", "0.3"),
        ("2 ** 3 ** 2", "512"),
        ("-2 ** 2", "-4"),
        ("2 ^ -1", "0.5"),
        ("17 % 5", "2"),
        ("-17 % 5", "3"),
        ("-17 // 5", "-4"),
        ("3 × 4 ÷ 2 − 1", "5"),
        ("sqrt(2) ** 2", "2"),
        ("round(2.345, 2)", "2.35"),
        ("round(1250, -2)", "1300"),
        ("max(1, 2.5, -3) + min(4, 2) + abs(-1)", "5.5"),
        ("floor(-2.5) + ceil(2.1)", "0"),
        ("ln(e) + log10(1000) + exp(0)", "5"),
        ("sin(0) + cos(0)", "1"),
        ("pi", "3.1415926535897932385"),
        ("1.50", "1.5"),
        ("1000000 * 1000000", "1000000000000"),
        ("12345678901234567890 * 98765432109876543210", "1219326311370217952237463801111263526900"),
        ("1e400 * 2", "2E+400"),
        (".5e1", "5"),
        ("abs(-12345678901234567890123456789012345)", "12345678901234567890123456789012345"),
    ],
)
def test_an_expression_has_its_value(expression: str, value: str) -> None:
    assert calculate(expression) == value


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("", "ends too early"),
        ("1 +", "ends too early"),
        ("(1", "is missing"),
        ("1 2", "not expected here"),
        ("1 / 0", "Division by zero"),
        ("1 // 0", "Division by zero"),
        ("5 % 0", "Division by zero"),
        ("0 ** -1", "not defined"),
        ("sqrt(-1)", "not defined"),
        ("ln(0)", "not defined"),
        ("tan(1e400)", "not defined"),
        ("9 ** 9 ** 9 ** 9", "too large"),
        ("exp(1000000)", "too large"),
        ("1e99999999999", "too large"),
        ("round(5, 1e9999)", "Too many digits"),
        ("max()", "not expected here"),
        ("sqrt(1, 2)", "Wrong number of values"),
        ("factorial(5)", "no function"),
        ("__import__('os')", "Cannot read"),
        ("().__class__", "not expected here"),
        ("1_000", "Cannot read"),
        ("-" * 60 + "1", "nested too deeply"),
        ("(" * 60 + "1" + ")" * 60, "nested too deeply"),
        ("1" * 1_001, "longer than"),
    ],
)
def test_what_cannot_be_calculated_says_why(expression: str, problem: str) -> None:
    with pytest.raises(NotCalculable, match=problem):
        calculate(expression)


async def test_the_tool_returns_the_value_or_the_problem() -> None:
    assert (await calculator.run({"expression": "6 * 7"})).text == "42"
    result = await calculator.run({"expression": "6 *"})
    assert (result.text, result.failed) == ("The expression ends too early.", True)


WHOLE = st.integers(-(10**12), 10**12)


@given(WHOLE, WHOLE, WHOLE, st.sampled_from("+-*"), st.sampled_from(["+", "-", "*", "//", "%"]))
def test_whole_numbers_are_calculated_as_python_does(
    a: int, b: int, c: int, first: str, second: str
) -> None:
    expression = f"({a}) {first} ({b}) {second} ({c})"
    try:
        expected = eval(expression)
    except ZeroDivisionError:
        with pytest.raises(NotCalculable):
            calculate(expression)
        return

    assert Decimal(calculate(expression)) == expected


@given(st.text(st.sampled_from("0123456789.e+-*/%^() ,pisqrtlnmaxround×"), max_size=80))
def test_any_text_has_a_value_or_a_problem(text: str) -> None:
    try:
        value = calculate(text)
    except NotCalculable:
        return

    assert Decimal(value).is_finite()


@pytest.mark.parametrize(
    "expression",
    [
        "+".join(["ln(12345678.9)"] * 66),
        "+".join(["exp(22000.1)"] * 70),
        "*".join(["1.0000001**99999.9"] * 50),
        "^".join(["1.0000001"] * 45),
        "1e9999 % 7e-9999",
        "1e9999 // 7e-9999",
        "round(1e49, 50)",
        "sqrt(" * 49 + "2" + ")" * 49,
    ],
)
def test_no_expression_takes_long(expression: str) -> None:
    began = time.process_time()

    with suppress(NotCalculable):
        calculate(expression)

    assert time.process_time() - began < 0.25
