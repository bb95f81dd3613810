"""bench cpu of models that draw one token a step: what is drawn, and what it takes."""

import importlib.util
import json
import math
import re
import shutil
from dataclasses import replace
from pkgutil import resolve_name

import pytest
from typer.testing import CliRunner

from minigen import backends
from minigen.bench import ceilings, compare, growth, process, report
from minigen.bench.compare import Comparison, Side, settle
from minigen.bench.worker import Job
from minigen.checkpoints import names
from minigen.cli import app
from minigen.errors import BackendError, InputError
from minigen.families import PRESETS, AimConfig, GptConfig, family_of
from minigen.models import llamagen, mamba

ONCE = ceilings.Ceilings(1e10, 1e11, 2)


def matrices(config, *left_out):
    """Return how many parameters stand in matrices, but for those so named."""
    return sum(
        math.prod(shape)
        for name, shape in names.manifest(config).items()
        if len(shape) > 1 and not any(part in name for part in left_out)
    )


AIMS = [
    PRESETS["aim-b"],
    PRESETS["aim-xl"],
    AimConfig(width=32, layers=2, hidden=128, mixer="mamba1", state_size=16),
]


@pytest.mark.parametrize("config", AIMS, ids=lambda c: f"{c.mixer}-{c.width}")
def test_a_token_of_aim_reads_weights_once_and_moves_a_state(config):
    first, *_, last = family_of(config).work(config, [1] * 9, size=4, batch=3)
    assert first == last
    # what follows from the class alone was computed before, and of tables rows are read
    tables = "position_embeddings", "cls_embed", "modulation", "adaln", "scale_shift"
    if config.mixer == "mamba1":
        tables += ("A_log",)
    state = mamba.new_state(backends.table("numpy"), config.mixing, 1)
    vectors = (config.layers * config.factor + 2) * config.width
    rows = 2 * config.width + vectors
    weights = matrices(config, *tables)
    if config.mixer == "mamba1":
        weights += config.layers * config.mixing.inner * config.mixing.state_size
    moved = 2 * config.layers * growth.kept(state)
    assert first.bytes == 4 * weights + 6 * (moved + 4 * rows)
    assert family_of(config).work(config, [1], size=2, batch=1)[0].bytes < first.bytes
    # a multiplication and an addition for each weight and row, and the scan's
    cells = config.layers * state.scan.size
    assert first.operations == 6 * (2 * weights + 5 * cells)


def test_a_token_of_a_transformer_reads_its_cache():
    config = PRESETS["gpt-b"]
    first, second, *_ = steps = family_of(config).work(
        config, [1] * 64, size=4, batch=1
    )
    weights = matrices(config, "tok_embeddings", "cls_embedding")
    cache = llamagen.new_cache(backends.table("numpy"), config, 2, 1)
    token = 4 * 2 * config.width
    assert first.bytes == 4 * weights + token + growth.kept(cache)
    assert second.bytes - first.bytes == growth.kept(cache)
    assert steps[-1].bytes - first.bytes == 63 * growth.kept(cache)
    # a query meets a key, and a weight its value
    meetings = 2 * 2 * config.width * config.layers
    assert first.operations == 2 * 2 * weights + 2 * meetings
    assert second.operations - first.operations == 2 * meetings


def test_what_was_left_open_is_the_models_own():
    job = settle(Job("aim-b"))
    assert (job.schedule, job.tokens) == ("one", compare.TOKENS)
    assert settle(Job("gpt-b", tokens=256)).tokens == 256
    assert settle(Job("aim-mnist", "vq-mnist", tokens=3)).tokens == 3
    job = settle(Job("arpg-l"))
    assert (job.schedule, job.tokens) == ("arccos", None)


@pytest.mark.parametrize(
    "job, message",
    [
        (Job("aim-b", schedule="arccos"), "no schedule but one"),
        (Job("aim-b", tokens=257), "1 .. 256"),
        (Job("gpt-b", tokens=0), "1 .. 256"),
        (Job("gpt-b", guidance=1.0), "leaves a half of guidance out"),
        (Job("aim-b", guidance=math.nan), "guidance nan is not a finite number"),
        (Job("arpg-l", guidance=math.nan), "guidance nan is not a finite number"),
        (Job("arpg-l", guidance=None), "guidance None is not a finite number"),
        (Job("arpg-l", steps=0), "steps 0 is not an integer"),
        (Job("arpg-l", schedule="half"), "schedule 'half' is not known"),
        (Job("arpg-l", batch=0), "batch 0 is not an integer"),
        (Job("arpg-l", tokens=64), "several tokens in a step"),
        (Job("vq-16"), "'vq-16' is not known; "),
        (Job("aim-b", "vq-mnist"), "belongs together"),
        (Job("aim-b", dtype="float8"), "is not known"),
    ],
)
def test_what_cannot_be_timed_is_refused(job, message):
    with pytest.raises(InputError, match=message):
        settle(job)


def made_up(*names, **given):
    job = settle(Job(**given))
    ours = [{"tokens": t, "pixels": 1.0, "image": 1 + t} for t in (1.28, 6.4, 1.28)]
    twin = [{"tokens": 6.4, "pixels": 2.0, "image": 8.4}] * 3
    sides = {"minigen": Side(ours, {"first": 2.0}, 10**9)}
    sides |= {name: Side(twin, {"first": 20.0}, 2 * 10**9) for name in names}
    return Comparison(job, sides, ONCE, compare.work(job))


def test_tokens_are_compared_where_each_is_a_step():
    found = made_up("eager", "compile", generator="aim-b")
    assert found.ratio("eager", "tokens") == 5.0
    said = report.comparison(found)
    assert "64 of 256 tokens, one a step" in said
    times = r"^a token +20.0 ms +100.0 ms +5.00 +100.0 ms +5.00 +\d+.\d ms +\d+%$"
    assert re.search(times, said, re.M)
    assert "image" not in said
    assert "compile: torch.compile of the twin's layers; compiling took 11.60 s" in said
    read = sum(step.bytes for step in found.work["tokens"]) / 1.28 / 1e9
    assert f"tokens read {read:.1f}" in said
    values = json.loads(json.dumps(compare.to_json(found)))
    assert values["sides"]["eager"]["ratios"] == {"tokens": 5.0, "pixels": 2.0}
    assert values["limit"]["tokens"]["share"] == found.limit("tokens") / 1.28
    whole = report.comparison(made_up("eager", generator="aim-b", tokens=256))
    assert "256 of 256 tokens" in whole and "\nimage " in whole


def test_images_are_compared_where_a_step_is_several_tokens():
    found = made_up("onednn", generator="arpg-l")
    assert found.ratio("onednn", "image") == pytest.approx(8.4 / 2.28)
    said = report.comparison(found)
    assert "64 steps, guidance" in said and "a token" not in said
    assert "\nimage " in said and "packed once" in said
    alone = report.comparison(made_up(generator="arpg-l"))
    assert "pytorch is not installed, so ours ran alone" in alone


@pytest.mark.parametrize("fast, wanted", [(64, 64), (8, 16), (0, 2)])
def test_a_cache_that_others_use_is_no_cache(fast, wanted, monkeypatch):
    """Of 64 MiB that are said, as many are ours as are read faster than memory."""

    def best(read, repeats):
        size = read.args[0].nbytes
        return size / (1e11 if size <= fast << 20 else 1e10)

    monkeypatch.setattr(ceilings, "_best", best)
    assert ceilings.held(64 << 20, 1e10, 2, 1) == wanted << 20


def test_weights_that_lie_in_the_cache_are_read_at_any_speed():
    small = ceilings.Ceilings(1e10, 1e11, 2, "a loop", "a product", 6 << 20)
    found = replace(made_up(generator="arpg-mnist", tokenizer="vq-mnist"))
    assert not found.cached
    found = replace(found, ceilings=small)
    assert found.cached and found.limit("tokens") == sum(
        step.operations / 1e11 for step in found.work["tokens"]
    )
    said = report.comparison(found)
    assert "weights lie in the cache of 6.29 MB" in said and "GB/s" not in said


def test_sides_are_named_once_each_or_refused(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    assert compare.sides_of(None) == ["eager"]
    given = ["onednn,eager", "onednn", "compile"]
    assert compare.sides_of(given) == ["onednn", "eager", "compile"]
    with pytest.raises(InputError, match="--against 'mkl' is not known"):
        compare.sides_of(["mkl"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert compare.sides_of(None) == []
    with pytest.raises(BackendError, match="--against eager needs PyTorch: run `pip"):
        compare.sides_of(["eager"])


@pytest.mark.twin
@pytest.mark.parametrize("name", ["aim-mnist", "gpt-mnist"])
def test_both_sides_draw_the_first_tokens(name, monkeypatch):
    monkeypatch.setattr(ceilings, "measure", lambda threads: ONCE)
    command = ("bench", "cpu", name, "vq-mnist", "--tokens", "3", "--runs", "1")
    said = CliRunner().invoke(app, [*command, "--backend", "numpy", "--json"])
    assert said.exit_code == 0, said.output
    found = json.loads(said.stdout)
    assert found["job"]["tokens"] == found["steps"] == 3
    ours = found["sides"].pop("minigen")
    assert len(ours["runs"]) == 1 and found["limit"]["tokens"]["seconds"] > 0
    assert len(found["sides"]) == bool(importlib.util.find_spec("torch"))
    for side in found["sides"].values():
        ratio = side["runs"][0]["tokens"] / ours["runs"][0]["tokens"]
        assert side["ratios"]["tokens"] == pytest.approx(ratio)
        assert side["peak_bytes"] > 1e7


def test_a_number_of_tokens_is_an_option():
    assert "--tokens" in CliRunner().invoke(app, ["bench", "cpu", "--help"]).stdout
    said = CliRunner().invoke(app, ["bench", "cpu", "arpg-l", "--tokens", "9"])
    assert said.exit_code == 2 and "several tokens in a step" in said.output


def test_an_option_that_no_run_may_have_is_refused_before_any_work(monkeypatch):
    monkeypatch.setattr(process, "start", lambda *job: pytest.fail("a process"))
    said = CliRunner().invoke(app, ["bench", "cpu", "arpg-l", "--guidance", "nan"])
    assert said.exit_code == 2 and "guidance nan is not a finite number" in said.output


TWINS = {
    "aim": AimConfig(width=32, layers=2, tokens=16, state_size=8, head_size=8),
    "gpt": GptConfig(width=32, layers=2, heads=2, tokens=16, multiple_of=16),
    "arinar": PRESETS["arinar-mnist"],
}  # fmt: skip


@pytest.mark.needs("torch")
@pytest.mark.parametrize("config", TWINS.values(), ids=list(TWINS))
def test_a_twin_draws_the_same_with_weights_that_are_packed(config, monkeypatch):
    import torch
    from torch.nn import functional

    from minigen.training import bench

    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this PyTorch has no oneDNN")
    monkeypatch.setitem(PRESETS, "tiny", config)
    monkeypatch.setattr(functional, "linear", functional.linear)
    job = Job("tiny", "vq-16", steps=3, schedule="linear", every=2)
    drawn = []
    for prepare in (bench.PREPARE["eager"], bench.PREPARE["onednn"]):
        with torch.device("meta"):
            twin = resolve_name(family_of(config).twin)(config)
        twin = bench.stand_in(twin, "float32")
        seen = []
        prepare([twin])
        plain = functional.linear

        def linear(x, w, bias=None, plain=plain, seen=seen):
            seen.append(plain(x, w, bias))
            return seen[-1]

        monkeypatch.setattr(functional, "linear", linear)
        torch.manual_seed(0)
        with torch.inference_mode():
            bench.drawer(job, twin)(1)
        drawn.append(seen)
        monkeypatch.setattr(functional, "linear", plain)
    assert len(drawn[0]) == len(drawn[1]) > 4
    for one, other in zip(*drawn, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)
    # a packed weight is kept once, but for a table's
    layers = [m for m in twin.modules() if isinstance(m, torch.nn.Linear)]
    assert any(layer.weight.numel() == 0 for layer in layers)
    tables = [m for m in twin.modules() if isinstance(m, torch.nn.Embedding)]
    assert all(table.weight.numel() for table in tables)


@pytest.mark.slow
@pytest.mark.needs("torch")
@pytest.mark.skipif(not shutil.which("g++"), reason="no g++")
def test_torch_compiles_the_layers_of_a_twin(monkeypatch):
    monkeypatch.setattr(ceilings, "measure", lambda threads: ONCE)
    command = ("bench", "cpu", "gpt-mnist", "--tokens", "2", "--backend", "numpy")
    said = CliRunner().invoke(app, [*command, "--runs", "1", "--against", "compile"])
    assert said.exit_code == 0, said.output
    assert "compile: torch.compile of the twin's layers; compiling took" in said.output


@pytest.mark.needs("torch")
def test_without_a_compiler_the_side_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(ceilings, "measure", lambda threads: ONCE)
    monkeypatch.setenv("CXX", "/no/such/compiler")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    command = ("bench", "cpu", "gpt-mnist", "--tokens", "1", "--backend", "numpy")
    said = CliRunner().invoke(app, [*command, "--against", "compile"])
    assert said.exit_code == 2
    assert "torch.compile cannot run the twin of gpt-mnist here" in said.output
    assert "--against eager,onednn" in said.output


@pytest.mark.needs("torch")
def test_what_onednn_lacks_on_this_cpu_is_said(monkeypatch, capsys):
    """Of bfloat16 that is every CPU with AVX2 alone."""
    from minigen.training import bench

    monkeypatch.setattr(bench, "lacks_onednn", lambda dtype: f"no {dtype} here")
    bench.main(Job("gpt-mnist", "vq-mnist", dtype="bfloat16"), "onednn")
    error = json.loads(capsys.readouterr().out)["error"]
    assert "oneDNN has no product of bfloat16 for this CPU (no bfloat16 here)" in error
    assert "--against eager" in error
