"""Tables, JSON and progress; and that a printed bound is a bound, against exact fractions."""

from __future__ import annotations

import io
import json
import math
from fractions import Fraction
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from verifier import console

DIRECTIONS = st.sampled_from(["upper", "lower"])


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def dyadic(mantissa: int, exponent: int) -> Fraction:
    return mantissa * Fraction(2) ** exponent


def spacing(text: str, digits: int) -> Fraction:
    """The distance between neighbouring decimals of `digits` digits around `text` (its own decade)."""
    size = abs(Fraction(text))
    power = 0
    while size >= 10 ** (power + 1):
        power += 1
    while size < Fraction(10) ** power:
        power -= 1
    return Fraction(10) ** (power - digits + 1)


@given(
    st.integers(-(2**200), 2**200),
    st.integers(-400, 400),
    st.integers(1, 40),
    DIRECTIONS,
)
@example(1, 0, 1, "upper")
@example(1, -1, 1, "lower")
@example(-999999, 0, 3, "lower")  # rounds to the next power of ten
@example(999999, 0, 3, "upper")
@example(10**22, 0, 1, "lower")
@example(10**22 - 1, 0, 22, "upper")
@example(-1, -1074, 17, "upper")
def test_a_decimal_is_the_nearest_outward(
    mantissa: int, exponent: int, digits: int, direction: Literal["upper", "lower"]
) -> None:
    text = console.decimal_bound(mantissa, exponent, digits, direction)
    exact, printed = dyadic(mantissa, exponent), Fraction(text)
    if mantissa == 0:
        assert text == "0"
        return
    error = printed - exact if direction == "upper" else exact - printed
    assert error >= 0, (text, exact)
    assert error < spacing(text, digits), (text, exact)
    significant = text.lstrip("-").split("e")[0].replace(".", "").lstrip("0")
    assert len(significant) == digits or set(significant[digits:]) == {"0"}, text


@given(st.integers(-(2**80), 2**80), st.integers(-200, 200), st.integers(1, 20))
def test_upper_and_lower_mirror_each_other_and_ignore_the_representation(
    mantissa: int, exponent: int, digits: int
) -> None:
    upper = console.decimal_bound(mantissa, exponent, digits, "upper")
    lower = console.decimal_bound(-mantissa, exponent, digits, "lower")
    assert Fraction(upper) == -Fraction(lower)
    assert console.decimal_bound(mantissa << 7, exponent - 7, digits, "upper") == upper


@given(st.floats(allow_nan=False, allow_infinity=False), DIRECTIONS)
def test_seventeen_digits_give_a_float_back(number: float, direction: Literal["upper", "lower"]) -> None:
    numerator, denominator = number.as_integer_ratio()
    text = console.decimal_bound(numerator, 1 - denominator.bit_length(), 17, direction)
    assert math.isclose(float(text), number, rel_tol=1e-15, abs_tol=5e-324)


@pytest.mark.parametrize(
    ("mantissa", "exponent", "digits", "direction", "text"),
    [
        (1, -1, 4, "upper", "0.5000"),
        (1, -2, 1, "upper", "0.3"),
        (1, -2, 1, "lower", "0.2"),
        (-1, -2, 1, "upper", "-0.2"),
        (-1, -2, 1, "lower", "-0.3"),
        (3481, 0, 2, "lower", "3400"),
        (3481, 0, 2, "upper", "3500"),
        (3481, 0, 6, "upper", "3481.00"),
        (1, -10, 3, "upper", "0.000977"),
        (1, -20, 3, "upper", "9.54e-07"),
        (1, -20, 1, "lower", "9e-07"),
        (1, 100, 4, "lower", "1.267e+30"),
        (1, 100, 4, "upper", "1.268e+30"),
        (999, 0, 2, "upper", "1000"),
        (0, 7, 5, "lower", "0"),
    ],
)
def test_decimals_look_like_this(
    mantissa: int, exponent: int, digits: int, direction: Literal["upper", "lower"], text: str
) -> None:
    assert console.decimal_bound(mantissa, exponent, digits, direction) == text


def test_large_exponents_are_exact_and_absurd_ones_refused() -> None:
    assert console.decimal_bound(1, -100_000, 3, "upper").endswith("e-30103")
    for mantissa, exponent in [(1, 10**12), (1, -(10**12)), (1 << (1 << 21), 0)]:
        with pytest.raises(ValueError, match="out of range"):
            console.decimal_bound(mantissa, exponent, 3, "upper")


@pytest.mark.parametrize("digits", [0, -1, 10**9])
def test_a_senseless_number_of_digits_is_refused(digits: int) -> None:
    with pytest.raises(ValueError, match="digits"):
        console.decimal_bound(1, 0, digits, "upper")


def test_a_senseless_direction_is_refused() -> None:
    with pytest.raises(ValueError, match="direction"):
        console.decimal_bound(1, 0, 3, "nearest")  # type: ignore[arg-type]


def test_a_table_is_aligned_plain_text() -> None:
    text = console.table_text(["model", "p", "bound"], [["a", 59, "0.5"], ["longer", 113, "12.25"]], title="Bounds")
    assert text.splitlines() == [
        "Bounds",
        "model     p  bound",
        "a        59    0.5",
        "longer  113  12.25",
    ]
    assert console.table_text(["", ""], [["a", "b"]], align="ll") == "a  b"
    assert console.table_text(["a", "b"], []) == "a  b"


@pytest.mark.parametrize(("rows", "align"), [([["a"]], ""), ([["a", "b"]], "l"), ([["a", "b"]], "lx")])
def test_a_table_that_does_not_fit_is_refused(rows: list[list[str]], align: str) -> None:
    with pytest.raises(ValueError, match=r"must (have|be) 2"):
        console.table_text(["x", "y"], rows, align=align)


def test_text_from_files_cannot_forge_lines_or_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_table(["name"], [["a\nproved: yes\x1b[2J"]])
    console.say("b\rc\x9b0m")
    assert capsys.readouterr().out == "name\na\\nproved: yes\\x1b[2J\nb\\rc\\x9b0m\n"


def test_a_terminal_gets_the_same_cells_and_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for no_color in (False, True):
        if no_color:
            monkeypatch.setenv("NO_COLOR", "1")
        out = Terminal()
        monkeypatch.setattr("sys.stdout", out)
        console.print_table(["name", "p"], [["[red]x[/red]", 59]], title="T")
        lines = [line.rstrip() for line in out.getvalue().splitlines()]
        assert any("[red]x[/red]" in line and "59" in line for line in lines)
        assert "\x1b[3" not in out.getvalue()  # no colour in either case; bold only


def test_quiet_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    console.say("x", quiet=True)
    console.print_table(["a"], [["b"]], quiet=True)
    with console.progress(quiet=True) as observe:
        observe("step", 1, 2)
    assert capsys.readouterr() == ("", "")


def test_progress_is_silent_off_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress() as observe:
        observe("step", 1, 2)
    assert capsys.readouterr() == ("", "")


def test_progress_shows_on_a_terminal_and_only_on_standard_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    err = Terminal()
    monkeypatch.setattr("sys.stderr", err)
    with console.progress() as observe:
        observe("folding [bold]x[/bold]", 3, None)
        observe("arcs", 4, 8)
    assert "arcs" in err.getvalue()
    assert capsys.readouterr().out == ""


def test_a_dumb_terminal_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert not console.is_terminal(Terminal())


def test_json_is_one_object_without_nan(capsys: pytest.CaptureFixture[str]) -> None:
    console.emit_json({"bound": "0.5", "p": 59, "none": None})
    assert json.loads(capsys.readouterr().out) == {"bound": "0.5", "p": 59, "none": None}
    with pytest.raises(ValueError, match="JSON"):
        console.emit_json({"x": math.nan})
    assert capsys.readouterr().out == ""
