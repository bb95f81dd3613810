"""The three parts of a GPU bench: kernels, launches, and images of a full model."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass, field
from statistics import median

import numpy as np

from minigen import backends, packing, recorded
from minigen import sample as loop
from minigen.bench.gpu import cases, kernels, report, timing
from minigen.errors import BackendError
from minigen.ops.linear import cublas

COPIED = 1 << 28
"""Floats that are copied to measure the memory: 1 GiB read and as much written."""

SIDE = 4096
"""Rows and columns of the matrices that are multiplied to measure arithmetic."""

LAUNCHES = 1000
"""Launches of a kernel that does nothing, to measure launching."""


@dataclass
class Watched:
    """A device that notes the names of the kernels it is asked to launch."""

    device: object
    names: list = field(default_factory=list)

    def __getattr__(self, name):
        return getattr(self.device, name)

    def launch(self, kernel, grid, block, *arguments):
        """Launch a kernel, and note FILE.KERNEL."""
        function = kernel.py_func
        name = f"{function.__module__}.{function.__name__}"
        self.names.append(name.removeprefix("minigen.ops."))
        self.device.launch(kernel, grid, block, *arguments)


def measure_kernels(fresh, chosen: list, top: dict, say) -> dict:
    """Return the time of every case, against the ceilings measured before it.

    fresh() returns a new device and its clock: one for each case, so that the memory of
    one is free for the next.
    """
    rows = []
    for i, one in enumerate(chosen):
        say(f"kernels {i + 1}/{len(chosen)}: {one.name}")
        rows.append(measure_case(*fresh(), one))
        rows[-1] |= report.rates(rows[-1], top)
    return {"ceilings": top, "rows": rows}


def measure_case(device, clock, one: cases.Case) -> dict:
    """Return a case with its kernels and the seconds of a call."""
    watched = Watched(device)
    function = getattr(backends.table("cuda", watched), one.function)
    count = timing.rounds(one.bytes)
    sets = [_put(device, one.make(seed)) for seed in range(count)]
    calls = [lambda given=given: function(*given) for given in sets]
    calls[0]()
    names = list(dict.fromkeys(watched.names))
    # some twenty launches at least: a graph of one is shorter than its own start
    again = -(-20 // count)
    seconds = timing.replayed(device, clock, calls, again)
    return {
        "name": one.name, "function": one.function, "kernels": names, "sets": count,
        "bytes": one.bytes, "operations": one.operations, "seconds": seconds,
    }  # fmt: skip


def ceilings(device, clock, say, copied=COPIED, side=SIDE) -> dict:
    """Return bytes copied a second and operations of a matrix product a second.

    The copy is a kernel of ours. The products are the best of ours and, where they are
    installed, cuBLAS's and PyTorch's (in a process of its own); each says which it was.
    """
    say("measuring the ceilings")
    x = device.put(np.random.default_rng(0).random(copied, np.float32))
    copying = timing.replayed(device, clock, [lambda: kernels.copy(device, x)], 5)
    del x
    top = {"copy": 2 * 4 * copied / copying, "copy_by": "a copy kernel of minigen"}
    ours = backends.table("cuda", device).linear
    theirs = torch_products(side)
    for dtype in ("float32", "bfloat16"):
        left, right = cases.Array((1, side, side)), cases.Array((side, side), dtype)
        x, w = device.put(left.make(0)), device.put(right.make(1))
        products = {"minigen's linear": ours}
        if dtype == "float32":
            products |= cublas_products(device)
        found = {"PyTorch's product": theirs[dtype]} if dtype in theirs else {}
        for name, product in products.items():
            product(x, w)
            times = timing.repeat(lambda run=product, x=x, w=w: clock.gpu(
                lambda: run(x, w)))  # fmt: skip
            found[name] = cases.operations("linear", left, right) / median(times)
        by = max(found, key=found.get)
        top |= {dtype: found[by], f"{dtype}_by": f"{by} of {side} x {side}"}
    return top


def cublas_products(device) -> dict:
    """Return cuBLAS's linear by its name, or {} without nvmath-python."""
    try:
        return {"cuBLAS's sgemm": cublas.use(device)}
    except BackendError:
        return {}


def torch_products(side: int) -> dict:
    """Return operations a second of PyTorch's products, by dtype; {} without it."""
    if importlib.util.find_spec("torch") is None:
        return {}
    command = [sys.executable, "-m", "minigen.training.products", str(side)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return {}
    return json.loads(done.stdout)


def measure_launch(device, clock, say, launches=LAUNCHES) -> dict:
    """Return the seconds that a launch, a new array and a node of a graph take.

    Launches and arrays in the host's time, which is spent whether the GPU is busy or
    not; nodes in the GPU's.
    """
    say("launching kernels that do nothing")
    array = device.put(np.ones(1000, np.float32))

    def host(call):
        call()
        device.sync()

        def once():
            start = clock.host()
            for _ in range(launches):
                call()
            found = clock.host() - start
            device.sync()
            return found

        return median(timing.repeat(once, least=5, most=5)) / launches

    def launch(count):
        given = [array] * count
        return lambda: device.launch(kernels.IDLE[count], 1, 32, *given)

    found = {f"arrays_{count}": host(launch(count)) for count in kernels.IDLE}
    found["empty"] = host(lambda: device.empty((16, 1024)))
    found["node"] = timing.replayed(device, clock, [launch(4)], launches)
    return found


def measure_images(pipe, clock, batch: int, steps: int, seed: int, say) -> dict:
    """Return images a second of a batch, launched one by one and as a graph.

    From the labels on the host to the pixels on the host. Weights are on the device.
    """
    device, options = pipe.ops.device, pipe.options(4.5, 1.0)
    labels = [i % pipe.config.classes for i in range(batch)]
    plan = pipe.plan(None, None, steps, seed)
    given = loop.inputs(pipe.ops, pipe.config, plan, labels, seed, options)
    given = packing.pack(given)

    def eager():
        run = recorded.launch(pipe, plan.grid, options, given.put(pipe.ops))
        return pipe.download(*run)

    def timed(run):
        start = clock.host()
        run()
        return clock.host() - start

    try:
        say(f"images, batch {batch}: compiling")
        first = eager()
        before = device.launches
        say(f"images, batch {batch}: launched one by one")
        slow = timing.repeat(lambda: timed(eager), least=1, most=5, budget=10.0)
        launches = (device.launches - before) // len(slow)
        say(f"images, batch {batch}: as a graph")
        run = recorded.record(pipe, plan.grid, options, given)
        same = np.array_equal(recorded.replay(pipe, run, given), first)
        fast = timing.repeat(
            lambda: timed(lambda: recorded.replay(pipe, run, given)),
            least=2, most=10, budget=10.0,
        )  # fmt: skip
    except BackendError as error:
        return {"batch": batch, "error": str(error)}
    return {
        "batch": batch, "steps": len(plan.counts), "eager": batch / median(slow),
        "graph": batch / median(fast), "eager_seconds": slow, "graph_seconds": fast,
        "launches": launches, "launches_per_step": launches / len(plan.counts),
        "nodes": len(run.recording), "same": bool(same),
    }  # fmt: skip


def _put(device, arguments):
    return tuple(device.put(a) if isinstance(a, np.ndarray) else a for a in arguments)
