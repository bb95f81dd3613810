"""What each instruction of PTX is in NumPy: templates, and whom lanes wait for.

An instruction that is no template has a method of its name in translation.py.

Source: NVIDIA, PTX ISA 8.7, section 9.7.
"""

from __future__ import annotations

import re

from minigen.ptx.numbers import F16, F32, F64

SIMPLE = {
    "and": "{a} & {b}", "or": "{a} | {b}", "xor": "{a} ^ {b}", "not": "~{a}",
    "neg": "-{a}", "abs": "abs({a})", "cvta": "{a}", "rem": "np.fmod({a}, {b})",
    "div.i": "divide({a}, {b})", "div.f": "{a} / {b}",
    "min.i": "np.minimum({a}, {b})", "min.f": "smallest({a}, {b})",
    "max.i": "np.maximum({a}, {b})", "max.f": "largest({a}, {b})",
    "sqrt": "np.sqrt({a})", "rcp": "{a}.dtype.type(1) / {a}",
    "ex2": "ex2({a})", "lg2": "lg2({a})", "sin": "sine({a})", "cos": "cosine({a})",
    "tanh": "tanh({a})", "rsqrt": "rsqrt({a})", "copysign": "np.copysign({b}, {a})",
    "brev": "reverse({a})", "bfi": "insert({a}, {b}, {c}.astype(U32), {d}.astype(U32))",
    "mad": "{a} * {b} + {c}",
    "sad": "np.maximum({a}, {b}) - np.minimum({a}, {b}) + {c}",
    "prmt": "permute({a}, {b}, {c})",
}  # fmt: skip
"""Instructions whose operands all have the type that their last word names."""

COUNTS = {"popc": "ones({a})", "clz": "zeros({a})"}
"""Instructions that give 32 bits whatever they take."""

SUMS = {
    "add": ("{a} + {b}", "odd({a}.astype(F64), {b}.astype(F64))"),
    "sub": ("{a} - {b}", "odd({a}.astype(F64), -{b}.astype(F64))"),
    "mul": ("{a} * {b}", "{a}.astype(F64) * {b}"),
    "fma": ("fma({a}, {b}, {c})", "odd({a}.astype(F64) * {b}, {c}.astype(F64))"),
    "div": ("{a} / {b}", "{a}.astype(F64) / {b}"),
    "rcp": ("one / {a}", "1 / {a}.astype(F64)"),
    "sqrt": ("np.sqrt({a})", "np.sqrt({a}.astype(F64))"),
}
"""Of float32: to the nearest, and in float64 (rounded to odd) for other roundings."""

SUMS64 = {
    "add": "add64({a}, {b}, {rounding!r})", "sub": "add64({a}, -{b}, {rounding!r})",
    "mul": "multiply64({a}, {b}, {rounding!r})", "sqrt": "root64({a}, {rounding!r})",
    "div": "divide64({a}, {b}, {rounding!r})",
    "rcp": "divide64(np.ones(1), {a}, {rounding!r})",
    "fma": "fma64({a}, {b}, {c}, {rounding!r})",
}  # fmt: skip
"""Of float64, in roundings other than to the nearest; fma in that one too."""

COMPARISONS = {
    "eq": "{a} == {b}", "lt": "{a} < {b}", "le": "{a} <= {b}", "gt": "{a} > {b}",
    "ge": "{a} >= {b}", "ne": "({a} < {b}) | ({a} > {b})", "neu": "{a} != {b}",
    "ltu": "~({a} >= {b})", "leu": "~({a} > {b})", "gtu": "~({a} <= {b})",
    "geu": "~({a} < {b})", "equ": "~(({a} < {b}) | ({a} > {b}))",
    "nan": "is_nan({a}, {b})", "num": "~is_nan({a}, {b})",
    "lo": "{a} < {b}", "ls": "{a} <= {b}", "hi": "{a} > {b}", "hs": "{a} >= {b}",
}  # fmt: skip
"""What a NaN makes false, and with a u at the end what it makes true."""

WAITS = {
    r"(bar|barrier)(\.cta)?\.(sync|red)\b.*": "block",
    r"bar\.warp\.sync": "warp", r"shfl\.sync\.(up|down|bfly|idx)\.b32": "warp",
    r"vote\.sync\.(ballot\.b32|(any|all|uni)\.pred)": "warp",
    r"match\.(any|all)\.sync\.b(32|64)": "warp",
    r"mma\.sync\.aligned\.m16n8k16\.row\.col\.f32\.bf16\.bf16\.f32": "aligned",
}  # fmt: skip
"""What lanes do together, and whom they wait for (see Block)."""

SYNCHRONIZE = "cudaCGSynchronize"
"""The function that all threads of the grid call where they meet."""

HALF = {
    "pl __hadd": "{0} + {1}", "mi __hsub": "{0} - {1}", "ml __hmul": "{0} * {1}",
    "dv __hdiv": "{0} / {1}", "ng __hneg": "-{0}", "__habs": "abs({0})",
    "lt __hlt": "{0} < {1}", "le __hle": "{0} <= {1}", "gt __hgt": "{0} > {1}",
    "ge __hge": "{0} >= {1}", "eq __heq": "{0} == {1}", "ne __hne": "{0} != {1}",
    "__hmax": "largest({0}, {1})", "__hmin": "smallest({0}, {1})",
    "__hfma": "odd({0}.astype(F64) * {1}, {2}.astype(F64))", "hrint": "np.rint({0})",
    "hfloor": "np.floor({0})", "hceil": "np.ceil({0})", "htrunc": "np.trunc({0})",
    "hsqrt": "np.sqrt({0}.astype(F64))", "hrsqrt": "1 / np.sqrt({0}.astype(F64))",
    "hrcp": "1 / {0}.astype(F64)", "hexp": "np.exp({0}.astype(F64))",
    "hexp2": "np.exp2({0}.astype(F64))", "hexp10": "10.0 ** {0}.astype(F64)",
    "hlog": "np.log({0}.astype(F64))", "hlog2": "np.log2({0}.astype(F64))",
    "hlog10": "np.log10({0}.astype(F64))", "hsin": "np.sin({0}.astype(F64))",
    "hcos": "np.cos({0}.astype(F64))",
}  # fmt: skip
"""Functions of float16 that are linked to a kernel later, by their names in C++: they
take the address of the result, and those of the operands."""

HALF = {name: template for names, template in HALF.items() for name in names.split()}

ENDS = ("bra", "ret", "exit")

NOTHING = ("membar", "fence", "nanosleep", "pragma", "prefetch")
"""Instructions that compute nothing."""

MODIFIERS = frozenset(
    ("volatile", "relaxed", "acquire", "release", "acq_rel", "weak", "gpu", "sys",
     "cta", "nc", "ca", "cg", "cs", "cv", "lu", "wb", "wt", "v2", "v4", "L1", "L2")
)  # fmt: skip
"""Words of loads, stores and atomics that name neither space nor type."""

SPACES = ("global", "shared", "local", "const", "param")

SPECIAL = {f"%{name}.{axis}" for name in ("tid", "ntid", "ctaid", "nctaid")
           for axis in "xyz"}  # fmt: skip
SPECIAL |= {"%laneid", "%warpid", "%nwarpid", "%dynamic_smem_size"}
SPECIAL |= {f"%lanemask_{which}" for which in ("lt", "le", "eq", "ge", "gt")}
CLOCKS = ("%clock", "%clock_hi", "%clock64", "%globaltimer")

ATOMICS = ("add", "min", "max", "and", "or", "xor", "exch", "cas", "inc", "dec")

CARRIED = ("add", "addc", "sub", "subc", "mad", "madc")
"""Instructions that take a carry, give one, or both."""


def waits(instruction) -> str | None:
    """Return whom an instruction waits for, None if it waits for nobody."""
    if instruction.root == "call":
        return "grid" if instruction.operands[1] == SYNCHRONIZE else None
    for pattern, whom in WAITS.items():
        if re.fullmatch(pattern, instruction.opcode):
            return whom
    return None


def floating(root, words, dtype) -> str:
    """Return the template of an instruction on floats. KeyError: there is none."""
    rounding = {"rz", "rm", "rp"} & {*words}
    if {*words[:-1]} - {"rn", "rz", "rm", "rp", "ftz", "sat", "approx", "full"}:
        raise KeyError(words)
    if dtype == F64 and "approx" in words:
        text = {"rcp": "1 / {a}", "rsqrt": "1 / np.sqrt({a})"}[root]
        return f"short({text})" if "ftz" in words else text
    if dtype != F32 and root in ("ex2", "lg2", "sin", "cos", "tanh", "rsqrt"):
        raise KeyError(root)
    if dtype == F64 and (rounding or root == "fma"):
        return SUMS64[root]
    if root in SUMS and rounding:
        if dtype != F32:
            raise KeyError(rounding)
        return f"narrow({SUMS[root][1]}, {{rounding!r}})"
    if dtype == F16 and root == "fma":
        return f"({SUMS['fma'][1]}).astype(F16)"
    if root == "mad":
        root = "fma"
    if root in SUMS and root != "rcp":
        return SUMS[root][0]
    return SIMPLE.get(root) or SIMPLE[f"{root}.f"]


def plain(name) -> str:
    """Return the name of a function of C++ without the types that it takes."""
    length, rest = re.match(r"_Z(?:L(\d+))?(.*)", name).groups()
    return rest[: int(length)] if length else rest[:2]
