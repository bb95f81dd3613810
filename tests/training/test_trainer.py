"""Runs that were stopped and continued, the data, and the classifier."""

import gzip
import struct

import numpy as np
import pytest
import torch

from minigen.evaluate import read_digits
from minigen.families import PRESETS, JudgeConfig
from minigen.images import outline
from minigen.pipeline import load
from minigen.training import vq
from minigen.training.__main__ import main, parse
from minigen.training.data import read_mnist, shift, to_grey, to_input, tokenize
from minigen.training.generators import read_tokenizer, weights_of
from minigen.training.judge import Judge
from minigen.training.trainer import generator_at, rate_at, read

pytestmark = pytest.mark.needs("torch")


def write_idx(path, values):
    header = bytes([0, 0, 8, values.ndim]) + struct.pack(
        f">{values.ndim}I", *values.shape
    )
    path.write_bytes(gzip.compress(header + values.tobytes()))


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A folder with the four MNIST files, of a few random strokes each."""
    folder, rng = tmp_path_factory.mktemp("digits"), np.random.default_rng(0)
    for part, count in (("train", 24), ("t10k", 12)):
        labels = np.arange(count, dtype=np.uint8) % 10
        images = np.zeros((count, 28, 28), np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[4 + 2 * label : 7 + 2 * label, 4:24] = rng.integers(100, 256, (3, 20))
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", labels)
    return folder


@pytest.fixture(scope="module")
def tokenizer(digits, tmp_path_factory):
    out = tmp_path_factory.mktemp("vq")
    given = ["vq", "--data", str(digits), "--out", str(out), "--threads=1"]
    assert main([*given, "--steps=2", "--batch=2"]) == 0
    return out / "vq.pt"


@pytest.fixture(scope="module")
def kl_tokenizer(digits, tmp_path_factory):
    out = tmp_path_factory.mktemp("kl")
    given = ["kl", "--data", str(digits), "--out", str(out), "--threads=1"]
    assert main([*given, "--steps=2", "--batch=2"]) == 0
    return out / "kl.pt"


def arguments(name, digits, out, tokenizer):
    tokens = ["--tokenizer", str(tokenizer)]
    extra = {"vq": ["--plain=2"], "kl": [], "judge": []}.get(name, tokens)
    return [
        name, "--data", str(digits), "--out", str(out), "--steps=6", "--batch=3",
        "--warm=2", "--shift=1", "--threads=1", *extra,
    ]  # fmt: skip


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.mark.in_parts
@pytest.mark.parametrize("name", ["vq", "kl", "arpg", "gpt", "arinar", "mar", "judge"])
def test_a_paused_run_equals_an_uninterrupted_one(
    name, digits, tokenizer, kl_tokenizer, tmp_path, monkeypatch
):
    tokenizer = kl_tokenizer if name in ("arinar", "mar") else tokenizer
    monkeypatch.setattr(vq, "RESTART", 3)
    small = JudgeConfig(widths=(32, 32, 32, 32))
    monkeypatch.setitem(PRESETS, "judge-mnist", small)
    whole = arguments(name, digits, tmp_path / "whole", tokenizer)
    assert main(whole) == 0
    parts = arguments(name, digits, tmp_path / "parts", tokenizer)
    for steps in range(1, 7):
        # a pause after the first step of each start: six starts in all
        assert main([*parts, "--minutes=1e-9"]) == 0
        assert read(tmp_path / f"parts/{name}.pt")["steps"] == steps
    a, b = (read(tmp_path / folder / f"{name}.pt") for folder in ("whole", "parts"))
    assert set(a) == {"model", "optimizer", "steps", "args", "ema"}
    for key in ("model", "ema", "optimizer"):
        assert same(a[key], b[key]), key
    # and the run moved the weights at all
    assert not same(a["model"], a["ema"])


def test_mar_begins_with_arinars_outer_model(digits, kl_tokenizer, tmp_path, capsys):
    first = arguments("arinar", digits, tmp_path / "first", kl_tokenizer)
    assert main([*first, "--steps=1"]) == 0
    state = read(tmp_path / "first/arinar.pt")["ema"]
    second = arguments("mar", digits, tmp_path / "second", kl_tokenizer)
    second += ["--start", str(tmp_path / "first/arinar.pt")]
    # a rate of 0: nothing but the start moves the weights
    assert main([*second, "--steps=1", "--rate=0"]) == 0
    began = read(tmp_path / "second/mar.pt")["model"]
    outer = [name for name in began if not name.startswith("diffloss.")]
    assert len(outer) == len(state) - sum(name.startswith("arhead.") for name in state)
    assert all(torch.equal(began[name], state[name]) for name in outer)
    third = arguments("gpt", digits, tmp_path / "third", "vq-mnist")
    assert main([*third, "--start", str(tmp_path / "first/arinar.pt")]) == 2
    assert "arinar.pt is of another model" in capsys.readouterr().err


def test_control_begins_with_a_model_that_ships(digits, tmp_path):
    given = arguments("arpg", digits, tmp_path, "vq-mnist")
    given += ["--control", "--start", "arpg-mnist", "--versions=2"]
    # a rate of 0: nothing but the start moves the weights
    assert main([*given, "--steps=1", "--rate=0"]) == 0
    began, ships = read(tmp_path / "arpg.pt")["model"], weights_of("arpg-mnist")
    assert not began.pop("control.weight").any()
    assert began.keys() == ships.keys()
    assert all(torch.equal(began[name], ships[name]) for name in ships)
    # the outlines are those of the versions, tokens of the same digits elsewhere
    tokens, outlines = (read(tmp_path / f"{n}.pt")[n] for n in ("tokens", "outlines"))
    assert tokens.shape == outlines.shape and not torch.equal(tokens, outlines)
    pipe = load("arpg-mnist", backend="numpy")
    images, _ = read_digits(digits, "train", 8)
    mine = pipe.encode(outline(images)).reshape(8, -1)
    # a near-tie may be decided elsewhere
    assert (outlines[0, :8].numpy() == mine).mean() > 0.99
    # and it learns
    assert main([*given, "--steps=2", "--out", str(tmp_path / "more")]) == 0
    assert read(tmp_path / "more/arpg.pt")["model"]["control.weight"].any()


def test_every_seed_and_step_draws_its_own_numbers():
    drawn = {
        torch.rand((), generator=generator_at(seed, step)).item()
        for seed in (0, 1, 2**20)
        for step in (0, 1, 2, 1000)
    }
    assert len(drawn) == 12
    assert torch.equal(*(torch.rand(3, generator=generator_at(5, 7)) for _ in "ab"))


def test_two_workers_share_each_update(digits, tmp_path):
    alone = arguments("judge", digits, tmp_path / "alone", None)
    both = arguments("judge", digits, tmp_path / "both", None)
    assert main([*alone, "--steps=2"]) == 0
    assert main([*both, "--steps=2", "--workers=2"]) == 0
    a, b = (read(tmp_path / f / "judge.pt")["model"] for f in ("alone", "both"))
    assert not same(a, b) and all(torch.isfinite(v).all() for v in b.values())


def test_the_tokenizer_that_ships_makes_minigens_tokens(digits):
    tokenizer = read_tokenizer("vq-mnist").eval()
    grey, _ = read_mnist(digits, "train")
    with torch.no_grad():
        theirs = tokenize(tokenizer, grey[:8])
    pipe = load("arpg-mnist", backend="numpy")
    images = np.repeat(grey[:8, :, :, None].numpy(), 3, axis=-1)
    ours = pipe.encode(images).reshape(8, -1)
    # a near-tie between two codes may fall either way
    assert (ours != theirs.numpy()).mean() < 0.01


def test_a_changed_argument_is_refused(digits, tmp_path, capsys):
    given = arguments("judge", digits, tmp_path, None)
    assert main([*given, "--steps=1"]) == 0
    assert main([*given, "--rate=0.5"]) == 2
    assert "other values of rate" in capsys.readouterr().err


def test_missing_files_are_named(tmp_path, digits, capsys):
    assert main(["judge", "--data", str(tmp_path), "--out", str(tmp_path)]) == 2
    assert "train-images-idx3-ubyte.gz does not exist" in capsys.readouterr().err
    nowhere = arguments("arpg", digits, tmp_path, tmp_path / "none.pt")
    assert main(nowhere) == 2
    assert "none.pt does not exist; train it first" in capsys.readouterr().err


def test_the_rate_warms_up_and_falls():
    rates = [rate_at(step, 100, 2.0, 10) for step in range(100)]
    assert rates[:10] == pytest.approx([0.2 * (i + 1) for i in range(10)])
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[-1] == pytest.approx(0.02)


def test_digits_are_padded_and_shifted(digits):
    grey, labels = read_mnist(digits, "test")
    assert grey.shape == (12, 32, 32) and labels.tolist()[:3] == [0, 1, 2]
    assert grey[:, :2].sum() == 0 and grey[:, :, -2:].sum() == 0 and grey.sum() > 0
    rows, columns = torch.tensor([1] + [0] * 11), torch.tensor([-2] + [0] * 11)
    moved = shift(grey, rows, columns)
    assert torch.equal(moved[0, 1:, :-2], grey[0, :-1, 2:])
    assert torch.equal(moved[1:], grey[1:])
    assert torch.equal(to_grey(to_input(grey)), grey)


@torch.no_grad()
def test_the_judge_flattens_channels_last():
    model = Judge(PRESETS["judge-mnist"])
    images = torch.randn(2, 3, 32, 32)
    seen = {}
    model.norm_out.register_forward_hook(lambda m, x, y: seen.update(x=y))
    features, logits = model(images)
    x = torch.nn.functional.silu(seen["x"])
    rows = torch.stack([x[:, :, i, j] for i in range(4) for j in range(4)], 1).flatten(
        1
    )
    assert torch.allclose(features, model.features(rows), atol=1e-5)
    assert features.shape == (2, 64) and torch.equal(logits, model.head(features))


def test_the_defaults_are_those_of_the_readme():
    args = parse(["vq", "--data", "d", "--out", "o"])
    assert (args.batch, args.rate, args.warm) == (32, 2e-3, 200)
