"""Specification of a reverse diffusion step."""

from minigen.checking.spec import Spec, floats, in_float64


def draw_reverse_step(draw):
    """Draw x, noise, between (b n c), and the four numbers of a step."""
    b, n, c, seed = *draw.sizes("bnc"), draw.seed()
    names = "x", "noise", "between"
    case = {name: floats(seed + i, b, n, c) for i, name in enumerate(names)}
    numbers = {"of_x": 1.25, "of_noise": -0.75, "lowest": -6.5, "highest": -1.5}
    return case | numbers


def reverse_step_magnitude(x, noise, between, of_x, of_noise, lowest, highest):
    """Return the magnitudes of the mean and of the log-variance: no term cancels."""
    x, noise, between = (abs(each) for each in in_float64(x, noise, between))
    share = (between + 1) / 2
    mean = abs(of_x) * x + abs(of_noise) * noise
    return mean, share * abs(highest) + (1 + share) * abs(lowest)


SPECS = (
    Spec(
        "reverse_step",
        draw_reverse_step,
        reverse_step_magnitude,
        batched=("x", "noise", "between"),
        routes=({"b": 2, "n": 33, "c": 33},),
    ),
)
