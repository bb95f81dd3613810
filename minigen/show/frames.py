"""What the step player shows: runs as frames, in plain numbers for JSON.

The data of every kind have a title, a note, `runs` (a name and frames each), how many
`lanes` are shown beside each other, the `cell` that is chosen first, and the `ramp` of
colours; with `abreast` both lanes show the same step, else the same share of their
steps. A frame of `decoding` holds what a `Step` and its `Details` hold: shares of one
are whole numbers of ten-thousandths, bits are hundredths, and the square roots of
attention are bytes. A frame of the others has a sentence, `say`, and panels, which are
boards of cells or densities; with `ask` and `answer` it asks to guess first.
"""

from __future__ import annotations

import base64
import inspect
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import numpy as np

from minigen import sample, simt
from minigen.errors import InputError, KernelError
from minigen.models import codes
from minigen.sample import Step
from minigen.show.player import RAMP, uri

LIKELIEST = 5
"""The codes at a cell that are shown."""

FINE = 100
"""The most cells of a grid for which the attention of all unknown cells and of every
layer is kept; of a larger one the cells that are drawn next, and the mean of layers."""

DECODED = 256
"""The most codes of a tokenizer of which those that were not drawn have a stamp too."""

APART = 3
"""Cells from one another at which codes are tried in a canvas."""

LONGEST = 16
"""Cells of memory in a row, for arrays of one row."""


def decoding(
    pipe,
    runs: dict[str, Sequence[Step]],
    title: str,
    note: str = "",
    picture: Callable | None = None,
    images: dict[str, int] | None = None,
) -> dict:
    """Return what the player shows of decoding runs: kinds decoding and attention.

    runs: the steps of each run by its name, with their details if tokens are codes; all
    on one grid. picture: from canvases (b ..) to images (b y x c), by default
    `pipe.picture`; images: which of its steps' images a run shows, the first one where
    nothing is said. Raises InputError.
    """
    runs = {name: list(steps) for name, steps in runs.items()}
    coded = pipe.kind is codes
    for name, steps in runs.items():
        if not steps or coded and any(step.details is None for step in steps):
            raise InputError(
                f"the run {name!r} has no steps, or no details of them; give "
                "list(pipe.steps(..., details=True))"
            )
    grids = {steps[0].canvas.shape[1:3] for steps in runs.values()}
    if len(grids) != 1:
        raise InputError(f"the runs have {len(grids)} grids; one page shows one grid")
    (grid,) = grids
    brief = grid[0] * grid[1] > FINE
    made, finished, layers = [], [], 0
    for name, steps in runs.items():
        image = (images or {}).get(name, 0)
        canvases = np.concatenate([step.canvas[image : image + 1] for step in steps])
        pictures = (picture or pipe.picture)(canvases)
        frames = [
            _frame(step, image, shown, brief)
            for step, shown in zip(steps, pictures, strict=True)
        ]
        made.append(
            {"name": name, "known": _known(pipe, steps[0], image), "frames": frames}
        )
        finished.append((canvases[-1], pictures[-1]))
        if coded and steps[0].details.attention is not None:
            layers = 1 if brief else steps[0].details.attention.shape[1]
    bits = [max(f["bits"]) for run in made for f in run["frames"] if "bits" in f]
    return {
        **_about(title, note, made, cell=made[0]["frames"][-1]["new"][0]),
        "grid": [*grid], "brief": brief, "layers": layers,
        "most": max(1, -(-max(bits, default=0) // 100)), "loudest": _loudest(runs),
        "keeps": "state" if pipe.generator.family == "aim" else "cache",
        "stamps": _stamps(pipe, made, finished, grid) if coded else {},
    }  # fmt: skip


def state(
    pipe, label: int, layer: int, heads: dict[str, int], title: str, note="", seed=0
) -> dict:
    """Return what the player shows of AiM's state: one layer, while an image is drawn.

    heads: the heads that are shown, by the names that they get. Of each the matrix is
    shown after every token, by the square roots of its numbers' sizes, and how much of
    it was kept when the token was read. Raises InputError.
    """
    if getattr(pipe.config, "mixer", None) != "mamba2":
        raise InputError("a state of heads is kept by AiM with Mamba-2 mixers alone")
    held, stays, layers = [], [], pipe.config.layers

    def noting(projected, *given):
        bias, a_log = (np.asarray(w, np.float32) for w in given[2:4])
        delta = pipe.ops.step_size(projected[..., -len(bias) :], bias, 0.0, np.inf)
        stays.append(np.exp(-np.exp(a_log) * delta)[0, 0])
        return pipe.ops.mamba2_step(projected, *given)

    def watch(name, memory):
        held.append(memory.states[layer].scan[0][[*heads.values()]].copy())

    ops = SimpleNamespace(**{**vars(pipe.ops), "mamba2_step": noting})
    run = pipe.generator.weights, pipe.config, pipe.plan(), [label], seed
    steps = list(sample.steps(ops, *run, pipe.options(), watch=watch))
    kept = np.reshape(stays, (len(steps), layers, -1))[:, layer, [*heads.values()]]
    most = np.abs(held).max((0, 2, 3))
    images = pipe.picture(np.concatenate([step.canvas for step in steps]))
    frames = []
    # the state before the question of a step has read all tokens before it
    for i in range(1, len(steps)):
        maps = [
            {
                **_cells(matrix.shape, f"{name} head: root of sizes"),
                "hide": True, "still": True,
                "values": _bytes(np.abs(matrix) / top), "scale": [0, f"{top:.2g}"],
            }
            for name, matrix, top in zip(heads, held[i], most, strict=True)
        ]  # fmt: skip
        shares = ", ".join(
            f"{name} {share:.0%}" for name, share in zip(heads, kept[i], strict=True)
        )
        frames.append({
            "say": f"token {i} of {len(steps)} was read",
            "ask": "How much of each matrix stays when this token is read?",
            "answer": f"of the matrix before, this much stays: {shares}",
            "panels": [_canvas(pipe.grid, images[i - 1], [i - 1]), *maps],
        })  # fmt: skip
    return _about(title, note, [{"name": f"layer {layer}", "frames": frames}])


def mixture(pipe, label: int, positions: dict[str, int], title: str, note="", **how):
    """Return what the player shows of ARINAR: the density of each feature of a token.

    positions: of the tokens that are shown, by the names that they get; how: order,
    schedule, steps and seed of the run, which is not guided. Raises InputError.
    """
    config = pipe.config
    if getattr(config, "group", None) != 1:
        raise InputError("features have densities of their own in ARINAR alone")
    said, seed = [], how.get("seed", 0)
    settings = pipe.options(guidance=1, temperature=1)
    run = pipe.ops, pipe.generator.weights, config, pipe.plan(**how), [label], seed

    def watch(name, value):
        if name == "mixtures":
            said.append(value)

    steps = list(sample.steps(*run, settings, watch=watch))
    line, runs = np.linspace(-5, 5, 101), []
    for name, position in positions.items():
        step = next(s for s in steps if position in s.positions)
        row, n = [*step.positions].index(position), step.tokens.shape[-1]
        image, frames = pipe.picture(step.canvas)[0], []
        canvas = _canvas(pipe.grid, image, [position])
        for j, x in enumerate(step.tokens[0, row].tolist()):
            parts = _components([part[row] for part in said[n * step.index + j]], line)
            high = parts.sum(0).max()
            density = {
                "title": f"density of feature {j + 1}, up to {high:.2g}", "hide": True,
                "parts": (1000 * parts / high).round().astype(int).tolist(),
                "x": [-5, 5], "unit": f"value of feature {j + 1}", "at": round(x, 3),
            }  # fmt: skip
            frames.append({
                "say": f"feature {j + 1} of {n}",
                "ask": "Where will the number fall?",
                "answer": f"drawn: {x:.2f}", "panels": [canvas, density],
            })  # fmt: skip
        runs.append({"name": name, "frames": frames})
    return _about(title, note, runs)


def threads(
    runs: dict[str, tuple], title: str, note="", seed: int | None = None
) -> dict:
    """Return what the player shows of a kernel: a frame for each access to memory.

    runs: by name, the kernel, the blocks, the threads of a block, and the arguments;
    each is interpreted in the schedule of a seed (`minigen.simt`), until its end or its
    first fault. The arrays that it touches have one or two axes.
    """
    made = [
        {"name": name, **_interpreted(*launch, seed=seed)}
        for name, launch in runs.items()
    ]
    return {**_about(title, note, made), "abreast": True}


def compiled(
    runs: dict[str, tuple], title: str, note="", ask="Which lanes run it?"
) -> dict:
    """Return what the player shows of a compiled kernel: a frame for each basic block.

    runs: by name, the kernel, the threads of its one block, at most a warp, and the
    arguments, which are changed. What is shown beside the lanes is its PTX; kind
    threads. Raises BackendError without the compiler.
    """
    made = [{"name": name, **_ran(*launch, ask=ask)} for name, launch in runs.items()]
    return {**_about(title, note, made), "abreast": True}


def _ran(kernel, threads, *arguments, ask):
    # brings numba
    from minigen import ptx

    program, frames, left = ptx.program(kernel, arguments), [], set()
    lines, begins = [], []
    for n, block in enumerate(program.blocks):
        begins.append(len(lines))
        lines += [f"block {n}", *(f"  {one.text}" for one in block.instructions)]

    def note(n, machine):
        runs = machine.thread[machine.lanes].tolist()
        waits = [t for t in machine.thread.tolist() if t not in runs]
        left.update({*range(threads)} - {*runs, *waits})
        number = len(program.blocks[n].instructions)
        frames.append({
            "say": f"block {n}", "ask": ask, "line": begins[n],
            "answer": f"{len(runs)} of {threads} lanes run {number} instructions",
            "panels": [{
                **_cells((-(-threads // 8), 8), "lanes; dashed: they wait"),
                "text": ["" if t in left else t for t in range(threads)],
                "new": runs, "wait": waits, "hide": True,
            }],
        })  # fmt: skip

    counts = ptx.Counts(program)
    counts.note_block = note
    program.launch((1, 1, 1), (threads, 1, 1), arguments, counts)
    return {"code": lines, "frames": frames}


def _interpreted(kernel, blocks, each, *arguments, seed):
    function = getattr(kernel, "py_func", kernel)
    lines, first = inspect.getsourcelines(function)
    shapes = [getattr(argument, "shape", ()) for argument in arguments]
    shapes = dict(zip(inspect.signature(function).parameters, shapes, strict=True))
    events = []

    def note(thread, what, cells, cell, index, frame):
        who = thread.block.index.x, thread.index.x
        if cells is None:
            events.append((who, what, None, 0, "", None, None))
            return
        place, value = (cells.name.split()[-1], id(cells)), cells.flat[cell]
        line = frame.f_lineno - first
        shapes.setdefault(cells.name.split()[-1], (cells.flat.size,))
        events.append((who, what, place, cell, index, value, line))

    fault = None
    try:
        simt.launch(kernel, blocks, each, *arguments, seed=seed, note=note)
    except KernelError as error:
        fault = error
    frames, seen, touched = [], {}, {}
    for _, _, place, cell, *_ in events:
        if place is not None:
            touched[place[0]] = max(cell + 1, touched.get(place[0], 0))
    # of a long row, as far as it is used
    for name, n in touched.items():
        if len(shapes[name]) == 1 and shapes[name][0] > LONGEST:
            shapes[name] = (n,)
    status = {(b, t): "" for b in range(blocks) for t in range(each)}
    for who, what, place, cell, index, value, line in events:
        block, thread = who
        if place is None:
            status[who] = "wait"
            if all(s == "wait" for (b, _), s in status.items() if b == block):
                status.update({(block, t): "" for t in range(each)})
            say = answer = f"thread {thread} of block {block} waits at {what}"
        else:
            cells = seen.setdefault(place, {})
            cells[cell] = thread if what != "reads" else cells.get(cell, "")
            say = f"thread {thread} of block {block}"
            answer = f"it {what} {place[0]}{index}: {value:.4g}"
        frames.append({
            "say": say, "ask": "Which cell does it touch?", "answer": answer,
            "line": line, "panels": _machine(status, who, seen, shapes, place, cell),
        })  # fmt: skip
    if fault is not None:
        frames[-1] |= {
            "say": f"{frames[-1]['say']}: {fault.kind}",
            "answer": str(fault),
        }
    lines = inspect.cleandoc("".join(lines)).split("\n")
    return {"code": lines, "frames": frames}


def _machine(status, who, seen, shapes, place, cell):
    blocks, each = (n + 1 for n in max(status))
    panels = [{
        **_cells((blocks, each), "threads, a row for each block"), "still": True,
        "text": [t for b in range(blocks) for t in range(each)],
        "new": [who[0] * each + who[1]],
        "wait": [b * each + t for (b, t), s in status.items() if s],
    }]  # fmt: skip
    latest = {}
    for key in seen:
        # shared memory is another one for each block: the one used last is shown
        latest[key[0]] = key
    if place is not None:
        latest[place[0]] = place
    for name, key in latest.items():
        shape = (1, *shapes[name])[-2:]
        if shape[0] == 1 and shape[1] > LONGEST:
            shape = -(-shape[1] // LONGEST), LONGEST
        text = [seen[key].get(p, "") for p in range(shape[0] * shape[1])]
        panels.append({
            **_cells(shape, f"{name}: the thread that wrote it"), "text": text,
            "new": [cell] if key == place else [], "hide": True, "still": True,
        })  # fmt: skip
    return panels


def _about(title, note, runs, cell=0):
    lanes = min(2, len(runs))
    about = {"title": title, "note": note, "lanes": lanes, "cell": cell, "layers": 0}
    return {**about, "ramp": RAMP, "runs": runs}


def _cells(shape, title):
    return {"title": title, "rows": shape[0], "columns": shape[1]}


def _canvas(grid, image, positions):
    new = [int(p) for p in positions]
    return {**_cells(grid, "canvas"), "image": uri(image), "new": new, "still": True}


def _components(mixture, x):
    """Return w_k N(x; m_k, s_k^2) of a mixture at points x (n): (g n)."""
    w, m, log_variance = (
        np.asarray(part, np.float64).reshape(-1, 1) for part in mixture
    )
    v = np.exp(log_variance)
    return w * np.exp(-((x - m) ** 2) / (2 * v)) / np.sqrt(2 * np.pi * v)


def _frame(step, image, shown, brief):
    positions = np.atleast_2d(step.positions)
    new = positions[min(image, len(positions) - 1)]
    tokens = step.tokens[image]
    frame = {
        "new": new.tolist(), "weight": round(float(step.weight), 2),
        "image": uri(shown),
    }  # fmt: skip
    if step.probabilities is None:
        return {**frame, "vectors": tokens.astype(float).round(2).tolist()}
    found = step.details
    p = found.probabilities[image]
    top = np.argsort(-p, axis=-1, kind="stable")[:, :LIKELIEST]
    drawn = step.probabilities[image, np.arange(len(tokens)), tokens]
    surprise = -(p * np.log2(np.where(p > 0, p, 1))).sum(-1)
    frame |= {
        "tokens": tokens.tolist(), "p": _whole(drawn, 1e4),
        "open": found.positions[image].tolist(), "bits": _whole(surprise, 100),
        "top": top.tolist(), "topp": _whole(np.take_along_axis(p, top, -1), 1e4),
        "keeps": found.keeps // len(step.tokens),
    }  # fmt: skip
    if found.attention is not None:
        frame["turn"] = _whole(found.in_turn[image], 1e4)
        frame["read"] = _bytes(_read(found, image, new, brief))
    return frame


def _read(found, image, new, brief):
    """Return the attention (l u 1+k) of an image, the mean of its heads."""
    read = found.attention[image].mean(1)
    if brief:
        where = {p: i for i, p in enumerate(found.positions[image].tolist())}
        read = read[:, [where[p] for p in new.tolist()]].mean(0, keepdims=True)
    return read


def _loudest(runs):
    """Return the share at which the scale of attention ends, in hundredths of one."""
    shares = [
        step.details.attention[0, ..., 1:].mean(1).ravel()
        for steps in runs.values()
        for step in steps[len(steps) // 4 :]
        if step.details is not None and step.details.attention is not None
    ]
    shares = np.concatenate([*shares, np.zeros(1)])
    return max(1, int(np.ceil(100 * np.percentile(shares, 95)))) / 100


def _known(pipe, step, image):
    """Return the positions known before the first step, in the order of reading."""
    if step.details is not None:
        return step.details.known[image].tolist()
    known = pipe.kind.is_known(step.canvas)[image].ravel()
    new = np.atleast_2d(step.positions)
    known[new[min(image, len(new) - 1)]] = False
    return np.flatnonzero(known).tolist()


def _stamps(pipe, made, finished, grid):
    """Return one sheet of what codes decode to, 16 a row, and which codes these are.

    What a code shows depends on the codes around it. So it is cut out of a finished
    image: where it was drawn, or else where a run found it most likely.
    """
    side = pipe.tokenizer_config.factor
    found, best = {}, {}

    def cut(image, p, code):
        y, x = (side * n for n in divmod(p, grid[1]))
        found[code] = image[y : y + side, x : x + side]

    for canvas, image in finished:
        for p, code in enumerate(canvas.ravel().tolist()):
            if code not in found:
                cut(image, p, code)
    if pipe.tokenizer_config.codes <= DECODED:
        for (canvas, _), run in zip(finished, made, strict=True):
            for frame in run["frames"]:
                rows = zip(frame["open"], frame["top"], frame["topp"], strict=True)
                for p, likely, shares in rows:
                    for code, share in zip(likely, shares, strict=True):
                        if code not in found and share > best.get(code, (-1,))[0]:
                            best[code] = share, p, canvas
        for canvas, cells in _apart(best, grid):
            (image,) = pipe.decode(canvas[None])
            for p, code in cells.items():
                cut(image, p, code)
    tiles, rows = np.stack([*found.values()]), -(-len(found) // 16)
    sheet = np.zeros((16 * rows, *tiles.shape[1:]), np.uint8)
    sheet[: len(tiles)] = tiles
    sheet = sheet.reshape(rows, 16, side, side, 3).swapaxes(1, 2)
    sheet = sheet.reshape(rows * side, 16 * side, 3)
    return {"src": uri(sheet), "columns": 16, "rows": rows, "codes": [*found]}


def _apart(best, grid):
    """Return canvases in which a few codes stand where they are likely, far apart.

    best: for each code a share, a position and a canvas. Returns pairs of a canvas and
    the code at each position that was changed.
    """
    made = []
    for code, (_, p, canvas) in best.items():
        here, room = np.array(divmod(p, grid[1])), None
        for of, *changed in made:
            others = np.array([divmod(q, grid[1]) for q in changed[1]])
            if of is canvas and np.abs(others - here).max(1).min() >= APART:
                room = changed
                break
        if room is None:
            room = [canvas.copy(), {}]
            made.append((canvas, *room))
        room[0].reshape(-1)[p] = room[1][p] = code
    return [(changed, cells) for _, changed, cells in made]


def _whole(values, times):
    return np.round(np.asarray(values, np.float64) * times).astype(int).tolist()


def _bytes(shares):
    """Return shares of 0 .. 1 as text: base64 of 255 times their square roots."""
    roots = np.round(255 * np.sqrt(np.clip(shares, 0, 1))).astype(np.uint8)
    return base64.b64encode(roots.tobytes()).decode()
