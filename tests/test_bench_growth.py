"""bench growth, as far as it can be known without a clock: what is kept, and where."""

import json
import re

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from minigen import backends, plans
from minigen import sample as loop
from minigen.bench import growth, picture, report, weights
from minigen.bench.growth import Curve, Growth, Point
from minigen.cli import app
from minigen.errors import InputError
from minigen.families import PRESETS, AimConfig, GptConfig
from minigen.models import llamagen, mamba

AIM = AimConfig(
    width=16, layers=2, vocabulary=40, classes=3, tokens=16, state_size=8, head_size=8
)
GPT = GptConfig(
    width=16, layers=2, heads=2, vocabulary=40, classes=3, tokens=16, multiple_of=16
)
CONFIGS = {
    "aim-tiny": AIM,
    "gpt-tiny": GPT,
    "aim-mlp": AimConfig(**{**vars(AIM), "hidden": 24, "condition_groups": 2}),
    "aim-one": AimConfig(**{**vars(AIM), "mixer": "mamba1"}),
    "gpt-shared": GptConfig(**{**vars(GPT), "heads": 4, "key_heads": 1}),
}
PLACES = (2, 5, 20)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    for name, config in CONFIGS.items():
        monkeypatch.setitem(PRESETS, name, config)


def formula(config, position):
    """Return the bytes that two rows keep at a position: float32, counted by hand."""
    d = config.width
    if isinstance(config, GptConfig):
        # keys and values of each layer, and what was made of the last token
        return 4 * 2 * (config.layers * 2 * position * config.key_width + d)
    mixing = config.mixing
    conv, scan = mixing.window * mixing.channels, mixing.inner * mixing.state_size
    # the class, its vectors for each layer and for the end, and the last token's
    vectors = d * (1 + config.layers * config.factor + 2 + 1)
    return 4 * 2 * (config.layers * (conv + scan) + vectors)


@pytest.mark.parametrize("names", [("aim-tiny", "gpt-tiny"), ("aim-one", "gpt-shared")])
def test_every_position_is_measured_as_often(names, backend):
    found = growth.measure(names, PLACES, rounds=3, backend=backend)
    assert [(c.model, c.keeps) for c in found.curves] == [
        (names[0], "state"),
        (names[1], "cache"),
    ]
    for curve in found.curves:
        assert [point.position for point in curve.points] == list(PLACES)
        for point in curve.points:
            assert len(point.seconds) == 3 and min(point.seconds) > 0
            assert point.kept == formula(PRESETS[curve.model], point.position)
    assert found.backend == backend


@pytest.mark.parametrize("names", [("aim-mlp", "gpt-tiny"), ("aim-tiny", "gpt-shared")])
def test_what_is_kept_is_what_the_loop_keeps(names):
    ops = backends.table("numpy")
    plan = plans.plan((4, 4), "raster", "one")
    for name in names:
        config, states = PRESETS[name], []
        model = weights.model(config)

        def watch(what, state, states=states):
            assert what == "state"
            states.append(growth.kept(state))

        for _ in loop.steps(ops, model.weights, config, plan, [0], watch=watch):
            pass
        # the loop makes room for all of an image at once
        there = growth.state_at(ops, model.weights, config, config.tokens + 1)
        assert states == [growth.kept(there)] * config.tokens
        assert growth.kept(there) == formula(config, config.tokens + 1)


@pytest.mark.parametrize("position", PLACES)
def test_a_token_is_read_at_its_position(ops, position):
    config = growth.enlarged(GPT, position)
    model = weights.model(config)
    cache = growth.state_at(ops, model.weights, config, position)
    assert {layer.length for layer in cache.layers} == {position - 1}
    arrays = [each for layer in cache.layers for each in (layer.keys, layer.values)]
    assert {array.shape[1] for array in arrays} == {position}
    before = [array.copy() for array in arrays]
    growth.new_step(ops, model.weights, config, position, cache)()
    for old, new in zip(before, arrays, strict=True):
        assert np.array_equal(old[:, :-1], new[:, :-1])
        assert (old[:, -1] != new[:, -1]).any()
    # the last row is that of the last token but one: the class had the first
    assert len(llamagen.rotary_table(ops, config)) >= position


def test_a_state_is_moved_on_at_any_position(ops):
    config = growth.enlarged(AIM, 20)
    model = weights.model(config)
    assert len(model.weights["positions"]) == 26
    memory = growth.state_at(ops, model.weights, config, 20)
    fresh = mamba.new_state(ops, config.mixing, 2)
    assert memory.states[0].scan.shape == fresh.scan.shape
    before = [state.scan.copy() for state in memory.states]
    growth.new_step(ops, model.weights, config, 20, memory)()
    for old, state in zip(before, memory.states, strict=True):
        assert (old != state.scan).any()


@pytest.mark.needs("compiler")
def test_on_a_device_a_step_is_recorded():
    places = (2, 3)
    found = growth.measure(("aim-tiny", "gpt-tiny"), places, rounds=1, backend="ptx")
    for curve in found.curves:
        config = PRESETS[curve.model]
        assert [p.kept for p in curve.points] == [formula(config, n) for n in places]


def test_a_table_reaches_the_last_position():
    assert growth.enlarged(GPT, 17) == GPT
    assert growth.enlarged(GPT, 18).tokens == 25
    assert growth.enlarged(PRESETS["aim-b"], 4096).tokens == 4096
    assert growth.enlarged(PRESETS["gpt-b"], 4097).tokens == 4096


MADE_UP = Growth(
    [
        Curve("aim-b", 148_000_000, "state",
              [Point(p, 40_000_000, [0.02, 0.03, 0.021]) for p in (16, 4096)]),
        Curve("gpt-b", 111_000_000, "cache",
              [Point(16, 2_000_000, [0.02]), Point(4096, 512_000_000, [0.05])]),
    ],
    "float32", "numba", 3,
)  # fmt: skip


def test_ratios_are_of_medians_last_by_first():
    aim, gpt = MADE_UP.curves
    assert (aim.slower, aim.larger) == (1.0, 1.0)
    assert gpt.slower == pytest.approx(2.5) and gpt.larger == 256
    found = growth.to_json(MADE_UP)
    assert [curve["flat"] for curve in found["curves"]] == [True, False]
    assert found["curves"][0]["points"][0]["median"] == 0.021
    json.dumps(found)


def test_the_report_says_what_was_measured():
    said = report.growth(MADE_UP)
    assert re.search(r"^ +4096 +21.0 ms +40.00 MB +50.0 ms +512.00 MB$", said, re.M)
    assert re.search(r"^4096 by 16 +1.00 +1.00 +2.50 +256.00$", said, re.M)
    assert "times the first): aim-b\n" in said
    assert "stand-ins" in said


def test_the_picture_shows_both_panels(tmp_path):
    kept, taken = picture.panels(MADE_UP)
    assert kept.unit == "MB" and taken.unit == "ms"
    assert kept.lines[1] == ("gpt-b: cache", [(16, 2.0), (4096, 512.0)])
    assert taken.lines[1][1] == [(16, 20.0), (4096, 50.0)]
    path = picture.write(tmp_path / "growth.png", MADE_UP)
    assert list(tmp_path.iterdir()) == [path]
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert pixels.shape == (picture.HEIGHT, 2 * picture.WIDTH, 3)
    for half in np.split(pixels, 2, axis=1):
        for colour in picture.COLOURS:
            assert (np.abs(half - colour).max(-1) < 40).sum() > 100


@pytest.mark.parametrize(
    "names, places, message",
    [
        (("gpt-b", "gpt-b"), (16, 256), "'gpt-b' is not known; "),
        (("aim-b", "arpg-l"), (16, 256), "'arpg-l' is not known; "),
        (("aim-b", "gpt-b"), (1, 16), "at least 2"),
        (("aim-b", "gpt-b"), (256, 16), "that rise"),
        (("aim-b", "gpt-b"), (), "that rise"),
    ],
)
def test_what_cannot_be_measured_is_refused(names, places, message):
    with pytest.raises(InputError, match=message):
        growth.measure(names, places)


def run(*arguments):
    return CliRunner().invoke(app, ["bench", "growth", *arguments])


def test_one_command_prints_and_draws(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny = ("aim-tiny", "gpt-tiny", "--backend", "numpy", "--runs", "1")
    said = run(*tiny)
    assert said.exit_code == 0, said.output
    positions = [line.split()[0] for line in said.stdout.splitlines() if " KB" in line]
    assert positions == [str(p) for p in growth.POSITIONS]
    assert "picture: growth.png" in said.stdout
    found = json.loads(run(*tiny, "--json", "--picture", "a.png").stdout)
    assert found["picture"] == "a.png" and found["guidance"] and found["batch"] == 1
    for curve in found["curves"]:
        config = PRESETS[curve["model"]]
        for point in curve["points"]:
            assert point["bytes"] == formula(config, point["position"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "growth.png"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["aim-b", "vq-16"], "'vq-16' is not known; "),
        (["--picture", "a.jpg"], "should end in .png"),
        (["--picture", "none/a.png"], "does not exist"),
        (["--dtype", "float8"], "is not known"),
        (["--backend", "abacus"], "is not known"),
        (["--backend", "numpy", "--threads", "2"], "--threads is for the numba"),
        (["--runs", "0"], "--runs"),
    ],
)
def test_what_cannot_be_is_one_message(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    said = run(*arguments)
    assert said.exit_code == 2 and message in said.output
    assert list(tmp_path.iterdir()) == []
