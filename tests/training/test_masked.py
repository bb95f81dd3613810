"""What the twins of ARINAR and of MAR do alike."""

import pytest
import torch

from minigen.training import arinar, mae, mar
from minigen.training.layers import Dropouts
from minigen.training.masked import generate

from . import test_arinar, test_mar

pytestmark = pytest.mark.needs("torch")


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("tests", [test_arinar, test_mar])
def test_a_draw_depends_on_its_generator_alone(tests, guidance):
    model, labels = tests.random_twin(tests.small()), torch.tensor([0, 1])
    if tests is test_mar:
        model.diffloss.net.final_layer.linear.weight.data *= 0.1
    order = torch.rand(2, 9).argsort(1)
    call = model, labels, [order[:, :2], order[:, 2:]]
    drawn = [
        generate(
            *call, guidance=guidance, generator=torch.Generator().manual_seed(seed)
        )
        for seed in (4, 4, 5)
    ]
    assert drawn[0].shape == (2, 9, 4) and torch.equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).all() and torch.isfinite(drawn[0]).all()


@pytest.mark.parametrize("kind", ["arinar", "mar"])
def test_it_learns(kind):
    """Two digits by heart: its predictions are soon much nearer."""
    torch.manual_seed(0)
    none, tokens = Dropouts(0.0, 0.0, 0.0, 0.0), torch.randn(2, 9, 4)
    if kind == "arinar":
        model, loss_of = arinar.Arinar(test_arinar.small(), none), arinar.training_loss
    else:
        model, loss_of = mar.Mar(test_mar.small(), none), mar.training_loss
    optimizer, losses = torch.optim.Adam(model.parameters(), 1e-2), []
    for step in range(60):
        g = torch.Generator().manual_seed(step)
        places = mae.hide(torch.rand(2, 9, generator=g).argsort(1), torch.tensor(0.5))
        loss = loss_of(model, tokens, torch.tensor([0, 1]), *places, g)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    if kind == "arinar":
        assert sum(losses[-5:]) / 5 < losses[0] - 2
    else:
        assert sum(losses[-10:]) < 0.6 * sum(losses[:10])
