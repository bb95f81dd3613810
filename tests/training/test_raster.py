"""What all twins that draw row by row do alike."""

import pytest
import torch

from minigen.errors import InputError
from minigen.training.raster import generate

from . import test_aim, test_llamagen

pytestmark = pytest.mark.needs("torch")


@pytest.fixture(params=["gpt", "aim"])
def model(request):
    if request.param == "gpt":
        return test_llamagen.random_twin()
    return test_aim.random_twin(test_aim.small())


def test_a_draw_depends_on_its_generator_alone(model):
    labels = torch.tensor([0, 1])
    drawn = [
        generate(model, labels, generator=torch.Generator().manual_seed(seed))
        for seed in (4, 4, 5)
    ]
    assert drawn[0].shape == (2, 9) and torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("count", [0, 10])
def test_a_count_that_is_no_part_of_an_image_is_refused(model, count):
    with pytest.raises(InputError, match=f"{count} tokens were asked for; there are 9"):
        generate(model, torch.tensor([0]), count)
