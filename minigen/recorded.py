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

from minigen import flags
from minigen import sample as loop

KEPT = 4
"""Recorded runs that are kept: each has memory of a device to itself."""


@dataclass(frozen=True, eq=False)
class Run:
    """A recorded run, the arrays it reads, those it leaves, and what it notes."""

    recording: object
    given: loop.Inputs
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
    counts, shape = plan.counts, (plan.grid, plan.counts, len(labels), options)
    if ops.device is None or not counts:
        return pipe.download(*launch(pipe, plan.grid, counts, options, given))
    run = pipe.recorded.get(shape)
    if isinstance(run, Run):
        keep(pipe.recorded, shape, run)
        return replay(pipe, run, given)
    moved = loop.put(ops, given)
    images = pipe.download(*launch(pipe, plan.grid, counts, options, moved))
    if run is None:
        pipe.recorded[shape] = "seen"
    elif run == "seen":
        run = record(pipe, plan.grid, counts, options, moved)
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


def launch(pipe, grid, counts, options, given) -> tuple[list, flags.Flags]:
    """Run the loop and the tokenizer; return images where the backend's arrays live.

    And the words in which is noted what went wrong.
    """
    ops, w, config = pipe.ops, pipe.generator.weights, pipe.config
    noted = flags.of_run(ops, len(counts))
    canvas = loop.KINDS[type(config)].new_canvas(ops, config, grid, given)
    call = ops, w, config, counts, options, given, canvas
    for _ in loop.decode(*call, noted=noted):
        pass
    tokens = canvas.reshape(canvas.shape[0], *grid, *canvas.shape[2:])
    with noted.at(len(counts)):
        return pipe.images(tokens), noted


def record(pipe, grid, counts, options, given) -> Run:
    """Return a run recorded over the inputs `given`, which it keeps."""
    with pipe.ops.device.record() as recording:
        images, noted = launch(pipe, grid, counts, options, given)
    return Run(recording, given, images, noted)


def replay(pipe, run, given) -> np.ndarray:
    """Overwrite what a recorded run reads with `given`, and run it again."""
    for name, array in loop.arrays(given).items():
        pipe.ops.device.write(getattr(run.given, name), array)
    run.recording.replay()
    return pipe.download(run.images, run.noted)
