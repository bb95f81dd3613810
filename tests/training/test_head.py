"""The training of MAR's head alone: what a draw begins with."""

from argparse import Namespace

import pytest
import torch

from minigen.families import PRESETS
from minigen.models.diffusion_head import STEPS
from minigen.training.head import draw_numbers, examples, tune
from minigen.training.mae import to_tokens
from minigen.training.trainer import read

from .test_mar import random_twin, small

pytestmark = pytest.mark.needs("torch")


def test_the_last_steps_are_seen_most():
    numbers = draw_numbers(8000, torch.Generator().manual_seed(0))
    assert numbers.min() >= 0 and numbers.max() == STEPS - 1
    last = (numbers == STEPS - 1).double().mean()
    late = (numbers >= STEPS - STEPS // 10).double().mean()
    # shares of 1/8 and of 1/4 + 3/40, four standard errors of 8,000
    assert abs(last - 0.125) < 0.015 and abs(late - 0.325) < 0.021


def test_the_head_learns_to_begin_and_the_outer_model_stands_still(tmp_path):
    model = random_twin(small())
    model.diffloss.net.final_layer.linear.weight.data.zero_()
    before = {name: p.clone() for name, p in model.state_dict().items()}
    g = torch.Generator().manual_seed(0)
    x, z = torch.randn(64, 4, generator=g), torch.randn(64, 32, generator=g)
    numbers = torch.full((64,), STEPS - 1)
    noise = torch.randn(64, 4, generator=g)

    def wrong():
        with torch.no_grad():
            return model.diffloss.losses(x, z, numbers, noise)[0].mean()

    first = wrong()
    out = tmp_path / "head.pt"
    given = {"steps": 150, "batch": 128, "rate": 1e-2, "seed": 0, "out": str(out)}
    tune(model, x, z, Namespace(**given))
    assert wrong() < 0.05 * first
    after = read(out)["ema"]
    for name, p in before.items():
        assert torch.equal(after[name], p) != name.startswith("diffloss."), name


def test_what_is_said_is_of_hidden_tokens():
    model = random_twin(small())
    moments = torch.cat([torch.randn(4, 4, 3, 3), torch.full((4, 4, 3, 3), -40.0)], 1)
    g = torch.Generator().manual_seed(0)
    tokens, conditions = examples(model, moments, torch.tensor([0, 1, 2, 0]), 0.0, g)
    assert len(tokens) == len(conditions) and tokens.shape[1:] == (4,)
    # a variance of nearly nothing: each token is one of the images', times the scale
    whole = to_tokens(PRESETS["kl-mnist"].scale * moments[:, :4]).flatten(0, 1)
    apart = (tokens[:, None] - whole).abs().amax(-1)
    assert (apart.amin(1) < 1e-5).all()
