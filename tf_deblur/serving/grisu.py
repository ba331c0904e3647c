"""A double's decimal digits by Grisu2, which RapidJSON uses: at times not the nearest ones.

Source: Loitsch, "Printing floating-point numbers quickly and accurately with integers", 2010.
Numbers are pairs (f, e) that stand for f * 2 ** e, f below 2 ** 64.
"""

import math

FIRST, STEP = -348, 8  # the powers of ten that are kept
MASK = (1 << 64) - 1


def digits(value):
    """(digits, exponent) with value = digits * 10 ** exponent; value is positive and finite."""
    fraction, exponent = math.frexp(value)
    f, e = int(fraction * (1 << 53)), exponent - 53
    high = _normalize((f << 1) + 1, e - 1)
    low, low_e = ((f << 2) - 1, e - 2) if f == 1 << 52 else ((f << 1) - 1, e - 1)
    low <<= low_e - high[1]
    estimate = (-61 - high[1]) * 0.30102999566398114 + 347
    index = (math.ceil(estimate) >> 3) + 1
    power, power_e = _power_of_ten(FIRST + STEP * index)
    middle = _times(_normalize(f, e)[0], power)
    below, above = _times(low, power) + 1, _times(high[0], power) - 1
    text, shift = _generate(middle, above, above - below, -(high[1] + power_e + 64))
    return text, shift - (FIRST + STEP * index)


def _normalize(f, e):
    shift = 64 - f.bit_length()
    return f << shift, e - shift


def _times(a, b):
    return (a * b + (1 << 63)) >> 64


def _power_of_ten(k):
    """10 ** k as (f, e), rounded to 64 bits."""
    if k >= 0:
        number = 10**k
        shift = number.bit_length() - 64
        f = number << -shift if shift <= 0 else (number + (1 << shift - 1)) >> shift
        return f, shift
    number = 10**-k
    shift = number.bit_length() + 64
    f = ((1 << shift) * 2 // number + 1) // 2
    while f > MASK:
        shift -= 1
        f = ((1 << shift) * 2 // number + 1) // 2
    return f, -shift


def _generate(middle, above, delta, bits):
    """Digits until what is left lies within `delta`; then the last one moves towards `middle`."""
    one, apart = 1 << bits, above - middle
    whole, rest = above >> bits, above & ((1 << bits) - 1)
    found, kappa = [], len(str(whole))
    while kappa > 0:
        digit, whole = divmod(whole, 10 ** (kappa - 1))
        if digit or found:
            found.append(digit)
        kappa -= 1
        left = (whole << bits) + rest
        if left <= delta:
            return _round(found, delta, left, 10**kappa << bits, apart), kappa
    while True:
        rest, delta = rest * 10, delta * 10 & MASK
        digit, rest = rest >> bits, rest & (one - 1)
        if digit or found:
            found.append(digit)
        kappa -= 1
        if rest < delta:
            unit = 10**-kappa if -kappa < 9 else 0
            return _round(found, delta, rest, one, apart * unit & MASK), kappa


def _round(found, delta, rest, ten, apart):
    while (
        rest < apart
        and delta - rest >= ten
        and (rest + ten < apart or apart - rest > rest + ten - apart)
    ):
        found[-1] -= 1
        rest += ten
    return "".join(map(str, found))
