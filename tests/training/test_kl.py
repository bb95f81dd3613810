"""The KL tokenizer's twin against what the original computed, and against minigen's."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from minigen import backends
from minigen.checkpoints import names
from minigen.families import PRESETS, KlConfig
from minigen.models import kl as own
from minigen.training.data import to_input
from minigen.training.kl import Kl, Posterior, deviation_of, training_losses
from tests.parity import weights

from .cases import load
from .test_vq import read_any

pytestmark = pytest.mark.needs("torch")

TINY = [
    "tiny_hidden", "tiny_clamp", "tiny_nonsquare", "tiny_dec_attn", "tiny_novar",
]  # fmt: skip
FORMS = {
    "few channels": {},
    "attention everywhere": {"attention": (0, 1), "decoder_attention": (0, 1)},
    "no variances": {"variational": False},
    "one block": {"blocks": 1},
}

EPS = torch.finfo(torch.float32).eps


def twin(case):
    model = Kl(KlConfig.from_upstream(case.text["config"])).eval()
    state = weights.state(SimpleNamespace(about=case.text))
    model.load_state_dict({n: torch.from_numpy(a) for n, a in state.items()})
    return model


def small(**form):
    return KlConfig(
        **{"base": 32, "multipliers": (1, 2), "channels": 3, "attention": (1,)} | form
    )


def random_twin(config):
    torch.manual_seed(5)
    return Kl(config).eval()


@pytest.mark.parametrize("name", TINY)
@torch.no_grad()
def test_encoding_and_decoding_are_the_originals(golden, name):
    case = load(golden, "kl", name)
    model = twin(case)
    moments = model.moments(case["image"])
    posterior = model.posterior(moments)
    if not model.config.variational:
        moments = torch.cat([moments, posterior.log_variance], 1)
    case.assert_close(moments, "moments")
    if "mean" in case.arrays:
        case.assert_close(posterior.mean, "mean")
        case.assert_close(posterior.log_variance, "logvar")
        if name == "tiny_clamp":
            # a variance of e^20: the recorded error is below one rounding of the sum
            assert torch.allclose(posterior.kl(), case["kl"], rtol=8 * EPS, atol=0)
        else:
            case.assert_close(posterior.kl(), "kl")
        drawn = posterior.sample(case["eps"])
        case.assert_close(drawn, "posterior_sample")
    if "nll_of_sample" in case.arrays:
        case.assert_close(posterior.nll(drawn), "nll_of_sample")
    scale = case.text.get("latent_scale", model.config.scale)
    case.assert_close(model.decode(case["latent"] / scale), "decoded")


@torch.no_grad()
def test_every_block_is_the_originals(golden):
    case = load(golden, "kl", "tiny_hidden")
    model, seen = twin(case), {}
    for name, module in model.named_modules():
        if f"h:{name}" in case.arrays:
            module.register_forward_hook(
                lambda module, x, y, name=name: seen.update({name: y})
            )
    model.moments(case["image"])
    model.decode(case["latent"] / case.text["latent_scale"])
    assert {f"h:{name}" for name in seen} == {n for n in case.arrays if n[:2] == "h:"}
    assert len(seen) > 20
    for name, y in seen.items():
        case.assert_close(y, f"h:{name}")


@torch.no_grad()
def test_the_originals_files_can_be_trained_on(golden):
    case = load(golden, "kl", "tiny_files")
    model = twin(case)
    drawn = weights.state(SimpleNamespace(about=case.text))
    state = read_any(case.folder / "weights_fp16.ckpt")
    assert state.keys() == drawn.keys()
    for name, p in state.items():
        assert torch.equal(p, torch.from_numpy(drawn[name]).half())
    model.load_state_dict(state)
    # with eleven bits a weight, images still come out much the same
    apart = model.moments(case["image"]) - case["moments"]
    assert apart.std() < 0.01 * case["moments"].std()


def test_names_and_shapes_are_the_full_tokenizers():
    with torch.device("meta"):
        model = Kl(KlConfig())
    state = model.state_dict()
    shapes = {name: tuple(p.shape) for name, p in state.items()}
    assert shapes == names.manifest(KlConfig())
    assert len(state) == 312
    assert sum(p.numel() for p in model.parameters()) == 66_456_019


@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_the_twin_and_minigen_are_one_tokenizer(form):
    config = small(**FORMS[form])
    model = random_twin(config)
    state = {name: p.numpy() for name, p in model.state_dict().items()}
    assert {n: p.shape for n, p in state.items()} == names.manifest(config)
    tree, ops = names.to_tree(config, state), backends.table("numpy")
    images, noise = torch.rand(2, 3, 8, 12) * 2 - 1, torch.randn(2, 3, 4, 6)
    drawn, posterior = model(images, noise)
    x, eps = (
        np.ascontiguousarray(each.movedim(1, -1).numpy()) for each in (images, noise)
    )
    mean, log_variance = own.posterior(ops, config, own.encode(ops, tree, config, x))
    samples = own.sample(ops, mean, log_variance, eps)
    ours = own.decode(ops, tree, config, samples)
    pairs = (
        (mean, posterior.mean),
        (log_variance, posterior.log_variance),
        (samples, posterior.sample(noise)),
        (ours, drawn),
    )
    for one, other in pairs:
        other = other.movedim(1, -1).numpy()
        assert one.shape == other.shape
        assert abs(one - other).max() <= 4e-5 * abs(other).max()
    divergence = ops.normal_kl(mean, log_variance)
    assert np.allclose(divergence, posterior.kl().numpy(), rtol=1e-5)


def test_the_divergence_is_that_of_pytorch():
    torch.manual_seed(0)
    mean, log_variance = torch.randn(2, 2, 3, 4, 4, dtype=torch.float64)
    posterior = Posterior(mean, log_variance)
    made = torch.distributions.Normal(mean, (log_variance / 2).exp())
    normal = torch.distributions.Normal(0.0, torch.ones_like(mean))
    expected = torch.distributions.kl_divergence(made, normal).flatten(1).sum(1)
    assert torch.allclose(posterior.kl(), expected, rtol=1e-12)
    drawn = posterior.sample(torch.randn_like(mean))
    expected = -made.log_prob(drawn).flatten(1).sum(1)
    assert torch.allclose(posterior.nll(drawn), expected, rtol=1e-12)


def test_gradients_pass_through_what_is_drawn():
    """The loss falls by its gradient times a small step: with respect to the encoder,
    whose means and variances the decoder sees only through a sample."""
    model = random_twin(small()).double()
    images, noise = torch.rand(2, 3, 8, 8).double(), torch.randn(2, 3, 4, 4).double()

    def loss():
        return sum(training_losses(model, images, noise, 0.1).values())

    loss().backward()
    bias = model.quant_conv.bias
    assert (bias.grad.abs() > 1e-6).all()
    for i in range(len(bias)):
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                bias[i] += sign * 1e-5
                values.append(loss().item())
                bias[i] -= sign * 1e-5
        slope = (values[0] - values[1]) / 2e-5
        assert abs(slope - bias.grad[i].item()) < 1e-6


def test_the_weight_is_of_the_divergence_alone():
    model = random_twin(small())
    images, noise = torch.rand(2, 3, 8, 8), torch.zeros(2, 3, 4, 4)
    with torch.no_grad():
        one, two = (training_losses(model, images, noise, w) for w in (0.5, 1.0))
        posterior = model.encode(images)
        drawn = model.decode(posterior.mean)
    assert torch.equal(one["l1"], two["l1"]) and torch.equal(one["l2"], two["l2"])
    assert torch.equal(2 * one["kl"], two["kl"])
    assert torch.allclose(two["kl"], posterior.kl().mean() / 48)
    assert torch.equal(one["l1"], (drawn - images).abs().mean())


def test_the_small_tokenizer_is_small():
    with torch.device("meta"):
        model = Kl(PRESETS["kl-mnist"])
    assert 2 * sum(p.numel() for p in model.parameters()) < 6e6
    assert model.config.factor == 4 and model.config.channels == 4


def test_the_deviation_is_that_of_samples():
    """What a generator's latents are divided by, so that they deviate by 1."""
    torch.manual_seed(0)
    model, grey = random_twin(PRESETS["kl-mnist"]), torch.randint(256, (6, 32, 32))
    grey = grey.to(torch.uint8)
    with torch.no_grad():
        posterior = model.encode(to_input(grey))
        drawn = [posterior.sample(torch.randn(6, 4, 8, 8)) for _ in range(40)]
    expected = torch.stack(drawn).square().mean().sqrt().item()
    assert abs(deviation_of(model, grey, 4) / expected - 1) < 0.01
