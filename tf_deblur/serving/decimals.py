"""Decimal digits -> doubles as RapidJSON 1.1.0 rounds them without full precision."""

SMALLEST = 2.2250738585072014e-308  # numbers below are flushed to zero, as there
TENS = [float(f"1e{power}") for power in range(309)]  # 10.0**23 is not 1e23
LARGEST_TENTH = 1.7976931348623157e307


def too_long(digits, minus):
    """An integer over 64 bits as RapidJSON's double; None if it is over the double range."""
    limit, value, taken = (1 << 63 if minus else (1 << 64) - 1), 0, 0
    while taken < len(digits) and value * 10 + digits[taken] - 48 <= limit:
        value, taken = value * 10 + digits[taken] - 48, taken + 1
    if taken == len(digits):
        return value
    value = float(value)
    for digit in digits[taken:]:
        if value >= LARGEST_TENTH:
            return None
        value = value * 10 + (digit - 48)
    return value


def with_fraction(value, whole, fraction):
    """(significand, places after the point) of whole.fraction; digits past the 17th fall away."""
    places, significant = 0, len(whole.lstrip(b"0"))
    if isinstance(value, int):
        for digit in fraction:
            if value >= 1 << 53:
                break
            value, places = value * 10 + digit - 48, places + 1
            significant += value != 0
        value = float(value)
    for digit in fraction[places:]:
        if significant >= 17:
            break
        value, places = value * 10.0 + (digit - 48), places + 1
        significant += value > 0
    return value, places


def scale(value, power):
    """value * 10 ** power, rounded as RapidJSON does it, and flushed to zero."""
    if power < -308:
        value, power = scale(value, -308), power + 308
    if power < -308:
        return 0.0
    value = value * TENS[power] if power >= 0 else value / TENS[-power]
    return value if abs(value) >= SMALLEST else 0.0
