"""The polynomials of math.h, printed as C: interpolated at Chebyshev's nodes, within a bit or two of the best.

    python src_c/kernels/math_coefficients.py

needs mpmath.
"""

from functools import partial

import mpmath as mp

mp.mp.prec = 400


def chebyshev(count, a, b):
    """The nodes of an interpolation on [a, b]."""
    return [(a + b) / 2 - (b - a) / 2 * mp.cos(mp.pi * (2 * i + 1) / (2 * count)) for i in range(count)]


def polynomial(f, degree, a, b):
    """Coefficients of the polynomial that meets f at the nodes."""
    nodes = chebyshev(degree + 1, a, b)
    matrix = mp.matrix([[x**j for j in range(degree + 1)] for x in nodes])
    return list(mp.lu_solve(matrix, mp.matrix([f(x) for x in nodes])))


def quotient(f, above, below, nodes):
    """Coefficients of two polynomials of these degrees whose quotient meets f at the nodes; the second's first is 1."""
    matrix = mp.matrix([[x**j for j in range(above + 1)] + [-f(x) * x**j for j in range(1, below + 1)] for x in nodes])
    solution = list(mp.lu_solve(matrix, mp.matrix([f(x) for x in nodes])))
    return solution[: above + 1], [mp.mpf(1), *solution[above + 1 :]]


def exp_tail(r):
    """(exp(r) - 1 - r) / r**2."""
    return (mp.expm1(r) - r) / r**2


def log_tail(v):
    """(log((1 + u / 2) / (1 - u / 2)) - u) / u**3, v = u**2. With u = 2 * e / (2 + e) the logarithm is log1p(e)."""
    u = mp.sqrt(v)
    return (2 * mp.atanh(u / 2) - u) / u**3


def rounded(value, bits):
    """The number of this many bits next to it."""
    with mp.workprec(bits):
        return +value


def phi_tail(root, a):
    """root - (exp(-a**2 / 2) / Phi(-a) - 2) / a, Phi being the distribution function of the normal distribution.

    With sqrt(2 * pi), as it is rounded, for root it counts for little near 0, where it is multiplied by a, and far out,
    where it is small; and all coefficients of its quotient are positive. So the quotient's roundings hardly show.
    """
    return root - (2 * mp.exp(-a * a / 2) / mp.erfc(a / mp.sqrt(2)) - 2) / a


def line(name, coefficients, bits):
    """The coefficients as a table in C, rounded to this many bits."""
    mantissas = []
    for value in coefficients:
        digits, exponent = float(rounded(value, bits)).hex().split("p")
        mantissas.append(f"{digits.rstrip('0').rstrip('.')}p{int(exponent)}{'f' if bits == 24 else ''}")
    return f"static const REAL {name}[] = {{{', '.join(mantissas)}}};"


def error(f, approximation, weight, a, b):
    """The largest error relative to weight, as a power of 2."""
    points = [a + (b - a) * (mp.mpf(i) / 1001) ** 2 for i in range(1, 1001)]
    worst = max(abs((approximation(x) - f(x)) / weight(x)) for x in points)
    return f"/* error 2^{mp.nstr(mp.log(worst, 2), 4)} */"


def main():
    for bits, exp_degree, log_degree, phi_degree, middle, farthest in ((24, 4, 4, 4, 3, 15), (53, 9, 9, 9, 4, 40)):
        half = mp.log(2) / 2 * mp.mpf("1.0001")
        c = polynomial(exp_tail, exp_degree, -half, half * mp.mpf("1.0001"))  # no node at 0
        print(error(exp_tail, lambda r, c=c: mp.polyval(c[::-1], r), lambda r: mp.exp(r) / r**2, -half, half))
        print(line("EXP_TAIL", c, bits))

        c = polynomial(log_tail, log_degree, mp.mpf(0), mp.mpf(4) / 9)
        print(error(log_tail, lambda v, c=c: mp.polyval(c[::-1], v), lambda v: 1 / v, mp.mpf(0), mp.mpf(4) / 9))
        print(line("LOG_TAIL", c, bits))

        # Nodes that are Chebyshev's in (a - middle) / (a + middle): most of what happens does so near 0.
        nodes = chebyshev(2 * phi_degree + 2, mp.mpf(-1), mp.mpf(farthest - middle) / (farthest + middle))
        root = rounded(mp.sqrt(2 * mp.pi), bits)
        tail = partial(phi_tail, root)
        p, q = quotient(tail, phi_degree, phi_degree + 1, [middle * (1 + t) / (1 - t) for t in nodes])
        found = partial(lambda p, q, a: mp.polyval(p[::-1], a) / mp.polyval(q[::-1], a), p, q)
        steep = partial(lambda root, f, a: root - f(a) + 2 / a, root, tail)
        print(error(tail, found, steep, 0, farthest))
        print(line("PHI_ABOVE", p, bits))
        print(line("PHI_BELOW", q, bits))

        scale = 2 ** (16 if bits == 24 else 42)
        high = mp.floor(mp.log(2) * scale) / scale
        print(line("NUMBERS", [high, mp.log(2) - high, 1 / mp.log(2), root], bits))


if __name__ == "__main__":
    main()
