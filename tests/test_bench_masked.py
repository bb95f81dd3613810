"""bench cpu of masked models: which steps run, what they stand for, what they need."""

import importlib.util
import json
import re
from pkgutil import resolve_name
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from minigen import backends, plans
from minigen import sample as loop
from minigen.bench import ceilings, compare, report, weights, worker
from minigen.bench.compare import Comparison, Side, settle
from minigen.bench.worker import Job
from minigen.cli import app
from minigen.families import (
    PRESETS,
    ArinarConfig,
    KlConfig,
    MarConfig,
    VqConfig,
    arinar,
    family_of,
    mar,
)
from minigen.families.work import FLOAT
from minigen.models import kl, vq

OUTER = dict(
    width=24, encoder_width=16, encoder_layers=2, decoder_layers=3, encoder_heads=2,
    decoder_heads=4, ratio=3, buffer=3, classes=3, tokens=16, channels=3,
)  # fmt: skip
MODELS = [
    ArinarConfig(**OUTER, inner_width=16, mixtures=2),
    MarConfig(**OUTER, head_width=32, head_layers=2, noise_steps=4),
]
HEADS = {ArinarConfig: arinar.head_cost, MarConfig: mar.head_cost}
DECODERS = [
    KlConfig(base=32, multipliers=(1, 2), channels=4, attention=(1,)),
    KlConfig(
        base=32, multipliers=(1, 1, 2), blocks=1, channels=3, attention=(),
        decoder_attention=(0, 2),
    ),
    VqConfig(base=32, multipliers=(1, 2), latent=8, codes=24, code_size=4),
]  # fmt: skip
CONVOLUTIONS = "conv3x3", "conv3x3_add"
TOP = ceilings.Ceilings(1e10, 1e11, 2)


class Counted:
    """NumPy's op table, which counts multiplications and the bytes of matrices."""

    def __init__(self):
        self.bytes = self.products = 0
        plain = backends.table("numpy")
        names = "linear", *CONVOLUTIONS, "attention"
        counting = {name: self.counting(name, getattr(plain, name)) for name in names}
        self.ops = SimpleNamespace(**{**vars(plain), **counting})

    def counting(self, name, function):
        def call(x, w, *arguments, **named):
            if name == "attention":
                v, length = arguments
                self.products += 2 * x.size * length
            else:
                # each number of x meets each output, and in a window of nine taps
                # Winograd's way makes 16 multiplications for four outputs
                taps = 4 if name in CONVOLUTIONS else 1
                self.products += x.size * w.shape[0] * taps
                self.bytes += w.nbytes
            return function(x, w, *arguments, **named)

        return call

    def taken(self):
        """Return what was counted since it was last asked."""
        found = self.products, self.bytes
        self.products = self.bytes = 0
        return found


def run(config, counted, plan, batch, **given):
    tree = weights.model(config).weights
    labels = [0] * batch
    call = counted.ops, tree, config, plan, labels, 0, loop.Options(guidance=4.5)
    for step in loop.steps(*call, **given):
        assert np.isfinite(step.tokens).all()
        yield counted.taken()


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("config", MODELS, ids=lambda c: type(c).__name__)
def test_a_step_needs_what_the_op_table_is_asked_for(config, batch):
    plan, counted = plans.plan((4, 4), "random", "cosine", 5), Counted()
    work = family_of(config).work(config, plan.counts, 4, batch)
    assert len(work) == len(plan.groups) == 5
    found = run(config, counted, plan, batch)
    for step, m, (products, size) in zip(work, plan.counts, found, strict=True):
        assert step.operations == 2 * products
        # keys and values of the head are counted, and are no matrices
        kept = 0
        if isinstance(config, ArinarConfig):
            kept = 2 * batch * m * config.inner_width * 2 * (1 + 2 + 3) * FLOAT
        assert step.bytes == size + kept
        assert step.bytes - HEADS[type(config)](config, batch * m, 4).bytes > 0


def test_weights_of_two_bytes_count_as_two():
    for config in MODELS:
        whole, half = (
            family_of(config).work(config, [1, 2], size, 1)[1] for size in (4, 2)
        )
        assert half.operations == whole.operations
        assert half.bytes < whole.bytes < 2.01 * half.bytes


@pytest.mark.parametrize("config", DECODERS, ids=["kl", "kl-attends", "vq"])
def test_a_decoder_needs_what_the_op_table_is_asked_for(config):
    tree, counted = weights.model(config).weights, Counted()
    if isinstance(config, KlConfig):
        z = np.ones((2, 3, 4, config.channels), np.float32)
        kl.decode(counted.ops, tree, config, z)
    else:
        vq.decode(counted.ops, tree, config, np.ones((2, 3, 4), np.int64))
    work = family_of(config).work(config, (3, 4), 4, batch=2)
    products, size = counted.taken()
    assert (work.operations, work.bytes) == (2 * products, size)


def test_full_models_need_what_was_counted_of_the_originals():
    """13 TFLOP an image: 3.2 Tera products of each half, and the head's."""
    counts = plans.counts("cosine", 256, 64)
    work = family_of(PRESETS["arinar-b"]).work(PRESETS["arinar-b"], counts, 4, 1)
    heads = sum(arinar.head_cost(PRESETS["arinar-b"], m, 4).products for m in counts)
    outer = sum(step.operations for step in work) / 2 - heads
    # less than 3.2: the last layer is spared what nobody asks for
    assert 3.0e12 < outer / 2 < 3.2e12 and heads == pytest.approx(0.061e12, rel=0.01)


@pytest.mark.parametrize("config", MODELS, ids=lambda c: type(c).__name__)
@pytest.mark.parametrize("every", [2, 3, 5])
def test_a_step_that_runs_alone_does_what_it_does_in_the_run(config, every):
    plan, counted = plans.plan((4, 4), "random", "cosine", 5), Counted()
    whole = [products for products, _ in run(config, counted, plan, 1)]
    given = worker.latents(config, 1).reshape(1, -1, config.features)
    parts = worker.samples(plan, every)
    numbers = worker.chosen(5, every)
    assert [part.groups for part in parts] == [(plan.groups[i],) for i in numbers]
    for i, part in zip(numbers, parts, strict=True):
        before = plan.order[: sum(plan.counts[:i])]
        assert part.known == before and part.grid == plan.grid
        call = run(config, counted, part, 1, known=given[:, list(before)])
        ((products, _),) = call
        # alone, it makes rows of all tokens before it, not of the last step's only
        rows = sum(plan.counts[: i - 1]) if i else 0
        assert products - whole[i] == 2 * rows * config.features * config.encoder_width


@pytest.mark.parametrize("steps", [1, 7, 64])
@pytest.mark.parametrize("every", [1, 2, 7])
def test_steps_that_run_are_spread_evenly(steps, every):
    numbers = list(worker.chosen(steps, every))
    if every > steps:
        return
    assert numbers and all(0 <= i < steps for i in numbers)
    assert all(b - a == every for a, b in zip(numbers, numbers[1:], strict=False))
    # as much before the first as after the last, but for the odd one
    assert abs(numbers[0] - (steps - 1 - numbers[-1])) <= max(1, every - 1)


def test_times_are_those_of_all_steps():
    ticks = iter([0.0, 2.0, 3.0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker.time, "perf_counter", lambda: next(ticks))
        found = worker.timed(lambda: "drawn", lambda drawn: drawn, share=0.25)
    assert found == {"tokens": 8.0, "pixels": 1.0, "image": 9.0}


def test_what_was_left_open_is_the_models_own():
    job = settle(Job("arinar-b", "kl-16"))
    assert (job.schedule, job.every, job.tokens) == ("cosine", compare.EVERY, None)
    assert settle(Job("mar-b", "kl-16", steps=3)).every == 3
    assert settle(Job("arinar-mnist", "kl-mnist", every=1)).every == 1
    assert settle(Job("arpg-l")).every is None
    # 256 steps of which most draw one token, and none draws nothing
    assert settle(Job("arinar-b", "kl-16", steps=256, every=256)).every == 256
    assert compare.decoder_of("mar-l") == "kl-16" and compare.decoder_of("x") == "vq-16"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["arinar-b", "vq-16"], "'vq-16' is not known; "),
        (["arpg-l", "kl-16"], "'kl-16' is not known; "),
        (["arinar-b", "kl-mnist"], "tokens of 16 channels and kl-mnist has 4"),
        (["arinar-b", "--tokens", "4"], "several tokens in a step"),
        (["arinar-b", "--every", "65"], "every 65th step was asked for; there are 64"),
        (["arinar-b", "--every", "0"], "--every"),
        (["arinar-b", "--guidance", "1"], "leaves a half of guidance out"),
        (["arpg-l", "--every", "2"], "does not read all again in every step"),
        (["aim-b", "--every", "2"], "does not read all again in every step"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_what_cannot_be_timed_is_one_message(arguments, message):
    said = CliRunner().invoke(app, ["bench", "cpu", *arguments])
    assert said.exit_code == 2 and message in said.output


def made_up(every):
    job = settle(Job("arinar-b", "kl-16", every=every))
    ours = [{"tokens": 80.0, "pixels": 2.0, "image": 82.0}] * 3
    twin = [{"tokens": 120.0, "pixels": 3.0, "image": 123.0}] * 3
    sides = {"minigen": Side(ours, {}, 10**9), "eager": Side(twin, {}, 10**9)}
    return Comparison(job, sides, TOP, compare.work(job))


def test_an_estimate_says_so_plainly():
    found = made_up(None)
    assert found.ratio("eager", "image") == 1.5 and found.ran == (8, 64)
    said = report.comparison(found)
    assert "estimated: 8 of 64 steps ran, one in 8" in said
    assert "what all 64 would take" in said
    assert re.search(r"^image +82.00 s +123.00 s", said, re.M)
    values = json.loads(json.dumps(compare.to_json(found)))
    assert values["estimated"] and (values["steps_ran"], values["steps"]) == (8, 64)
    # the limit is that of all steps
    steps = found.work["tokens"]
    assert len(steps) == 64
    assert values["work"]["tokens"]["bytes"] == sum(step.bytes for step in steps)
    whole = report.comparison(made_up(1))
    assert "estimated" not in whole and not compare.to_json(made_up(1))["estimated"]
    assert found.ceilings is TOP and "limit: 10.0 GB/s read" in said


@pytest.mark.twin
@pytest.mark.parametrize("every", ["1", "2"])
def test_both_sides_draw(every, monkeypatch):
    monkeypatch.setattr(ceilings, "measure", lambda threads: TOP)
    job = ("arinar-mnist", "kl-mnist", "--steps", "3", "--every", every, "--runs", "1")
    said = CliRunner().invoke(
        app, ["bench", "cpu", *job, "--backend", "numpy", "--json"]
    )
    assert said.exit_code == 0, said.output
    found = json.loads(said.stdout)
    assert found["job"]["every"] == int(every) and found["steps"] == 3
    assert found["steps_ran"] == (3 if every == "1" else 1)
    ours = found["sides"].pop("minigen")["runs"]
    assert found["limit"]["image"]["seconds"] > 0 and len(ours) == 1
    assert len(found["sides"]) == bool(importlib.util.find_spec("torch"))
    for side in found["sides"].values():
        ratio = side["runs"][0]["image"] / ours[0]["image"]
        assert side["ratios"]["image"] == pytest.approx(ratio)


@pytest.mark.needs("torch")
@pytest.mark.parametrize("config", MODELS, ids=lambda c: type(c).__name__)
def test_the_twin_asks_what_we_ask(config, monkeypatch):
    import torch

    from minigen.training import bench, mae

    asked, drawn = [], []

    def conditions(model, tokens, labels, known, positions):
        asked.append((known.numpy(), positions.numpy(), labels.numpy(), tokens.numpy()))
        drawn.append(plain(model, tokens, labels, known, positions))
        return drawn[-1]

    plain = mae.conditions
    monkeypatch.setattr(mae, "conditions", conditions)
    monkeypatch.setitem(PRESETS, "tiny", config)
    with torch.device("meta"):
        twin = resolve_name(family_of(config).twin)(config)
    twin = bench.stand_in(twin, "float32")
    job = Job("tiny", "kl-16", steps=5, schedule="cosine", every=2, batch=2)
    plan = plans.plan((4, 4), "random", "cosine", 5)
    with torch.inference_mode():
        left = bench.drawer(job, twin)(2)
    given = worker.latents(config, 2).reshape(2, -1, config.features)
    assert np.array_equal(left.numpy(), given)
    seen, tree = [], weights.model(config).weights

    def watch(name, value):
        if name == "conditions":
            seen.append(value[1])

    parts = worker.samples(plan, 2)
    for part, (known, positions, labels, tokens) in zip(parts, asked, strict=True):
        assert {*map(tuple, known)} == {tuple(sorted(part.known))}
        assert {*map(tuple, positions)} == {tuple(sorted(part.groups[0]))}
        assert labels.tolist() == [0, 1, -1, -1]
        assert np.array_equal(tokens, np.concatenate([given, given]))
        call = backends.table("numpy"), tree, config, part, [0, 1], 0
        options = loop.Options(guidance=4.5)
        known = given[:, list(part.known)]
        for _ in loop.steps(*call, options, known, watch=watch):
            pass
    # the same weights, the same question: the same answer
    for ours, theirs in zip(seen, drawn, strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), atol=2e-5)
