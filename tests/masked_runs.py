"""Runs of ARINAR and MAR in which every image asks in an order of its own.

`minigen.sample` gives all images of a run the order of one plan; the originals do not.
Its loop cannot tell: the positions are but numbers that a run reads.
"""

import numpy as np

from minigen import sample
from minigen.models import masked

KEY = np.zeros(2, np.uint32)


def run(ops, weights, config, labels, groups, options, numbers, watch=None):
    """Yield after each step its tokens (b m f), guidance, and the canvas (b n f).

    labels (b), -1 for no class; groups: of each step the positions (b m); numbers: the
    key of the seed and the numbers of the images (b).
    """
    key, images = numbers
    model, none = sample.MODELS[type(config)], np.empty((len(labels), 0), np.int64)
    guided = model.guides(options.guidance)
    ids, rows = masked.prompt(model, config, labels, None, None, options)
    given = sample.Inputs(
        key=key,
        images=images,
        positions=np.concatenate([positions[0] for positions in groups]),
        known_positions=none[0],
        known=np.empty((len(labels), 0, config.features), np.float32),
        ids=ids,
        rows=rows,
        queries=masked.flatten(config, groups, none, images, guided),
        table=model.table(config),
    )
    given = sample.put(ops, given)
    grid = config.side, config.side
    canvas = masked.new_canvas(ops, config, grid, given)
    counts = tuple(positions.shape[1] for positions in groups)
    call = ops, weights, config, counts, options, given, canvas, watch
    for tokens, _, weight in sample.decode(*call):
        yield np.array(tokens), weight, np.array(canvas)
