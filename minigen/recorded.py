"""Draw a batch of images; on a device, record the run once and replay it after that.

A decoding step launches hundreds of small kernels, and launching one from Python takes
longer than many of them run. But what is launched depends on shapes alone: the classes,
the seed and the order are data. So a run of a shape seen before is recorded, as a CUDA
graph, and replayed with other classes, another seed, another order of the same counts.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from minigen import flags, packing
from minigen import sample as loop

KEPT = 4
"""Recorded runs that are kept: each has memory of a device to itself."""


@dataclass(frozen=True, eq=False)
class Run:
    """A recorded run, the arrays it reads, those it leaves, and what it notes.

    flats: those that it reads, as `packing.Packed` lays them.
    """

    recording: object
    flats: dict
    images: list
    noted: flags.Flags


def draw(pipe, plan, labels, seed, options, first) -> np.ndarray:
    """Draw one image for each of `labels`: uint8 (b y x c).

    The first run of a shape is launched kernel by kernel, which compiles them. The
    second is launched so too, then recorded, and the first replay must give the same
    images to the last bit; else this warns, and such runs are never replayed.
    """
    ops = pipe.ops
    given = loop.inputs(ops, pipe.config, plan, labels, seed, options, first=first)
    given, shape = packing.pack(given), (plan.grid, plan.counts, len(labels), options)
    if ops.device is None or not plan.counts:
        return pipe.download(*launch(pipe, plan.grid, options, given.put(ops)))
    run = pipe.recorded.get(shape)
    if isinstance(run, Run):
        keep(pipe.recorded, shape, run)
        return replay(pipe, run, given)
    images = pipe.download(*launch(pipe, plan.grid, options, given.put(ops)))
    if run is None:
        pipe.recorded[shape] = "seen"
    elif run == "seen":
        run = record(pipe, plan.grid, options, given)
        same = np.array_equal(replay(pipe, run, given), images)
        keep(pipe.recorded, shape, run if same else "differs")
        if not same:
            warnings.warn(
                "a recorded run gave other images than the same run launched kernel by "
                "kernel; it is not replayed again. Please report this with the output "
                "of `minigen doctor`",
                RuntimeWarning,
                stacklevel=2,
            )
    return images


def keep(runs, shape, run) -> None:
    """Remember a run as the last one used, and only the last KEPT recorded ones."""
    runs.pop(shape, None)
    runs[shape] = run
    recorded = [shape for shape, run in runs.items() if isinstance(run, Run)]
    for oldest in recorded[:-KEPT]:
        runs[oldest] = "seen"


def launch(pipe, grid, options, given) -> tuple[list, flags.Flags]:
    """Run the loop and the tokenizer; return images where the backend's arrays live.

    given: `sample.Inputs`, there too. And the words in which is noted what went wrong.
    """
    ops, w, steps = pipe.ops, pipe.generator.weights, len(given.queries)
    noted = flags.of_run(ops, steps)
    for _ in loop.decode(ops, w, pipe.config, options, given, noted=noted):
        pass
    canvas = given.canvas
    tokens = canvas.reshape(canvas.shape[0], *grid, *canvas.shape[2:])
    with noted.at(steps):
        return pipe.images(tokens), noted


def record(pipe, grid, options, given) -> Run:
    """Return a recorded run. given: packed, what it reads and later runs will."""
    flats = {name: pipe.ops.put(flat) for name, flat in given.flats.items()}
    moved = given.views(flats)
    with pipe.ops.device.record() as recording:
        images, noted = launch(pipe, grid, options, moved)
    return Run(recording, flats, images, noted)


def replay(pipe, run, given) -> np.ndarray:
    """Overwrite what a recorded run reads with `given`, packed, and run it again."""
    for name, flat in given.flats.items():
        pipe.ops.device.write(run.flats[name], flat)
    run.recording.replay()
    return pipe.download(run.images, run.noted)
