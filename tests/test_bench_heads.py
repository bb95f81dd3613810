"""bench heads: what a call costs, counted from sizes, is what the op table is asked."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from minigen import backends
from minigen.bench import heads, report, weights
from minigen.bench.heads import Head, Heads
from minigen.checkpoints import names
from minigen.cli import app
from minigen.families import PRESETS, ArinarConfig, MarConfig
from minigen.families.arinar import head_cost as mixture_cost
from minigen.families.mar import head_cost as diffusion_cost
from minigen.families.work import Cost

OUTER = dict(
    width=24, encoder_width=16, encoder_layers=1, decoder_layers=1, encoder_heads=2,
    decoder_heads=2, buffer=2, classes=3, tokens=16, channels=3,
)  # fmt: skip
CONFIGS = {
    "arinar-tiny": ArinarConfig(**OUTER, inner_width=16, inner_layers=2, mixtures=2),
    "arinar-patch": ArinarConfig(
        **OUTER, patch=2, inner_width=32, mixtures=3, behaviour="head"
    ),
    "arinar-pairs": ArinarConfig(**OUTER, patch=2, inner_width=16, group=2),
    "arinar-flow": ArinarConfig(**OUTER, inner_width=16, flow=True),
    "mar-tiny": MarConfig(**OUTER, head_width=32, head_layers=2, noise_steps=4),
    "mar-patch": MarConfig(
        **OUTER, patch=2, head_width=16, head_layers=1, noise_steps=7
    ),
}


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    for name, config in CONFIGS.items():
        monkeypatch.setitem(PRESETS, name, config)


class Counted:
    """NumPy's op table, which counts what it is asked to do."""

    def __init__(self):
        self.bytes = self.products = self.numbers = 0
        plain = backends.table("numpy")
        counting = {name: self.counting(name, plain) for name in COUNTED}
        self.ops = SimpleNamespace(**{**vars(plain), **counting})

    def counting(self, name, plain):
        def call(*arguments, **named):
            COUNTED[name](self, *arguments, **named)
            return getattr(plain, name)(*arguments, **named)

        return call

    def layer(self, x, w, bias=None):
        self.bytes += w.nbytes
        self.products += x.size * len(w)

    def attention(self, q, k, v, length):
        for known in (k, v):
            self.bytes += known[:, :length].nbytes
            self.products += q.shape[1] * known[:, :length].size

    def draw(self, key, images, positions, step, first, m):
        self.numbers += m * len(images)


COUNTED = {
    "linear": Counted.layer,
    "attention": Counted.attention,
    "uniforms_at": Counted.draw,
    "normals_at": Counted.draw,
}


@pytest.mark.parametrize("tokens", [1, 3])
@pytest.mark.parametrize("sizes", ["tiny", "patch"])
def test_a_cost_is_what_the_op_table_is_asked_for(sizes, tokens, monkeypatch):
    counted = []

    def call(model, ops, *arguments):
        counted.append(Counted())
        return plain(model, counted[-1].ops, *arguments)

    plain = heads._call
    monkeypatch.setattr(heads, "_call", call)
    presets = f"arinar-{sizes}", f"mar-{sizes}"
    found = heads.measure(presets, tokens, rounds=1, backend="numpy")
    # each is called once to compile and once to be timed, and does the same again
    assert len(counted) == 6 and len(found.heads) == 3
    for head, asked in zip(found.heads, counted, strict=False):
        assert head.cost.bytes == asked.bytes, head.way
        assert head.cost.products == asked.products, head.way
        assert head.cost.numbers == asked.numbers, head.way
    arinar, mar = (PRESETS[name] for name in presets)
    passes = [head.cost.passes for head in found.heads]
    assert passes == [arinar.features, arinar.features, mar.noise_steps]


def test_weights_of_two_bytes_count_as_two():
    config = CONFIGS["arinar-tiny"]
    whole, half = (mixture_cost(config, 1, size) for size in (4, 2))
    # keys and values stay float32: of two rows, two layers, and 1 + 2 + 3 features
    kept = 4 * 2 * 2 * 2 * 16 * 6
    assert whole.bytes - kept == 2 * (half.bytes - kept)
    whole, half = (diffusion_cost(CONFIGS["mar-tiny"], 1, size) for size in (4, 2))
    assert whole.bytes == 2 * half.bytes and whole.products == half.products


def test_the_full_heads_cost_what_was_counted_of_the_originals():
    """Of a row: 118.9 million products, and 33.6 million in each of 100 steps."""
    arinar, mar = PRESETS["arinar-b"], PRESETS["mar-b"]
    cost = mixture_cost(arinar, 4, 4)
    assert round(cost.products / 8 / 1e6, 1) == 118.9
    assert cost.numbers == 4 * 16 * 2001 and cost.passes == 16
    assert mixture_cost(arinar, 4, 4, "grid").numbers == 4 * 16
    one, two = (diffusion_cost(mar, tokens, 4) for tokens in (1, 2))
    # of a token more: what all tokens share is not made again
    assert round((two.products - one.products) / 2 / 100 / 1e6, 1) == 33.6
    assert one.numbers == 16 * 100 and one.passes == 100
    counts = [
        sum(np.prod(s) for n, s in names.manifest(config).items() if n.startswith(part))
        for config, part in ((arinar, "arhead."), (mar, "diffloss."))
    ]
    # a buffer of zeros is stored too
    assert counts == [12_423_180 + arinar.inner_width, 35_749_920]


@pytest.mark.parametrize("name", ["arinar-patch", "mar-patch"])
def test_a_head_has_the_weights_it_has_in_the_whole_model(name):
    config = PRESETS[name]
    whole = names.flatten(weights.model(config).weights["head"])
    alone = names.flatten(weights.head(config))
    assert whole.keys() == alone.keys() and len(whole) > 10
    for key, array in whole.items():
        assert np.array_equal(array, alone[key]), key
    half = names.flatten(weights.head(config, "bfloat16"))
    assert {array.dtype.name for array in half.values()} == {"bfloat16"}


def test_every_head_draws_as_often_and_all_numbers_are_finite(backend, monkeypatch):
    drawn = []

    def call(*arguments):
        drawn.append(plain(*arguments))
        return drawn[-1]

    plain = heads._call
    monkeypatch.setattr(heads, "_call", call)
    found = heads.measure(("arinar-tiny", "mar-tiny"), 2, rounds=3, backend=backend)
    assert found.backend == backend and (found.threads is None) == (backend == "numpy")
    assert [head.way for head in found.heads] == [
        "1000 candidates", "on a grid", "4 steps",
    ]  # fmt: skip
    for head in found.heads:
        assert len(head.seconds) == 3 and min(head.seconds) > 0
    assert len(drawn) == 3 * 4
    for x in drawn:
        assert x.shape == (1, 2, 3) and np.isfinite(x).all()
    # the grid's draws are not the candidates'
    assert not np.array_equal(drawn[0], drawn[1])


MADE_UP = Heads(
    [
        Head("arinar-b", "1000 candidates", Cost(480_000_000, 4 * 10**8, 128064, 16),
             [0.2, 0.1, 0.1]),
        Head("arinar-b", "on a grid", Cost(480_000_000, 4 * 10**8, 64, 16),
             [0.08, 0.08, 0.1]),
        Head("mar-b", "100 steps", Cost(12 * 10**9, 10**10, 6400, 100),
             [0.8, 0.8, 0.9]),
    ],
    4, 4.5, "float32", "numba", 2,
)  # fmt: skip


def test_ratios_are_medians_of_paired_calls():
    # 4, 8, 9 and 10, 10, 9
    assert MADE_UP.slower(0) == pytest.approx(8)
    assert MADE_UP.slower(1) == pytest.approx(10)
    found = heads.to_json(MADE_UP)
    assert found["ratio"] == {
        "seconds": pytest.approx(8), "seconds_on_a_grid": pytest.approx(10),
        "bytes": 25, "products": 25, "reported": pytest.approx(65.69 / 11.57),
    }  # fmt: skip
    assert found["heads"][0]["a_token"] == {
        "seconds": 0.025, "bytes": 120e6, "products": 1e8,
    }  # fmt: skip
    json.dumps(found)


def test_the_report_prints_the_ratio_beside_the_reported_one():
    said = report.heads(MADE_UP)
    assert "4 tokens a call, guidance 4.5, numba, 2 threads, medians of 3" in said
    line = r"^arinar-b, 1000 candidates +25.0 ms +6.40 s +120.00 MB +100.0 M +32,016 +"
    assert re.search(line + "16$", said, re.M)
    assert re.search(r"^mar-b, 100 steps +200.0 ms +51.20 s +3.00 GB ", said, re.M)
    assert "8.0 times as long as arinar-b with candidates, 10.0 times" in said
    assert "25.0 times the bytes and makes 25.0 times the products" in said
    assert "65.69 s by 11.57 s, 5.68 times; that is a whole image" in said


def run(*arguments):
    return CliRunner().invoke(app, ["bench", "heads", *arguments])


def test_one_command_times_both_heads():
    tiny = ("arinar-tiny", "mar-tiny", "--backend", "numpy", "--runs", "2")
    said = run(*tiny)
    assert said.exit_code == 0, said.output
    assert "4 tokens a call" in said.stdout and "medians of 2" in said.stdout
    found = json.loads(run(*tiny, "--tokens", "2", "--json").stdout)
    assert (found["tokens"], found["rows"], found["backend"]) == (2, 4, "numpy")
    assert [len(head["seconds"]) for head in found["heads"]] == [2, 2, 2]
    assert found["reported_seconds_an_image"] == {"arinar-b": 11.57, "mar-b": 65.69}


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["arpg-l"], "'arpg-l' is not known; "),
        (["arinar-b", "arinar-b"], "'arinar-b' is not known; "),
        (["arinar-pairs"], "draws groups of features or has a flow"),
        (["arinar-flow"], "draws groups of features or has a flow"),
        (["--guidance", "1"], "guidance 1.0 leaves nothing to choose among"),
        (["--guidance", "nan"], "guidance nan is not a finite number"),
        (["--dtype", "float8"], "is not known"),
        (["--backend", "abacus"], "is not known"),
        (["--backend", "numpy", "--threads", "2"], "--threads is for the numba"),
        (["--tokens", "0"], "--tokens"),
        (["--runs", "0"], "--runs"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_what_cannot_be_timed_is_one_message(arguments, message):
    said = run(*arguments)
    assert said.exit_code == 2 and message in said.output
