"""Models run on arrays that can do nothing but tell their shape and be reshaped."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from minigen import backends, plans, sample
from minigen.families import ArinarConfig, JudgeConfig, KlConfig, family_of, module_of
from minigen.models import aim, arinar, arpg, codes, judge, kl, llamagen
from minigen.options import Options
from tests import test_flags, test_masked
from tests.models.stand_in import stand_in

FAMILIES = test_flags.FAMILIES
CONFIGS = FAMILIES | {
    "arpg with control": replace(FAMILIES["arpg"], control=3),
    "aim in groups": replace(FAMILIES["aim"], condition_groups=2),
    "aim of mamba1": replace(FAMILIES["aim"], mixer="mamba1", head_size=64),
    "arinar with a flow": replace(FAMILIES["arinar"], flow=True),
    "vq": test_flags.VQ,
    "kl": test_masked.KL,
    "kl without variance": replace(test_masked.KL, variational=False),
    "judge": JudgeConfig(widths=(32, 64), features=4, classes=3),
}
"""Every kind of model there is, tiny."""


class Opaque:
    """An array the host cannot read: no arithmetic, no indexing, no copy.

    What it allows is a part of its rows, as every backend's arrays do.
    """

    __array_ufunc__ = None
    __slots__ = ("hidden",)

    def __init__(self, hidden):
        self.hidden = hidden

    @property
    def shape(self):
        return self.hidden.shape

    def reshape(self, *shape):
        return Opaque(self.hidden.reshape(*shape))

    def __getitem__(self, rows):
        if not isinstance(rows, slice) or rows.step is not None:
            raise TypeError("a model reached into an array")
        return Opaque(self.hidden[rows])

    def __array__(self, *_, **__):
        raise TypeError("a model reached for the values of an array")


def opaque(value):
    if isinstance(value, np.ndarray):
        return Opaque(value)
    if isinstance(value, dict):
        return {k: opaque(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(opaque(v) for v in value)
    return value


def reveal(value):
    return value.hidden if isinstance(value, Opaque) else value


def opaque_ops():
    """Return the table of numpy, its arrays hidden until `get` fetches them."""

    def hide(f):
        return lambda *a, **k: opaque(
            f(*map(reveal, a), **{name: reveal(v) for name, v in k.items()})
        )

    table = vars(backends.table("numpy"))
    hidden = {name: hide(f) for name, f in table.items()}
    return SimpleNamespace(**hidden | {"get": reveal, "device": None})


ORDER = np.array([[2, 0, 3, 1], [0, 1, 2, 3]])
CODES, LATENTS = ORDER % 3, np.sin(np.arange(16, dtype=np.float32)).reshape(2, 4, 2)
LABELS = [0, 2]


def drawn(*call):
    """Yield what a generator draws beside a known token, without guidance and with."""
    config, plan = call[2], plans.plan((2, 2), "raster", "one", known=[0])
    known = CODES if hasattr(config, "vocabulary") else LATENTS
    ways = [{"guidance": 1.0}, {"guidance": 2.0}]
    if type(config) is ArinarConfig:
        ways.append({"guidance": 2.0, "guided_draw": "grid"})
    for way in ways:
        how = plan, LABELS, 3, Options(**way), known[:, :1]
        for step in sample.steps(
            *call, *how, control=codes.any_control(config, (2, 2))
        ):
            yield from (step.tokens, step.probabilities, step.canvas)


def trained(*call):
    """Yield the loss of a generator's training form, if it has one."""
    ops, _, config = call
    model = module_of(config)
    if model is arpg:
        table = ops.put(arpg.rotary_table(ops, config, (2, 2)))
        control = CODES[::-1] if config.control else None
        yield arpg.loss(*call, CODES, LABELS, ORDER, table, control)
    elif model is llamagen:
        table = ops.put(llamagen.rotary_table(ops, config, (2, 2)))
        yield llamagen.loss(*call, CODES, LABELS, table)
    elif model is aim:
        yield aim.loss(*call, CODES, LABELS)
    elif model is arinar:
        yield arinar.loss(*call, LATENTS, LABELS, ORDER[:, :3])


def converted(*call):
    """Yield the tokens that a tokenizer makes of an image, and their image."""
    ops, _, config = call
    tokenizer = module_of(config)
    image = ops.put(np.arange(8 * 12 * 3, dtype=np.uint8).reshape(1, 8, 12, 3))
    tokens = tokenizer.from_images(*call, image)
    yield from (tokens, tokenizer.to_images(*call, tokens))
    if type(config) is KlConfig:
        moments = kl.encode(*call, ops.from_pixels(image))
        mean, log_variance = kl.posterior(ops, config, moments)
        yield kl.sample(ops, mean, log_variance, mean)


def judged(*call):
    """Yield what the classifier sees in two images."""
    ops, _, config = call
    x = np.linspace(-1, 1, 6 * config.side**2, dtype=np.float32)
    x = ops.put(x.reshape(2, config.side, config.side, 3))
    yield from judge.forward(*call, x)


def answers(*call):
    """Return all that a model answers, on the host."""
    ops, _, config = call
    asked = {"vq": [converted], "kl": [converted], "judge": [judged]}
    asked = asked.get(family_of(config).name, [drawn, trained])
    return [ops.get(each) for ask in asked for each in ask(*call)]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_model_does_nothing_with_an_array_but_give_it_to_ops(name):
    config = CONFIGS[name]
    weights = stand_in(config)
    if "flow" in name:
        # a variance
        weights["head"]["flow"]["variance"] **= 2
    plain = answers(backends.table("numpy"), weights, config)
    hidden = answers(opaque_ops(), opaque(weights), config)
    for one, other in zip(plain, hidden, strict=True):
        np.testing.assert_array_equal(one, other)


def test_opaque_arrays_refuse_arithmetic():
    x = Opaque(np.ones(3))
    for act in (
        lambda: x + x,
        lambda: 2 * x,
        lambda: x[0],
        lambda: x[::2],
        lambda: np.add(x, 1),
        lambda: len(x),
        lambda: x.dtype,
        lambda: x.size,
    ):
        with pytest.raises((TypeError, AttributeError)):
            act()
