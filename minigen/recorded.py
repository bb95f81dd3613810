"""Draw a batch of images; on a device, record the run once and replay it after that.

A decoding step launches hundreds of small kernels, and launching one from Python takes
longer than many of them run. But what is launched depends on shapes alone: the classes,
the seed and the order are data (but for the order confidence: `minigen.confidence`). So
a run of a shape seen before is recorded, as a CUDA graph, and replayed with other
classes, another seed, another order of the same counts.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from minigen import flags, packing
from minigen import sample as loop

KEPT = 4
"""The most recorded runs that are kept: each has device memory of its own."""


@dataclass(frozen=True, eq=False)
class Run:
    """A recorded run.

    recording: its launches; flats: the arrays that it reads, as in `packing.Packed`;
    images: the arrays that it writes; noted: the flags that its kernels set.
    """

    recording: object
    flats: dict
    images: list
    noted: flags.Flags


def draw(
    pipe, plan, labels, seed, options, first, known=None, advance=None, control=None
) -> tuple:
    """Draw one image for each of `labels`: uint8 (b y x c).

    Also returns the canvas (b n ..), on the device, which the next run overwrites.
    Arguments as for `sample.steps`; advance: called after each step, or, where a run is
    replayed, for all of them at its end.

    The first run of a shape is launched kernel by kernel, which compiles them. The
    second is launched so too, then recorded, and the first replay must give the same
    images to the last bit; else this warns, and such runs are never replayed.
    """
    ops, counts = pipe.ops, plan.counts
    call = plan, labels, seed, options, known, first, control
    given = loop.inputs(ops, pipe.config, *call)
    given = packing.pack(given)
    sizes = plan.grid, counts, len(plan.known), len(labels)
    shape = *sizes, plan.per_image, options
    run = pipe.recorded.get(shape)
    if isinstance(run, Run):
        keep(pipe.recorded, shape, run)
        images = replay(pipe, run, given)
        for _ in counts if advance else ():
            advance()
        return images, given.views(run.flats).canvas
    moved = given.put(ops)
    images = pipe.download(*launch(pipe, plan.grid, options, moved, advance))
    if ops.device is None or not counts or plan.per_image == "confidence":
        return images, moved.canvas
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
    return images, moved.canvas


def keep(runs, shape, run) -> None:
    """Store a run as the one used last; forget recorded ones but the last KEPT."""
    runs.pop(shape, None)
    runs[shape] = run
    recorded = [shape for shape, run in runs.items() if isinstance(run, Run)]
    for oldest in recorded[:-KEPT]:
        runs[oldest] = "seen"


def launch(pipe, grid, options, given, advance=None) -> tuple[list, flags.Flags]:
    """Run the loop and the tokenizer; return images where the backend's arrays live.

    given: `sample.Inputs`, on the device; advance: called after each step. Also returns
    the flags of the run.
    """
    ops, w, steps = pipe.ops, pipe.generator.weights, len(given.guidance)
    noted = flags.of_run(ops, steps)
    for _ in loop.decode(ops, w, pipe.config, options, given, noted=noted):
        if advance:
            advance()
    canvas = given.canvas
    tokens = canvas.reshape(canvas.shape[0], *grid, *canvas.shape[2:])
    with noted.at(steps):
        return pipe.images(tokens), noted


def record(pipe, grid, options, given) -> Run:
    """Return a recorded run. given: packed inputs, which later runs overwrite."""
    flats = {name: pipe.ops.put(flat) for name, flat in given.flats.items()}
    moved = given.views(flats)
    with pipe.ops.device.record() as recording:
        images, noted = launch(pipe, grid, options, moved)
    return Run(recording, flats, images, noted)


def replay(pipe, run, given) -> np.ndarray:
    """Copy packed inputs to a recorded run, run it again, and return its images."""
    for name, flat in given.flats.items():
        pipe.ops.device.write(run.flats[name], flat)
    run.recording.replay()
    return pipe.download(run.images, run.noted)
