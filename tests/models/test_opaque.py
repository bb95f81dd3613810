"""Models run on arrays that can do nothing but tell their shape and be reshaped."""

from types import SimpleNamespace

import numpy as np

from minigen import backends
from minigen.families import AimConfig, ArpgConfig, GptConfig, VqConfig
from minigen.models import aim, arpg, llamagen, vq
from tests.models.stand_in import stand_in


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
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return Opaque(value)
    if isinstance(value, dict):
        return {k: opaque(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(opaque(v) for v in value)
    return value


def reveal(value):
    return value.hidden if isinstance(value, Opaque) else value


def opaque_ops():
    def hide(f):
        return lambda *a, **k: opaque(
            f(*map(reveal, a), **{name: reveal(v) for name, v in k.items()})
        )

    return SimpleNamespace(
        **{name: hide(f) for name, f in vars(backends.table("numpy")).items()}
    )


def test_arpg():
    config = ArpgConfig(
        width=32, layers=2, heads=2, vocabulary=12, classes=3, tokens=9, multiple_of=16
    )
    weights = stand_in(config)
    tokens = np.arange(18).reshape(2, 9) % 12
    order = np.stack([np.arange(9), np.arange(9)[::-1]])
    results = []
    for ops, w in (
        (backends.table("numpy"), weights),
        (opaque_ops(), opaque(weights)),
    ):
        table = arpg.rotary_table(ops, config)
        logits = arpg.forward(ops, w, config, tokens, [0, 2], order, table)
        cache = arpg.new_cache(ops, config, 2, 10)
        ids = np.array([[13], [14]])
        cache = arpg.feed(ops, w, config, cache, ids, np.array([[0], [0]]), table)
        asked = arpg.ask(ops, w, config, cache, order + 1, table)
        results.append((reveal(logits), reveal(asked)))
    for plain, hidden in zip(*results, strict=True):
        assert np.array_equal(plain, hidden)


def test_llamagen():
    config = GptConfig(
        width=32, layers=2, heads=4, key_heads=2, vocabulary=12, classes=3, tokens=9,
        multiple_of=16,
    )  # fmt: skip
    weights = stand_in(config)
    tokens = np.arange(16).reshape(2, 8) % 12
    first, *rest = llamagen.prompt(config, [0], [1, 2], tokens[:1, :2])
    results = []
    for ops, w in (
        (backends.table("numpy"), weights),
        (opaque_ops(), opaque(weights)),
    ):
        table = llamagen.rotary_table(ops, config)
        logits = llamagen.forward(ops, w, config, tokens, [0, 2], table)
        cache = llamagen.begin(ops, w, config, *first, table, 9)
        for ids, rows in rest:
            cache = llamagen.feed(ops, w, config, cache, ids, rows, table)
        asked = llamagen.ask(ops, w, config, cache, None, table)
        results.append((reveal(logits), reveal(asked)))
    for plain, hidden in zip(*results, strict=True):
        assert np.array_equal(plain, hidden)


def test_aim():
    sizes = {"width": 16, "layers": 3, "vocabulary": 12, "classes": 3, "tokens": 9}
    configs = (
        AimConfig(**sizes, state_size=6, head_size=8, hidden=128),
        AimConfig(**sizes, state_size=6, head_size=8, condition_groups=2),
        AimConfig(**sizes, state_size=4, mixer="mamba1"),
    )
    tokens, labels = np.arange(18).reshape(2, 9) % 12, np.array([[0], [3]])
    for config in configs:
        weights = stand_in(config)
        results = []
        for ops, w in (
            (backends.table("numpy"), weights),
            (opaque_ops(), opaque(weights)),
        ):
            logits = aim.forward(ops, w, config, tokens, labels[:, 0])
            given = aim.condition(ops, w, config, labels)
            states = aim.new_states(ops, config, 2)
            x = aim.place(ops, w, labels, labels + 1)
            read = [
                aim.answer(ops, w, aim.read(ops, w, config, each, given, states))
                for each in (given.first, x)
            ]
            results.append([reveal(each) for each in (logits, *read)])
        for plain, hidden in zip(*results, strict=True):
            assert np.array_equal(plain, hidden)


def test_vq():
    config = VqConfig(base=32, multipliers=(1, 2), latent=8, codes=16, code_size=4)
    weights = stand_in(config)
    image = np.linspace(-1, 1, 8 * 12 * 3, dtype=np.float32).reshape(1, 8, 12, 3)
    results = []
    for ops, w, x in (
        (backends.table("numpy"), weights, image),
        (opaque_ops(), opaque(weights), opaque(image)),
    ):
        h = vq.encode(ops, w, config, x)
        tokens = vq.quantise(ops, w, config, h)
        results.append((tokens, reveal(vq.decode(ops, w, config, tokens))))
    for plain, hidden in zip(*results, strict=True):
        assert np.array_equal(plain, hidden)


def test_opaque_arrays_refuse_arithmetic():
    x = Opaque(np.ones(3))
    for act in (
        lambda: x + x,
        lambda: 2 * x,
        lambda: x[0],
        lambda: x[::2],
        lambda: np.add(x, 1),
    ):
        try:
            act()
        except TypeError:
            continue
        raise AssertionError("an opaque array was touched")
