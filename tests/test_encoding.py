"""Images for tokenizers and the classifier: what cannot be encoded whole is refused."""

import importlib.util

import numpy as np
import pytest

import minigen
from minigen import evaluate
from minigen.errors import ShapeError
from minigen.images import check_images
from minigen.show.grid import grid

GOOD = np.arange(32 * 32 * 3, dtype=np.uint8).reshape(1, 32, 32, 3)

BAD = {
    "no image": (GOOD[:0], "at least 1 image"),
    "no row": (GOOD[:, :0], "at least 1 image"),
    "one pixel": (GOOD[:, :1, :1], r"of 1 x 1 pixels; expected .* multiples of 4"),
    "a pixel too many": (np.zeros((1, 33, 32, 3), np.uint8), "multiples of 4"),
    "a pixel too few": (GOOD[:, :, :31], r"of 31 x 32.*center_crop\(image, 28\)"),
    "a single image": (GOOD[0], r"image\[None\]"),
    "grey": (GOOD[..., :1], "repeat"),
    "no channel": (GOOD[..., 0], "read_image"),
    "alpha": (np.zeros((1, 32, 32, 4), np.uint8), "read_image"),
    "a number": (np.uint8(3), "read_image"),
    "0 to 1": (GOOD / np.float32(255), "float32; expected uint8"),
    "numbers": (GOOD.astype(np.int64), "int64; expected uint8"),
    "truths": (GOOD > 3, "bool; expected uint8"),
    "objects": (GOOD.astype(object), "object; expected uint8"),
    "text": (np.array([["a"]]), "expected uint8"),
    "none": (None, "expected uint8"),
    "ragged": ([GOOD[0], GOOD[0, :9]], "same shape|object"),
}  # fmt: skip


@pytest.fixture(scope="module", params=["arpg-mnist", "arinar-mnist"])
def model(request):
    return request.param


@pytest.fixture(scope="module", params=["numpy", "numba", "interpreter"])
def pipe(request, model):
    wanted = {"numba": "numba", "interpreter": "greenlet"}.get(request.param, "numpy")
    if not importlib.util.find_spec(wanted):
        pytest.skip(f"{wanted} is not installed")
    return minigen.load(model, backend=request.param)


@pytest.mark.parametrize("given", BAD)
def test_what_cannot_be_encoded_is_refused_before_a_kernel_runs(given, pipe):
    images, message = BAD[given]
    pipe = minigen.Pipeline(
        pipe.generator, pipe.tokenizer, pipe.backend, ops=OnlyPuts(pipe.ops)
    )
    with pytest.raises(ShapeError, match=message):
        pipe.encode(images)


class OnlyPuts:
    """A table of which nothing may be called."""

    def __init__(self, ops):
        self.device = ops.device

    def __getattr__(self, name):
        pytest.fail(f"{name} was called")


def test_strides_change_no_token(model):
    pipe = minigen.load(model, backend="numpy")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 8, 12, 3), dtype=np.uint8)
    tokens = pipe.encode(images)
    assert tokens.shape[:3] == (2, 2, 3)
    views = np.zeros((2, 16, 12, 6), np.uint8)[:, ::2, ::-1, ::2]
    views[:] = images
    assert not views.flags.c_contiguous
    assert np.array_equal(pipe.encode(views), tokens)
    assert np.array_equal(pipe.encode(images[::-1])[::-1], tokens)


@pytest.mark.parametrize("images", [GOOD[:0], GOOD[:, :16], GOOD / 255, GOOD[0]],
                         ids=["none", "half", "floats", "single"])  # fmt: skip
def test_the_judge_looks_at_images_of_its_size_only(images):
    classifier = evaluate.load_judge(backend="numpy")
    with pytest.raises(ShapeError):
        evaluate.look(classifier, images)
    assert evaluate.look(classifier, GOOD)[0].shape == (1, 64)


def test_images_of_another_size_are_refused_before_all_are_drawn():
    pipe = minigen.load("arpg-mnist", backend="numpy")
    drawn = []

    class Larger:
        config, tokenizer_config = pipe.config, pipe.tokenizer_config

        def sample(self, labels, **options):
            drawn.append(len(labels))
            return np.zeros((len(labels), 64, 64, 3), np.uint8)

    classifier = evaluate.load_judge(backend="numpy")
    with pytest.raises(ShapeError, match=r"64 x 64 pixels; expected 32 x 32"):
        evaluate.evaluate_generator(Larger(), classifier, 1000)
    assert drawn == [1]


def test_a_sheet_is_made_of_images():
    for images in (GOOD[:0], GOOD / 255, GOOD[0]):
        with pytest.raises(ShapeError):
            grid(images)
    assert check_images(GOOD) is GOOD
