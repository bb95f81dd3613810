"""Runs of ARINAR and MAR in which every image asks in an order of its own.

`minigen.sample` gives all images of a run the order of one plan; the originals do not.
Its loop cannot tell: the positions are but numbers that a run reads.
"""

import numpy as np

from minigen import packing, plans, sample
from minigen.families import module_of
from minigen.models import masked

KEY = np.zeros(2, np.uint32)


def run(ops, weights, config, labels, groups, options, numbers, watch=None):
    """Yield after each step its tokens (b m f), guidance, and the canvas (b n f).

    labels (b), -1 for no class; groups: of each step the positions (b m); numbers: the
    key of the seed and the numbers of the images (b).
    """
    key, images = numbers
    model, none = module_of(config), np.empty((len(labels), 0), np.int64)
    plan = plans.Plan((config.side, config.side), ())
    guided = model.guides(options.guidance)
    weights_of_steps = masked.guidance(options, 0, [g.shape[1] for g in groups])
    given = sample.Inputs(
        key=key,
        prompt=masked.prompt(model, config, labels, plan, None, options),
        queries=masked.queries_of(config, groups, none, images, guided),
        guidance=tuple(w if guided else None for w in weights_of_steps),
        guided=guided,
        room=0,
        canvas=masked.canvas(config, plan, len(labels), 0.0),
        table=model.table(config),
    )
    given = packing.pack(given).put(ops)
    run = sample.decode(ops, weights, config, options, given, watch)
    for _, tokens, _, weight in run:
        yield np.array(tokens), weight, np.array(given.canvas)
