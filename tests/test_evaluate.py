"""Evaluation: the distance against closed forms, the counts on digits drawn here."""

import gzip

import numpy as np
import pytest

import minigen
from minigen import backends, evaluate
from minigen.bench import weights
from minigen.errors import InputError
from minigen.evaluate import Statistics
from minigen.families import PRESETS
from minigen.models import arpg


def random_covariance(rng, size, rank=None):
    x = rng.standard_normal((size, rank or size))
    return x @ x.T / size


def test_distance_of_equal_gaussians_is_zero():
    rng = np.random.default_rng(0)
    for rank in (8, 3):
        one = Statistics(rng.standard_normal(8), random_covariance(rng, 8, rank))
        # the square root of a rounding error is what is left
        assert evaluate.frechet(one, one) < 1e-6


def test_distance_of_commuting_gaussians_has_a_closed_form():
    rng = np.random.default_rng(1)
    basis, _ = np.linalg.qr(rng.standard_normal((6, 6)))
    a, b = rng.uniform(0.1, 4, (2, 6))
    mean = rng.standard_normal(6)
    one = Statistics(mean, (basis * a) @ basis.T)
    two = Statistics(mean + 2 * basis[:, 0], (basis * b) @ basis.T)
    expected = 4 + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    assert evaluate.frechet(one, two) == pytest.approx(expected, rel=1e-12)


def test_distance_is_symmetric_and_agrees_with_the_unsymmetric_form():
    rng = np.random.default_rng(2)
    one, two = (
        Statistics(rng.standard_normal(5), random_covariance(rng, 5)) for _ in range(2)
    )
    # tr((A B)^1/2) from the eigenvalues of A B itself, which are real and positive
    product = np.linalg.eigvals(one.covariance @ two.covariance).real
    apart = ((one.mean - two.mean) ** 2).sum()
    trace = np.trace(one.covariance + two.covariance)
    expected = apart + trace - 2 * np.sqrt(product).sum()
    assert evaluate.frechet(one, two) == pytest.approx(expected, rel=1e-9)
    assert evaluate.frechet(two, one) == pytest.approx(expected, rel=1e-9)


def test_statistics_are_those_of_the_rows():
    x = np.random.default_rng(3).standard_normal((50, 4)).astype(np.float32)
    found = evaluate.statistics(x)
    centred = x.astype(np.float64) - x.astype(np.float64).mean(0)
    assert np.allclose(found.covariance, centred.T @ centred / 49, atol=1e-12)
    with pytest.raises(InputError, match="at least 2"):
        evaluate.statistics(x[:1])


def test_statistics_are_written_and_read(tmp_path):
    rng = np.random.default_rng(4)
    found = Statistics(rng.standard_normal(3), random_covariance(rng, 3))
    path = evaluate.write_statistics(found, tmp_path / "s.npz")
    again = evaluate.read_statistics(path)
    assert again.mean.dtype == again.covariance.dtype == np.float64
    assert np.array_equal(again.mean, found.mean.astype(np.float32))
    with pytest.raises(InputError, match="--write-statistics"):
        evaluate.read_statistics(tmp_path / "none.npz")


def idx(array):
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return gzip.compress(b"\0\0\x08" + bytes([array.ndim]) + sizes + array.tobytes())


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(5)
    images, labels = evaluate.FILES["test"]
    digits = rng.integers(0, 255, (7, 28, 28)).astype(np.uint8)
    (tmp_path / images).write_bytes(idx(digits))
    (tmp_path / labels).write_bytes(idx(np.arange(7, dtype=np.uint8)))
    return tmp_path


@pytest.fixture(scope="module")
def pipe():
    return minigen.load("arpg-mnist", backend="numpy")


def test_bits_of_what_is_unknown_are_those_of_training(pipe):
    """Nothing known: the loss; read causally, a token more known changes no other."""
    ops, config, weights = pipe.ops, pipe.config, pipe.generator.weights
    rng = np.random.default_rng(9)
    tokens, labels = rng.integers(0, 64, (2, 8, 8)), np.array([3, 8])
    flat, table = tokens.reshape(2, 64), arpg.rotary_table(ops, config)
    order = np.array(pipe.plan().order)
    call = ops, weights, config, flat, labels, np.tile(order, (2, 1)), table
    logits = arpg.forward(*call).astype(np.float64)
    expected = np.log(np.exp(logits).sum(-1))
    drawn = np.take_along_axis(flat, np.tile(order, (2, 1)), 1)[..., None]
    expected -= np.take_along_axis(logits, drawn, -1)[..., 0]
    for k in (0, 1, 40, 63):
        plan = minigen.plan((8, 8), order.tolist(), known=order[:k].tolist())
        found = evaluate.unknown_bits(pipe, tokens, labels, plan)
        assert found == pytest.approx(expected[:, k:].mean() / np.log(2), abs=1e-4)
    block = evaluate.unknown_bits(pipe, tokens, labels, plan, "block")
    assert abs(block - found) > 0.01


def test_completed_digits_keep_what_was_known(pipe, folder, monkeypatch):
    given = evaluate.read_digits(folder)
    plan = pipe.plan(steps=2, known=range(32))
    seen = []

    def look(classifier, images):
        seen.append(images)
        return None, np.array([0, 1, 2, 3, 0, 0, 0])

    monkeypatch.setattr(evaluate, "look", look)
    found = evaluate.evaluate_completion(pipe, None, given, plan, first=5, guidance=2.0)
    assert found["agreement"] == pytest.approx(4 / 7) and found["images"] == 7
    assert found["bits"] > 0
    canvas = pipe.encode(given[0])
    canvas[:, 4:] = -1
    images = pipe.sample(given[1], plan=plan, known=canvas, first=5, guidance=2.0)
    assert np.array_equal(seen[0], images)


def test_an_edited_digit_is_asked_to_be_the_next_class(pipe, folder, monkeypatch):
    given = evaluate.read_digits(folder)
    plan = pipe.plan(steps=2, known=range(32))
    # the first four are the next class, two stay as they were
    seen = np.array([1, 2, 3, 4, 4, 5, 0])
    monkeypatch.setattr(evaluate, "look", lambda classifier, images: (images, seen))
    asked = []

    def sample(pipe, labels, **how):
        asked.extend(labels)
        return np.zeros((len(labels), 32, 32, 3), np.uint8)

    monkeypatch.setattr(minigen.Pipeline, "sample", sample)
    found = evaluate.evaluate_completion(pipe, None, given, plan, edit=True)
    assert asked == [1, 2, 3, 4, 5, 6, 7]
    assert found["agreement"] == pytest.approx(4 / 7)
    assert found["unchanged"] == pytest.approx(2 / 7)
    assert "bits" not in found


def test_completion_with_control_is_given_the_outlines(folder, monkeypatch):
    pipe = minigen.load("arpg-mnist-control", backend="numpy")
    given = evaluate.read_digits(folder)
    plan = pipe.plan(steps=1, known=range(60))
    monkeypatch.setattr(evaluate, "look", lambda classifier, images: (None, given[1]))
    outlined = evaluate.evaluate_completion(pipe, None, given, plan)
    # the bits depend on the outlines
    monkeypatch.setattr(evaluate, "outline", lambda images: 0 * images)
    blank = evaluate.evaluate_completion(pipe, None, given, plan)
    assert outlined["bits"] > 0 and outlined["bits"] != blank["bits"]


def test_digits_get_a_black_border(folder):
    images, labels = evaluate.read_digits(folder, count=5)
    assert images.shape == (5, 32, 32, 3) and images.dtype == np.uint8
    assert labels.tolist() == [0, 1, 2, 3, 4]
    border = np.ones((32, 32), bool)
    border[2:-2, 2:-2] = False
    assert not images[:, border].any() and images[:, ~border].any()
    assert np.array_equal(images[..., 0], images[..., 2])


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "does not exist"),
        (b"not gzip", "not a whole gzip file"),
        (idx(np.zeros((2, 3), np.uint8))[:-9], "not a whole gzip file"),
        (gzip.compress(b"\0\0\x0d\1\0\0\0\0"), "does not begin as an IDX file"),
        (gzip.compress(b"\0\0\x08\1\0\0\0\7abc"), "but 3 bytes follow"),
    ],
    # what is compressed holds the time
    ids=["missing", "plain", "cut", "another kind", "short"],
)
def test_a_file_that_is_no_idx_file_says_so(folder, content, message):
    path = folder / evaluate.FILES["test"][0]
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        evaluate.read_digits(folder)


def test_the_judge_sees_an_image_alike_alone_or_among_others():
    classifier = evaluate.Judge(
        weights.model(PRESETS["judge-mnist"]), backends.table("numpy")
    )
    rng = np.random.default_rng(6)
    images = rng.integers(0, 255, (evaluate.BATCH + 1, 32, 32, 3)).astype(np.uint8)
    heard = []
    features, classes = evaluate.look(classifier, images, heard.append)
    assert features.shape == (evaluate.BATCH + 1, 64) and heard == [evaluate.BATCH, 1]
    alone, class_alone = evaluate.look(classifier, images[-1:])
    assert class_alone == classes[-1]
    assert np.allclose(alone[0], features[-1], rtol=1e-4, atol=1e-5)


def test_a_tokenizer_is_judged_on_what_comes_back():
    ops = backends.table("numpy")
    classifier = evaluate.Judge(weights.model(PRESETS["judge-mnist"]), ops)
    rng = np.random.default_rng(7)
    images = rng.integers(0, 255, (6, 32, 32, 3)).astype(np.uint8)
    _, seen = evaluate.look(classifier, images)
    model = weights.model(PRESETS["vq-mnist"])
    found = evaluate.evaluate_tokenizer(model, ops, classifier, images, seen)
    assert found["accuracy_originals"] == 1.0
    assert 0 <= found["accuracy_reconstructions"] <= 1
    assert 1 <= found["codes_used"] <= found["codes"] == model.config.codes
    assert found["distance"] > 0 and found["images"] == 6
    model = weights.model(PRESETS["kl-mnist"])
    found = evaluate.evaluate_tokenizer(model, ops, classifier, images, seen)
    assert 0 <= found["accuracy_reconstructions"] <= 1 and found["distance"] > 0
    assert not {"codes", "codes_used"} & set(found)
