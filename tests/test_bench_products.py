"""bench products, and the ceilings: what is multiplied, by whom, and judged how."""

import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest
from typer.testing import CliRunner

from minigen import backends, plans
from minigen import sample as loop
from minigen.bench import ceilings, process, product_worker, products, weights
from minigen.bench.ceilings import Ceilings
from minigen.bench.product_worker import Side
from minigen.bench.products import Cell, Products, Timing
from minigen.checkpoints import names
from minigen.cli import app
from minigen.families import PRESETS, AimConfig, ArpgConfig, GptConfig, VqConfig
from minigen.models import vq

TOP = Ceilings(1e10, 1e11, 2, "a loop", "a product", 1 << 20)
OUTER = dict(vocabulary=40, classes=3, tokens=16)
MODELS = {
    "arpg-tiny": ArpgConfig(width=32, layers=2, heads=2, multiple_of=16, **OUTER),
    "gpt-tiny": GptConfig(width=16, layers=2, heads=2, multiple_of=16, **OUTER),
    "aim-tiny": AimConfig(width=16, layers=2, state_size=8, head_size=8, **OUTER),
    "aim-one": AimConfig(width=16, layers=1, mixer="mamba1", **OUTER),
    "arinar-mnist": PRESETS["arinar-mnist"],
}


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    for name, config in MODELS.items():
        monkeypatch.setitem(PRESETS, name, config)
    monkeypatch.setattr(products, "BEYOND", 1)


def seen(run):
    """Return the shapes of the weights by which a run multiplies in `linear`."""
    plain, found = backends.table("numpy"), set()

    def linear(x, w, *arguments, **named):
        base = w if w.base is None or w.base.ndim != 2 else w.base
        found.add(base.shape)
        return plain.linear(x, w, *arguments, **named)

    run(SimpleNamespace(**{**vars(plain), "linear": linear}))
    return found


@pytest.mark.parametrize("name", MODELS)
def test_the_shapes_are_those_that_a_run_multiplies_by(name):
    config = MODELS[name]
    plan = plans.plan((config.side, config.side), "raster", "one")

    def run(ops):
        tree = weights.model(config).weights
        options = loop.Options(guidance=2.0)
        for _ in loop.steps(ops, tree, config, plan, [0], 0, options):
            break

    asked = {shape[:2] for shape in map(tuple, products.shapes([name]))}
    # the whole matrix, where a model takes thirds of it
    assert seen(run) <= asked | {(f // 3, d) for f, d in asked}
    assert len(seen(run)) >= 3


def test_the_shapes_of_a_tokenizer_are_those_of_single_pixels():
    config = VqConfig(base=32, multipliers=(1, 2), latent=8, codes=24, code_size=4)
    tree = weights.model(config).weights
    found = seen(lambda ops: vq.decode(ops, tree, config, np.ones((1, 2, 2), int)))
    assert found and all(
        shape + (1, 1) in names.manifest(config).values() for shape in found
    )
    assert {(512, 512), (256, 8)} <= {*products.shapes(["vq-16"])}
    assert (16384, 8) not in products.shapes(["vq-16"])


def test_weights_are_beyond_the_caches(monkeypatch):
    monkeypatch.setattr(products, "BEYOND", 128 << 20)
    monkeypatch.setattr(products.machine, "cache_bytes", lambda: 64 << 20)
    found = products.cells(["arpg-l"], [2, 8], ["float32", "bfloat16"])
    assert len(found) == 2 * 2 * len(products.shapes(["arpg-l"]))
    for cell in found:
        assert cell.bytes == cell.f * cell.d * (4 if cell.dtype == "float32" else 2)
        assert cell.copies * cell.bytes >= min(256 << 20, 64 * cell.bytes)
        assert 2 <= cell.copies <= 64


def cell(rows=2, f=1024, d=1024, dtype="float32", copies=4):
    return Cell(rows, f, d, dtype, copies)


def timing(ours, rows=2, dtype="float32", **others):
    times = {"minigen": [ours] * 3, **{n: [s] * 3 for n, s in others.items()}}
    return Timing(cell(rows, dtype=dtype), times, 0.1)


def test_a_cell_is_judged_by_its_best_peer():
    one = timing(2e-3, openblas=3e-3, eager=1e-3)
    assert (one.peer, one.ratio) == ("eager", 0.5)
    assert timing(1e-3).ratio is None
    found = [one] + [
        timing(1e-3, n, openblas=4e-3, eager=s) for n, s in ((2, 2e-3), (8, 5e-3))
    ]
    made = Products(["arpg-l"], found, TOP, 3)
    said = products.summary(made, "float32")
    assert (said["worst"], said["median"], said["cells"]) == (0.5, 2.0, 3)
    assert (said["rows"], said["peer"]) == (2, "eager")
    assert products.summary(made, "bfloat16") is None
    text = products.report(made)
    assert "worst 0.50 (2 rows of 1024 x 1024, eager), 3 cells" in text
    json.dumps(products.to_json(made))


def test_what_a_cell_reaches_raises_the_ceilings():
    fast = timing(1e-3, rows=512, onednn=1e-4)
    top = products.raised(TOP, [fast])
    # 4 MB in 0.1 ms, and 1.07 GFLOP
    assert top.bandwidth == 4 * 2**20 / 1e-4 and top.peak == 2**30 / 1e-4
    assert top.multiplier == "onednn, 512 rows of 1024 x 1024, float32"
    made = Products(["arpg-l"], [fast], top, 3)
    assert 0 < products.share(made, fast) <= 1
    # instructions for bfloat16 are faster than any of float32
    half = timing(1e-3, rows=512, dtype="bfloat16", onednn=1e-4)
    assert products.raised(TOP, [half]).peak == TOP.peak
    # a cache delivers more than memory
    small = replace(fast, cell=cell(copies=1, d=64))
    assert products.raised(TOP, [small]).bandwidth == TOP.bandwidth
    assert products.share(made, replace(small, cell=cell(d=64, copies=1))) is None


def answers(side, monkeypatch, capsys):
    line = json.dumps(vars(cell(rows=3, f=70, d=40, copies=2)))
    monkeypatch.setattr(sys, "stdin", [line])
    monkeypatch.setattr(product_worker, "LEAST", 0.0)
    product_worker.serve(side)
    return json.loads(capsys.readouterr().out)


def plain_side(multiply=lambda x, w: x @ w.T):
    return Side(lambda w, rows: w, lambda x, dtype: x, multiply)


def test_a_wrong_product_is_no_result(monkeypatch, capsys):
    answer = answers(plain_side(), monkeypatch, capsys)
    assert answer["seconds"] > 0 and 0 < answer["off"] < 1
    wrong = plain_side(lambda x, w: x @ w.T * np.float32(1.001))
    answer = answers(wrong, monkeypatch, capsys)
    assert "times what rounding explains" in answer["error"]


def test_a_side_says_what_it_lacks_on_this_machine(monkeypatch, capsys):
    side = replace(plain_side(), lacks=lambda dtype: f"no instructions for {dtype}")
    assert answers(side, monkeypatch, capsys) == {
        "lacks": "no instructions for float32"
    }


def test_a_side_that_lacks_a_dtype_is_left_out_of_it(monkeypatch):
    """As oneDNN lacks bfloat16 where the processor has AVX2 alone."""

    def ask(name, line):
        if name == "onednn" and json.loads(line)["dtype"] == "bfloat16":
            return {"lacks": "needs avx512bw"}
        return {"seconds": 1e-3, "off": 0.1}

    monkeypatch.setattr(ceilings, "measure", lambda threads: TOP)
    monkeypatch.setattr(products, "sides_of", lambda dtype: ["minigen", "onednn"])
    monkeypatch.setattr(
        process, "start", lambda module, name, threads: nullcontext(name)
    )
    monkeypatch.setattr(process, "ask", ask)
    made = products.measure(["arpg-tiny"], rows=[2], runs=2)
    for dtype, sides in ("float32", {"minigen", "onednn"}), ("bfloat16", {"minigen"}):
        assert made.of(dtype)
        for one in made.of(dtype):
            assert {name: len(times) for name, times in one.seconds.items()} == (
                dict.fromkeys(sides, 2)
            )
    said = "onednn, bfloat16: left out, needs avx512bw"
    assert said in products.report(made)
    assert products.to_json(made)["lacking"] == {"onednn, bfloat16": "needs avx512bw"}


def test_rounding_to_bfloat16_is_allowed_where_rows_are_rounded():
    one = cell(rows=5, f=64, d=96, dtype="bfloat16")
    w = product_worker.draw(one)
    assert w.dtype == ml_dtypes.bfloat16
    x = np.random.default_rng(0).standard_normal((5, 96), np.float32)
    rounded = x.astype(ml_dtypes.bfloat16).astype(np.float32)
    y = (rounded @ w.astype(np.float32).T).astype(ml_dtypes.bfloat16)
    narrow = replace(plain_side(), narrow=True)
    assert product_worker.worst(one, x, w, y, narrow) < 1
    assert product_worker.worst(one, x, w, y, plain_side()) > 1


@pytest.mark.twin
def test_every_side_multiplies(monkeypatch, tmp_path):
    pytest.importorskip("numba")
    monkeypatch.setattr(ceilings, "measure", lambda threads: TOP)
    command = ["bench", "products", "--model", "arpg-tiny", "--rows", "2,7", "--runs"]
    said = CliRunner().invoke(
        app, [*command, "1", "--json", "--save", "--folder", str(tmp_path)]
    )
    assert said.exit_code == 0, said.output
    found = json.loads(said.stdout)
    torch = bool(importlib.util.find_spec("torch"))
    lacking = {tuple(who.split(", ")) for who in found["lacking"]}
    assert lacking <= {("onednn", "bfloat16")}
    assert len(found["cells"]) == 2 * 2 * len(products.shapes(["arpg-tiny"]))
    for one in found["cells"]:
        sides = {"minigen"} | ({"openblas"} if one["dtype"] == "float32" else set())
        sides |= {"eager", "onednn"} if torch else set()
        assert {*one["seconds"]} == {
            side for side in sides if (side, one["dtype"]) not in lacking
        }
        assert 0 <= one["off"] < 1
        assert one["share"] is None or one["share"] <= 1
    (path,) = tmp_path.iterdir()
    assert json.loads(path.read_text())["found"] == found


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--model", "arpg-q"], "'arpg-q' is not known"),
        (["--dtype", "float16"], "'float16' is not known"),
        (["--rows", "2,x"], "'2,x' is not a list such as 2,4,512"),
        (["--rows", "0"], "'0' is not a list"),
    ],
)
def test_what_cannot_be_multiplied_is_refused(arguments, message, monkeypatch):
    monkeypatch.setattr(ceilings, "measure", lambda threads: pytest.fail("measured"))
    said = CliRunner().invoke(app, ["bench", "products", *arguments])
    assert said.exit_code == 2 and message in said.output


def test_ceilings_are_the_best_of_several_ways():
    pytest.importorskip("numba")
    found = ceilings.reach(repeats=1, read=1 << 16, square=64, tiles=2)
    assert found.reader and found.multiplier and found.cache > 0
    assert found.bandwidth > 0 and found.peak > 0
    higher = replace(found, peak=2 * found.peak, multiplier="another", reader="none")
    best = ceilings.better(found, higher)
    assert (best.peak, best.multiplier) == (higher.peak, "another")
    assert (best.bandwidth, best.reader) == (found.bandwidth, found.reader)


SPILLS = """if True:
    import numba, re, sys
    import numpy as np
    from minigen.bench import ceilings

    f, i = numba.float32, numba.int64
    kernel = getattr(ceilings, sys.argv[1])
    loop = numba.njit(fastmath=True, error_model="numpy")(kernel.py_func)
    loop.compile((f[:, :, ::1], f[::1], i))
    (text,) = loop.inspect_asm().values()
    lines = text.splitlines()
    labels = {line.split(":")[0]: n for n, line in enumerate(lines) if ":" in line}
    loops = []
    for n, line in enumerate(lines):
        jump = re.search(r"\\tj\\w+\\s+(\\S+)$", line)
        if jump and labels.get(jump[1], n) < n:
            loops.append(lines[labels[jump[1]] : n])
    fused = [one for one in loops if any("vfmadd" in line for line in one)]
    inner = min(fused, key=len)
    print(sum(bool(re.search(r"[xyz]mm", x) and "(%rsp)" in x) for x in inner))
    print(sum("vfmadd" in line for line in inner))
"""


V3 = "+avx,+avx2,+fma"
V4 = V3 + ",+avx512f,+avx512vl,+avx512dq"


def spills(loop, cpu, features):
    """Return how many sums leave their register in a round, and products of one."""
    given = {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": features}
    said = subprocess.run(
        [sys.executable, "-c", SPILLS, loop], capture_output=True, text=True,
        env={**os.environ, **given}, check=True,
    )  # fmt: skip
    return [int(number) for number in said.stdout.split()]


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="not x86")
@pytest.mark.parametrize(
    "loop, least, cpu, features",
    [
        ("_three_by_three", 9, "x86-64-v3", V3),
        ("_three_by_three", 9, "x86-64-v4", V4),
        ("_four_by_four", 16, "x86-64-v4", V4),
    ],
)
def test_no_sum_of_a_ceiling_leaves_its_register(loop, least, cpu, features):
    pytest.importorskip("numba")
    left, products = spills(loop, cpu, features)
    assert products >= least and left == 0
    # sixteen sums are all registers of AVX2
    assert spills("_four_by_four", "x86-64-v3", V3)[0] > 0


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no signals here")
def test_a_side_that_waits_for_its_turn_uses_no_core():
    code = (
        "import sys, threading\n"
        "for line in sys.stdin:\n"
        "    print('{}', flush=True)\n"
        "    threading.Thread(target=lambda: [None for _ in iter(int, 1)], "
        "daemon=True).start()\n"
    )
    command = [sys.executable, "-c", code]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as side:
        try:
            assert process.ask(side, "go") == {}
            state = Path(f"/proc/{side.pid}/stat")
            end = time.monotonic() + 60
            while state.exists() and ") T " not in state.read_text():
                assert time.monotonic() < end
            assert process.ask(side, "go") == {}
        finally:
            side.kill()
