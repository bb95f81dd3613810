"""The GPU bench, as far as it can be known without a GPU: what it counts and writes.

No time in this file was measured on a GPU. Clocks are made up, devices interpret; what
is tested is the work counted for each call, the arithmetic of the report, and that a
bench which is cut short goes on.
"""

import importlib.util
import inspect
import json
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from minigen import arrays, backends, plans, simt, target
from minigen.bench import gpu
from minigen.bench.gpu import cases, kernels, parts, report, results, timing
from minigen.bench.gpu.cases import Array
from minigen.checking.spec import several
from minigen.cli import app
from minigen.errors import InputError
from minigen.families import (
    AimConfig,
    ArinarConfig,
    ArpgConfig,
    KlConfig,
    MarConfig,
    VqConfig,
    family_of,
)
from minigen.sample import Options
from tests.models.stand_in import stand_in

ARPG = ArpgConfig(
    width=32, layers=2, heads=2, vocabulary=40, classes=3, tokens=16, multiple_of=16
)
AIM = AimConfig(
    width=16, layers=2, vocabulary=40, classes=3, tokens=16, state_size=8, head_size=8
)
VQ = VqConfig(base=32, multipliers=(1, 1), latent=8, codes=24, code_size=4)
OUTER = dict(
    width=32, encoder_width=24, encoder_layers=1, decoder_layers=1, encoder_heads=2,
    decoder_heads=2, ratio=2, buffer=4, classes=3, tokens=16, channels=6,
)  # fmt: skip
ARINAR = ArinarConfig(**OUTER, mixtures=3, inner_width=16)
MAR = MarConfig(**OUTER, head_width=16, head_layers=1, noise_steps=4)
KL = KlConfig(base=32, multipliers=(1, 1), channels=6, attention=())

FOLDERS = {name: folder for folder, names in backends.OPS.items() for name in names}

SMALL = {case.name: case for case in cases.generator(ARPG, 1, 2, 5)}
SMALL |= {c.name: c for n in (1, 5) for c in cases.state_space(AIM, 1, n)}
# of a tokenizer's calls, the first of each function
SMALL |= {
    case.name: case
    for case in {c.function: c for c in cases.tokenizer(VQ, 2)[::-1]}.values()
}
# 6 tokens and the class are read of 20: two images fill the sequence
SMALL |= {case.name: case for case in cases.masked(ARINAR, 1, 5, 6)}
SMALL |= {case.name: case for case in cases.mixture_head(ARINAR, 3, candidates=20)}
SMALL |= {case.name: case for case in cases.diffusion_head(MAR, 3)}
SMALL |= {case.name: case for case in cases.latents(KL, 3, 2)}
# weights of two bytes count as two
SMALL |= {
    f"{case.name}, bfloat16": case
    for case in cases.generator(ARPG, 1, 2, 5, "bfloat16")
    if case.name.startswith(("embed", f"linear {ARPG.width} to {ARPG.width}"))
}


def base(array):
    return array.__array_interface__["data"][0]


class Counting:
    """An interpreter that keeps what each launch read and wrote."""

    def __init__(self):
        self.device, self.launches = arrays.Interpreter(), []
        self.empty, self.put = self.device.empty, self.device.put
        self.flag = self.device.flag

    def launch(self, kernel, grid, block, *arguments):
        found = simt.launch(kernel, *arrays.dimensions(grid, block), *arguments, seed=0)
        self.launches.append((kernel, arguments, found))


def moved(case):
    """Return the bytes of the arguments that are read, and of the result written.

    As the interpreter counts them, each cell once, whatever is stored in between.
    """
    device = Counting()
    given = [device.put(a) if isinstance(a, np.ndarray) else a for a in case.make(0)]
    module = importlib.import_module(f"minigen.ops.{FOLDERS[case.function]}.cuda")
    result = getattr(module, case.function)(device, *given)
    inputs = [a for a in given if isinstance(a, np.ndarray)]

    def touched(array, how):
        found = np.zeros(array.size, bool)
        for kernel, arguments, counted in device.launches:
            names = inspect.signature(kernel.py_func).parameters
            for name, seen in zip(names, arguments, strict=True):
                if not isinstance(seen, np.ndarray) or seen.size == 0:
                    continue
                # a view of the array lies within it
                start, rest = divmod(base(seen) - base(array), array.itemsize)
                if rest == 0 and 0 <= start < array.size:
                    count = getattr(counted, how)[name]
                    found[start : start + seen.size] |= count.ravel() > 0
        return int(found.sum()) * array.itemsize

    written = sum(touched(a, "writes") for a in several(result))
    return sum(touched(a, "reads") for a in inputs) + written


@pytest.mark.in_parts
@pytest.mark.parametrize("name", SMALL)
def test_bytes_are_what_the_interpreter_counts(name):
    assert moved(SMALL[name]) == SMALL[name].bytes


def test_operations_of_a_convolution_are_those_of_its_patches():
    x, f = np.zeros((2, 6, 4, 5)), 7
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    patches = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
    given = Array(x.shape), Array((f, 3, 3, 5))
    assert cases.operations("conv3x3", *given) == 2 * patches.size * f
    half = patches[:, 1::2, 1::2].size
    assert cases.operations("conv3x3_half", *given) == 2 * half * f


def test_operations_of_attention_are_pairs_of_queries_and_keys():
    q, cache = Array((2, 3, 4, 8)), Array((2, 9, 4, 8))
    # 8 products for a score, 8 for its part of the value; and as many sums
    assert cases.operations("attention", q, cache, cache, 5) == 2 * 4 * 3 * 5 * 32
    pairs = 3 + 4 + 5
    given = q, cache, cache, 5
    assert cases.operations("attention_causal", *given) == 2 * 4 * pairs * 32


def test_operations_of_a_step_are_those_of_the_cpu_bench():
    """Counted call by call here, and from the configuration in `Family.work`."""
    asked = 3
    step = family_of(ARPG).work(ARPG, [asked, asked], 4, batch=1)[1]
    known = 1 + asked
    made = {c.function + c.name: c for c in cases.generator(ARPG, 1, asked, known)}

    def count(part):
        (one,) = (c for name, c in made.items() if name.startswith(part))
        return one.operations

    d, f, v = ARPG.width, ARPG.hidden, ARPG.vocabulary
    square, up = count(f"linearlinear {d} to {d}"), count(f"linearlinear {d} to {f}")
    down, head = count(f"linearlinear {f} to {d}"), count(f"linearlinear {d} to {v}")
    attend = count("attention")
    forward = 2 * up + down
    total = ARPG.half * (4 * square + forward) + 2 * square  # the self-decoder
    total += ARPG.half * (2 * square + forward) + head  # the cross-decoder
    total += 2 * ARPG.half * attend
    assert total == step.operations


def test_arrays_are_as_they_were_asked_for():
    ids = Array((2, 5), "int64", 4).make(1)
    assert ids.dtype == np.int64 and sorted(set(ids.ravel())) == [0, 1, 2, 3]
    x = Array((50, 50), low=0.0).make(2)
    assert x.dtype == np.float32 and 0 <= x.min() < 0.01 and 0.99 < x.max() < 1
    half = Array((50,), "bfloat16")
    assert half.bytes == 100 and half.make(0).dtype.name == "bfloat16"
    assert not np.array_equal(Array((9,)).make(0), Array((9,)).make(1))


def test_sizes_of_the_full_models_are_timed():
    found = gpu.PRESETS[gpu.GENERATOR], gpu.PRESETS[gpu.TOKENIZER]
    names = {
        case.function
        for case in (*cases.generator(found[0], 64, 8, 128),
                     *cases.state_space(gpu.PRESETS[gpu.MAMBA], 1, 1),
                     *cases.state_space(gpu.PRESETS[gpu.MAMBA], 1, 256),
                     *cases.tokenizer(found[1], 16),
                     *cases.masked(gpu.PRESETS[gpu.MASKED], 1, 4, 96),
                     *cases.mixture_head(gpu.PRESETS[gpu.MASKED], 4),
                     *cases.diffusion_head(gpu.PRESETS[gpu.DIFFUSION], 4),
                     *cases.latents(gpu.PRESETS[gpu.LATENTS], 16))
    }  # fmt: skip
    # not timed: what no run of these models needs, and what writes no more than it has
    assert {*FOLDERS} - names == {
        "attention_causal", "causal_conv", "check_finite", "cross_entropy", "distances",
        "full", "gated_silu", "log_likelihood", "multiply", "normal_kl", "normal_nll",
        "rms_norm_gate", "sqrt", "subtract", "zeros",
    }  # fmt: skip


@pytest.mark.parametrize("size", [1, 255, 2048, 2049, 5000])
def test_the_copy_kernel_copies(size):
    device = arrays.Interpreter(seed=1, watch=True)
    x = np.random.default_rng(0).random(size, np.float32)
    assert np.array_equal(device.get(kernels.copy(device, device.put(x))), x)


@pytest.mark.needs("compiler")
def test_idle_kernels_take_as_many_arrays_as_they_say():
    for count, kernel in kernels.IDLE.items():
        assert len(inspect.signature(kernel.py_func).parameters) == count
        array = np.zeros(3, np.float32)
        types = target.argument_types([array] * count)
        assert ".entry" in target.compile_ptx(kernel, types, (9, 0))
    types = target.argument_types([np.zeros(3, np.float32)] * 2)
    assert ".f64" not in target.compile_ptx(kernels._copy, types, (9, 0))


class Ticks:
    """A made-up clock: each look at it, and each thing timed, takes what it is told."""

    def __init__(self, *gpu):
        self.given, self.now, self.runs = list(gpu) or [0.002], 0.0, 0

    def gpu(self, run):
        run()
        self.runs += 1
        return self.given[self.runs % len(self.given)]

    def host(self):
        self.now += 0.25
        return self.now

    @property
    def clock(self):
        return timing.Clock(self.gpu, self.host)


def test_what_takes_long_is_repeated_less_often():
    assert len(timing.repeat(lambda: 0.001, least=3, most=20)) == 20
    assert len(timing.repeat(lambda: 0.3, least=3, most=20)) == 4
    assert len(timing.repeat(lambda: 100.0, least=1, most=20)) == 1


def test_a_call_s_time_is_its_share_of_the_graph_s_median():
    device, ticks = arrays.Interpreter(), Ticks(0.3, 0.6, 60.0)
    x, ran = device.put(np.zeros(5, np.float32)), []

    def call():
        ran.append(1)
        kernels.copy(device, x)

    found = timing.replayed(device, ticks.clock, [call] * 3, again=2)
    # the three measurements are 0.6, 60, 0.3: the outlier does not count
    assert found == 0.6 / 6
    # eager once each, then recorded; replays call nothing
    assert len(ran) == 3 + 6 and device.launches == 3 + 6 * (1 + ticks.runs)


def test_a_case_tells_its_kernels_and_its_time(monkeypatch):
    monkeypatch.setattr(timing, "MOST", 4)
    one = SMALL["rms_norm, 2 x 2 rows"]
    device = arrays.Interpreter()
    row = parts.measure_case(device, Ticks(0.2).clock, one)
    assert row["kernels"] == ["rms_norm.cuda._rms_norm"]
    assert (row["sets"], row["bytes"], row["seconds"]) == (4, one.bytes, 0.01)


TOP = {
    "copy": 2e12, "copy_by": "a copy kernel of minigen", "float32": 50e12,
    "float32_by": "minigen's linear", "bfloat16": 800e12, "bfloat16_by": "PyTorch's",
}  # fmt: skip


def row(name, seconds, size, operations=0, kernel="x.cuda._x"):
    found = {
        "name": name, "kernels": [kernel], "bytes": size, "operations": operations,
        "seconds": seconds,
    }  # fmt: skip
    return found | report.rates(found, TOP)


def test_shares_of_the_ceiling():
    assert row("bytes", 2e-3, 2e9)["share"] == pytest.approx(0.5)
    assert row("flops", 2e-2, 8, 5e11)["share"] == pytest.approx(0.5)
    tensor = row("tensor", 2e-3, 8, 8e11, "linear.cuda._linear_tensor")
    assert tensor["share"] == pytest.approx(0.5)
    assert tensor["operations_per_second"] == pytest.approx(4e14)


def test_the_farthest_kernels_are_judged_at_their_best():
    rows = [
        row("a small", 1e-3, 1e6, kernel="a._a"),
        row("a large", 1e-3, 1.8e9, kernel="a._a"),
        row("b", 1e-3, 1e9, kernel="b._b"), row("c", 1e-3, 4e8, kernel="c._c"),
        row("d", 1e-3, 2e8, kernel="d._d"),
    ]  # fmt: skip
    assert report.farthest(rows) == ["d._d", "c._c", "b._b"]


MADE_UP = {
    "about": {"gpu": "none: made up for a test", "dtype": "float32"},
    "parts": {
        "kernels": {
            "ceilings": TOP,
            "rows": [row("linear", 2e-2, 8, 5e11, "linear.cuda._linear_tiled"),
                     row("rms_norm", 4e-6, 2e6, 0, "rms_norm.cuda._rms_norm")],
        },
        "launch": {"arrays_0": 4e-6, "arrays_1": 6e-6, "arrays_4": 1e-5,
                   "arrays_8": 2e-5, "empty": 5e-6, "node": 1e-6},
        "images, batch 1": {
            "batch": 1, "eager": 1.25, "graph": 5.0, "launches_per_step": 512.0,
            "nodes": 32768, "same": True,
        },
        "images, batch 64": {"batch": 64, "error": "the GPU has no memory left"},
    },
}  # fmt: skip


def test_the_tables_of_made_up_results():
    lines = [" ".join(line.split()) for line in report.text(MADE_UP).splitlines()]
    assert lines[0] == "gpu none: made up for a test, dtype float32"
    assert "copy 2000 GB/s a copy kernel of minigen" in lines
    assert "bfloat16 800.0 TFLOP/s PyTorch's" in lines
    # the farthest from its ceiling comes first
    at = lines.index("call time GB/s TFLOP/s of the ceiling kernels")
    assert lines[at + 1] == "rms_norm 4.0 us 500 25% rms_norm"
    assert lines[at + 2] == "linear 20.0 ms 0 25.00 50% linear_tiled"
    assert any(line.endswith("rms_norm, linear_tiled") for line in lines)
    assert "launch, 4 arrays 10.0 us" in lines and "a launch in a graph 1.0 us" in lines
    assert "1 1.25/s 5.00/s 512 32768 yes" in lines
    assert "64 - - - - the GPU has no memory left" in lines


def test_a_ceiling_is_the_best_there_is_and_says_whose(monkeypatch):
    monkeypatch.setattr(parts, "cublas_products", lambda device: {})
    monkeypatch.setattr(parts, "torch_products", lambda side: {"bfloat16": 7e14})
    device, quiet = arrays.Interpreter(), lambda text: None
    top = parts.ceilings(device, Ticks(0.5).clock, quiet, copied=5000, side=16)
    # five copies in a graph took half a second of a made-up clock
    assert top["copy"] == 2 * 4 * 5000 / 0.1
    assert top["float32"] == 2 * 16**3 / 0.5
    assert top["float32_by"] == "minigen's linear of 16 x 16"
    assert top["bfloat16"] == 7e14
    assert top["bfloat16_by"] == "PyTorch's product of 16 x 16"


def test_without_a_gpu_pytorch_and_cublas_are_no_ceiling():
    assert parts.torch_products(8) == {}
    if importlib.util.find_spec("nvmath") is None:
        assert parts.cublas_products(arrays.Interpreter()) == {}


def test_launching_is_timed_in_the_host_s_time():
    device = arrays.Interpreter()
    found = parts.measure_launch(device, Ticks(0.5).clock, lambda text: None, 10)
    assert {"arrays_0", "arrays_1", "arrays_4", "arrays_8", "empty"} <= found.keys()
    # a quarter of a second between two looks at the made-up clock
    assert found["arrays_8"] == 0.25 / 10 and found["node"] == 0.5 / 10


SMALLEST = [
    ArpgConfig(
        width=16, layers=2, heads=1, vocabulary=8, classes=3, tokens=4, multiple_of=16
    ),
    ArinarConfig(
        width=16, encoder_width=16, encoder_layers=1, decoder_layers=1, encoder_heads=1,
        decoder_heads=1, ratio=1, buffer=1, classes=3, tokens=4, channels=1, mixtures=1,
        inner_width=16,
    ),
]  # fmt: skip


@pytest.mark.needs("compiler")
@pytest.mark.parametrize("tiny", SMALLEST, ids=lambda config: type(config).__name__)
def test_images_are_drawn_both_ways_and_compared(tiny, monkeypatch):
    """By the smallest generators there are; their tokens stand for pixels."""
    ops = backends.table("ptx", arrays.Ptx())
    # a thousand candidates would take long
    how = {"guided_draw": "grid"} if isinstance(tiny, ArinarConfig) else {}
    pipe = SimpleNamespace(
        ops=ops,
        config=tiny,
        generator=SimpleNamespace(weights=backends.move(ops, stand_in(tiny))),
        options=lambda guidance, temperature: Options(
            guidance, temperature=temperature, **how
        ),
        plan=lambda order, schedule, steps, seed: plans.plan((2, 2), steps=1),
        images=lambda tokens: [ops.twice(tokens.reshape(1, -1))],
        download=lambda images, noted: ops.get(images[0]),
    )
    monkeypatch.setattr(timing, "repeat", lambda measure, **_: [measure()])
    said = []
    found = parts.measure_images(pipe, Ticks().clock, 1, 1, 3, said.append)
    assert found["same"] and found["launches"] == found["nodes"] > 25
    assert found["launches_per_step"] == found["launches"]
    # a quarter of a second between two looks at the made-up clock
    assert found["eager"] == found["graph"] == 1 / 0.25
    assert len(said) == 3 and json.dumps(found)


def test_a_finished_part_is_not_run_again(tmp_path, monkeypatch):
    path, ran, about = tmp_path / "a.json", [], {"gpu": "made up", "sources": "1"}

    def part(name, fail=()):
        def measure(*_):
            ran.append(name)
            if name in fail:
                raise KeyboardInterrupt
            return {"made": "up"}

        return measure

    monkeypatch.setattr(gpu, "machine", lambda: about)
    monkeypatch.setattr(arrays, "Gpu", arrays.Interpreter)
    monkeypatch.setattr(timing, "gpu_clock", lambda device: None)
    monkeypatch.setattr(gpu, "_kernels", part("kernels"))
    monkeypatch.setattr(parts, "measure_launch", part("launch", ["launch"]))
    monkeypatch.setattr(gpu.weights, "model", lambda config, dtype: None)
    monkeypatch.setattr(gpu, "assemble", lambda *models: None)
    images = lambda pipe, clock, n, *rest: part(f"images {n}", ["images 8"])()  # noqa: E731
    monkeypatch.setattr(parts, "measure_images", images)
    with pytest.raises(KeyboardInterrupt):
        gpu.bench(path)
    assert ran == ["kernels", "launch"]
    assert list(json.loads(path.read_text())["parts"]) == ["kernels"]
    monkeypatch.setattr(parts, "measure_launch", part("launch"))
    with pytest.raises(KeyboardInterrupt):
        gpu.bench(path)
    assert ran[2:] == ["launch", "images 1", "images 8"]
    monkeypatch.setattr(parts, "measure_images", lambda *_: {"made": "up"})
    found = gpu.bench(path)
    assert len(ran) == 5
    assert list(found["parts"]) == [
        "kernels", "launch", "images, batch 1", "images, batch 8", "images, batch 64",
    ]  # fmt: skip
    assert json.loads(path.read_text()) == found
    # nothing but the file is left, and the next one has everything
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    with pytest.raises(InputError, match="float32, this would be dtype bfloat16"):
        gpu.bench(path, dtype="bfloat16")
    with pytest.raises(InputError, match="arpg-l, this would be generator aim-l"):
        gpu.bench(path, generator="aim-l")
    about["sources"] = "2"
    with pytest.raises(InputError, match="results of sources 1, this would be sources"):
        gpu.bench(path)


@pytest.mark.parametrize(
    "generator, tokenizer",
    [("arinar-b", "kl-16"), ("mar-b", "kl-16"), ("aim-b", "vq-16")],
)
def test_images_are_decoded_by_the_tokenizer_of_the_generator(
    generator, tokenizer, monkeypatch
):
    drawn, assembled = [], []
    monkeypatch.setattr(gpu, "machine", lambda: {"gpu": "made up"})
    monkeypatch.setattr(arrays, "Gpu", arrays.Interpreter)
    monkeypatch.setattr(timing, "gpu_clock", lambda device: None)
    monkeypatch.setattr(gpu.weights, "model", lambda config, _: drawn.append(config))
    monkeypatch.setattr(gpu, "assemble", lambda *models: assembled.extend(models))
    monkeypatch.setattr(parts, "measure_images", lambda *_: {"made": "up"})
    found = gpu.bench(None, ("images",), generator=generator)
    assert drawn == [gpu.PRESETS[generator], gpu.PRESETS[tokenizer]]
    assert assembled == [None, None, "cuda"] and len(found["parts"]) == 3


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"about": {}}', '{"about": 1}'])
def test_a_file_of_something_else_is_left_alone(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError, match="holds something else than results"):
        results.start(path, {"gpu": "made up"})
    assert path.read_text() == text


BAD = [
    ([], "no usable NVIDIA GPU was found"),
    (["--json", "a.json"], "run `pip install "),
    (["--part", "all"], "'all' is not known; "),
    (["--json", "a.txt"], "should end in .json"),
    (["--json", "no/a.json"], "mkdir -p no"),
    (["--generator", "vq-16"], "'vq-16' is not known; "),
    (["--dtype", "int4"], "'int4' is not known; "),
]


@pytest.mark.needs("compiler")
@pytest.mark.parametrize("arguments, message", BAD, ids=lambda a: " ".join(a))
def test_without_a_gpu_or_with_bad_options_it_is_one_message_and_status_2(
    tmp_path, monkeypatch, arguments, message
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(target, "has_gpu", lambda: False)
    done = CliRunner().invoke(app, ["bench", "gpu", *arguments])
    assert done.exit_code == 2 and message in done.output
    assert "Traceback" not in done.output and not list(tmp_path.iterdir())


def test_the_plan_of_the_bench_is_one_of_the_generator_s():
    assert sum(plans.counts("arccos", 256, gpu.STEPS)) == 256
