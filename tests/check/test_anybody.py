"""A kernel of anybody's against a function of anybody's, in Python and as a command."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import minigen
from minigen.checking import anybody, loading, once
from minigen.cli import app
from minigen.errors import InputError, KernelError

# the referee imports it, and so do the kernels
pytestmark = pytest.mark.needs("numba")

FILE = Path(__file__).parent / "others.py"

SOUND = {
    "axpy": ("axpy_reference", "x (n), y (n), a -> z (n)", "(n + 31) // 32", 32, {}),
    "softmax": ("softmax_reference", "x (n d) -> y (n d)", "n", 1, {}),
    "block_sums": (
        "block_sums_reference",
        "x (n), m -> y (m) where 1 <= m <= 3, n = 16 m", "m", 16,
        {"dynamic": "4 * block"},
    ),
    "transpose": (
        "transpose_reference", "x (n d) -> y (d n)",
        lambda n, d: (-(-d // 8), -(-n // 8)), (8, 8), {},
    ),
    "histogram": (
        "histogram_reference", "ids (n), out (k) -> where out is changed, "
        "0 <= ids < k", "(n + 7) // 8", 8, {"dtypes": {"out": np.int32}},
    ),
    "gather": (
        "gather_reference", "x (t d), ids (n) -> y (n d) where 0 <= ids < t", "n", 4,
        {"dtypes": {"ids": "int32"}},
    ),
    "mean_and_largest": (
        "mean_and_largest_reference", "x (n d) -> mean (n), largest (n)", "n", 1, {},
    ),
    "clip": (
        "clip_reference", "x (n), least, most -> x (n)", "(n + 31) // 32", 32,
        {"values": {"least": (-1, 0), "most": (0.5, 3)}},
    ),
    "in_float64": ("in_float64_reference", "x (n) -> y (n)", "(n + 31) // 32", 32, {}),
    "first_of_all": (
        "first_of_all_reference", "x (n), n -> y (n)", "(n + 31) // 32", 32,
        {"dtypes": {"x": "float64"}},
    ),
    "copy": ("copy_reference", "x (n) -> y (n)", "(n + 31) // 32", (8, 2, 2), {}),
}  # fmt: skip
"""Of each right kernel: its reference, their signature, grid, block, and options."""

FAULTY = {
    "axpy_short": ("axpy", "never written", "nobody wrote z["),
    "axpy_unguarded": ("axpy", "bounds", "outside of its shape"),
    "softmax_of_exp": ("softmax", "wrong value", "y[0, 0] is"),
    "block_sums_unsynced": ("block_sums", "race", "on shared s["),
    "histogram_raced": ("histogram", "race", "on out["),
    "writes_its_input": ("copy", "input changed", "wrote into its input x"),
}
"""Of each wrong kernel: the right one it comes from, and what is to be found."""

SIGNED = "x (n), y (n), a -> z (n)"
HOW = {"grid": "(n + 31) // 32", "block": 32}


def check(kernel, like=None, **more):
    """Check a kernel of others.py as another one of them is."""
    reference, signature, grid, block, options = SOUND[like or kernel]
    return minigen.check(
        f"{FILE}:{kernel}", f"{FILE}:{reference}", signature, grid=grid, block=block,
        **{"examples": 6, "backend": "interpreter", **options, **more},
    )  # fmt: skip


@pytest.mark.parametrize("kernel", SOUND)
def test_a_right_kernel_is_well(kernel):
    report = check(kernel)
    assert report.ok, str(report)
    assert report.rows[0].cases == 6 and report.rows[0].function == kernel


@pytest.mark.needs("compiler")
@pytest.mark.parametrize("kernel", SOUND)
def test_a_right_kernel_is_well_as_the_compiler_made_it(kernel):
    report = check(kernel, backend="ptx")
    assert report.ok and report.rows[0].cases == 6, str(report)


@pytest.mark.parametrize("kernel", FAULTY)
def test_a_wrong_kernel_is_named(kernel):
    like, kind, words = FAULTY[kernel]
    report = check(kernel, like, examples=20)
    assert [f.kind for f in report.findings] == [kind], str(report)
    assert words in report.findings[0].message and not report.ok
    assert report.findings[0].case


def test_a_failing_case_is_made_small():
    report = check("axpy_short", "axpy", examples=20)
    assert "x (1) float32" in report.findings[0].case, str(report)


def test_the_tolerance_may_be_given():
    assert not check("softmax_of_exp", "softmax", values={"x": (-2, 2)}).ok
    assert check("softmax_of_exp", "softmax", values={"x": (-2, 2)}, tolerance=1e-2).ok
    lax = check("softmax_of_exp", "softmax", values={"x": (-2, 2)},
                tolerance=lambda x: np.full(x.shape, 0.1))  # fmt: skip
    assert lax.ok


@pytest.mark.needs("compiler")
def test_float64_is_a_note_and_no_fault():
    report = check("in_float64")
    assert report.ok and "float64 arithmetic" in report.notes[0]


def test_functions_that_are_no_kernels_are_checked_too():
    said = f"{FILE}:softmax_reference"
    report = minigen.check(said, said, "x (n d) -> y (n d)", examples=5)
    assert report.ok and report.rows[0].backend == "numpy"

    def wrong(x):
        return np.exp(x) / np.exp(x).sum(-1, keepdims=True) + np.float32(1e-3)

    report = minigen.check(wrong, said, "x (n d) -> y (n d)", examples=5)
    assert [f.kind for f in report.findings] == ["wrong value"]


def test_sizes_values_and_rules_are_kept():
    seen = []

    def reference(x, ids, m, eps):
        seen.append((x.shape, int(ids.max()), m, float(x.min()), eps))
        return x

    pair = anybody.pair(
        loading.subject(lambda x, ids, m, eps: x), reference,
        "x (n 2d), ids (n), m, eps -> y (n 2d) where 0 <= ids < m, 2 <= m <= n, "
        "32 divides d",
        choices=anybody.choices(
            sizes={"n": (5, 6)}, values={"x": (1, 2), "eps": (1e-5,)}
        ),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    for _ in range(20):
        try:
            case = pair.draw(once.Plain(rng))
        except InputError as error:
            assert error is once.AGAIN
            continue
        x, ids, m = case["x"], case["ids"], case["m"]
        assert x.shape[0] in (5, 6) and x.shape[1] % 64 == 0 and x.min() >= 1
        assert ids.min() >= 0 and ids.max() < m and 2 <= m <= x.shape[0]
        assert case["eps"] == float(np.float32(1e-5))


def test_a_grid_is_numbers_letters_or_a_function():
    sizes = {"n": 33, "d": 5, "block": 64}
    for given, expected in {
        7: (7, 1, 1),
        (2, 3): (2, 3, 1),
        "(n + 31) // 32, d": (2, 5, 1),
        "min(n, 4), max(d, 9), 2,": (4, 9, 2),
        "-(-n // block)": (1, 1, 1),
    }.items():
        assert anybody.launched("grid", given, sizes) == expected
    assert anybody.launched("grid", lambda d, n: (d, n), sizes) == (5, 33, 1)
    for wrong in ("q", "n +", "n.size", (1, 2, 3, 4), 2.5, lambda q: q, "__import__"):
        with pytest.raises(InputError, match="grid"):
            anybody.launched("grid", wrong, sizes)


WRONG = {
    "needs grid and block": (SIGNED, {}, "how it is launched"),
    "no arrow": ("x (n), y (n), a", HOW, "signature"),
    "no result": ("x (n), y (n), a ->", HOW, "names no result"),
    "too many": ("x (n), y (n), a, b -> z (n)", HOW, "neither axpy nor axpy_ref"),
    "unknown letter": ("x (n), y (n), a -> z (m)", HOW, "does not say what m is"),
    "unknown block": (SIGNED, {**HOW, "block": "q"}, "holds q"),
    "unknown dtype": (SIGNED, {**HOW, "dtypes": {"x": "f99"}}, "no dtype"),
    "unknown name": (SIGNED, {**HOW, "values": {"xx": (1,)}}, "stands nowhere"),
    "no size": (SIGNED, {**HOW, "sizes": {"n": ()}}, "none to draw from"),
    "size 0": (SIGNED, {**HOW, "sizes": {"n": 0}}, "sizes: n"),
    "wrong result": ("x (n), y (n), a -> z (2n)", HOW, "of shape"),
    "never": (f"{SIGNED} where 9 <= n, n <= 8", HOW, "no case was found"),
    "three arrays": ("x (n), y (n), a -> z (n), u (n)", HOW, "takes 4 arguments"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_go_together_is_said(case):
    signature, how, words = WRONG[case]
    with pytest.raises(InputError, match=words):
        minigen.check(
            f"{FILE}:axpy", f"{FILE}:axpy_reference", signature, examples=3, **how
        )


def test_the_face_says_what_is_missing():
    with pytest.raises(InputError, match="the reference is missing"):
        minigen.check(lambda x: x)
    with pytest.raises(InputError, match="the signature is missing"):
        minigen.check(lambda x: x, lambda x: x)
    with pytest.raises(InputError, match="grid is about a kernel of yours"):
        minigen.check("rms_norm", grid=3)
    with pytest.raises(InputError) as error:
        minigen.check("rms_nrom")
    assert "did you mean rms_norm" in str(error.value)
    assert "--against FILE.py:FUNCTION" in str(error.value)
    assert len(str(error.value)) < 400


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run a command in an empty folder; demand an exit status, return what it said."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments, status=0):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == status, result.output
        return result.output

    return call


def test_check_as_a_command(run):
    axpy = ("check", f"{FILE}:axpy", "--against", f"{FILE}:axpy_reference")
    how = ("--signature", SIGNED, "--grid", HOW["grid"], "--block", 32)
    drawn = ("--size", "n=3,40", "--value", "a=2,3", "--dtype", "x=float32")
    report = json.loads(run(*axpy, *how, *drawn, "--examples", 3, "--json"))
    assert report["ok"] and report["rows"][0]["function"] == "axpy"
    assert "needs --against" in run("check", f"{FILE}:axpy", status=2)
    assert "needs --signature" in run(*axpy, status=2)
    for option in ("--size=n", "--size=n=x", "--value=a=x", "--dtype=x"):
        assert option[2:6] in run(*axpy, *how, option, status=2)
    assert "about a kernel of yours" in run("check", "rms_norm", "--grid", 3, status=2)
    assert "an op of ours" in run(*axpy, *how, "--as", "q", status=2)


def test_run_as_a_command(run, tmp_path):
    how = ("--signature", SIGNED, "--grid", 1)
    said = run("run", f"{FILE}:axpy", *how, "--schedules", 2)
    assert "z (8) float32" in said and "32 threads, 0 barriers" in said
    np.save("x.npy", np.arange(5, dtype=np.float32))
    given = ("--array", "x=x.npy", "--value", "a=2")
    found = json.loads(
        run("run", f"{FILE}:axpy", *how, *given, "--json", "--save", "z.npz")
    )
    assert np.load("z.npz")["z"].tolist() == found["outputs"]["z"]
    assert len(found["outputs"]["z"]) == 5 and found["reads"]["x"] == [1, 1]
    said = run("run", f"{FILE}:axpy_unguarded", *how, status=1)
    assert "bounds: thread 8 of block 0" in said and "others.py:" in said
    said = run("run", f"{FILE}:axpy_short", *how)
    assert "note: 1 cells of z were never written" in said
    np.save("ones.npy", np.zeros(5, np.float32))
    each = [f"--array={name}=ones.npy" for name in "xyz"]
    assert "z (5)" in run("run", f"{FILE}:axpy", *each, "--value=a=1")
    assert "'q'" in run("run", f"{FILE}:axpy", *how, "--size=q=3", status=2)
    assert "nothing is given for y, z" in run(
        "run", f"{FILE}:axpy", "--array=x=ones.npy", "--value=a=1", status=2
    )


def test_run_of_a_program(run, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\nimport numpy as np\nfrom numba import cuda\n"
        "@cuda.jit('void(float32[:], float32)')\n"
        "def scale(x, a):\n    x[cuda.grid(1)] *= a\n"
        "x = cuda.to_device(np.ones(4, np.float32))\n"
        "scale[1, int(sys.argv[1])](x, 0.5)\nprint(x.copy_to_host())\n"
    )
    assert "[0.5 0.5 0.5 0.5]" in run("run", "program.py", 4)
    assert "bounds: thread 4 of block 0" in run("run", "program.py", 5, status=1)
    assert "was not found" in run("run", "none.py", status=2)


def test_several_schedules_say_where_they_differ():
    ids, out = np.zeros(40, np.int64), np.zeros(3, np.int32)
    subject = loading.subject(loading.load(f"{FILE}:histogram"))
    how = {"given": {"ids": ids, "out": out}, "schedules": range(4)}
    found = once.run(subject, 2, 32, **how)
    assert out.tolist() == [40, 0, 0] and not found.report.differs
    with pytest.raises(KernelError, match="in schedule 0"):
        once.run(subject, 1, 32, given={"ids": ids + 7, "out": out}, schedules=[0])


def test_integers_are_drawn_and_compared_in_all_their_bits():
    """A float64 holds 53 of 64 bits: what differs in the last one is wrong."""
    seen = []

    def before(x):
        seen.append(x)
        return x - np.uint64(1)

    def through_float64(x):
        return (x.astype(np.float64) - 1).astype(np.uint64)

    how = {"dtypes": {"x": "uint64"}, "values": {"x": (2**63, 2**64 - 1)}}
    assert minigen.check(before, before, "x (n) -> y (n)", **how).ok
    assert any(int(x) % 2 for drawn in seen for x in drawn)
    report = minigen.check(through_float64, before, "x (n) -> y (n)", **how)
    assert [found.kind for found in report.findings] == ["wrong value"]
    how["dtypes"]["x"] = "int64"
    with pytest.raises(InputError, match="int64 goes from -9223372036854775808"):
        minigen.check(before, before, "x (n) -> y (n)", **how)
