"""The ARINAR twin against what the original computed, and against minigen's own."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from minigen import backends
from minigen.checkpoints import names
from minigen.errors import InputError
from minigen.families import PRESETS, ArinarConfig
from minigen.families.arinar import head_rows, rows
from minigen.models import arinar as own
from minigen.models.masked import conditions
from minigen.training import mae
from minigen.training.arinar import (
    Arinar,
    Head,
    Mixtures,
    bits_per_feature,
    choose,
    training_loss,
)
from minigen.training.layers import Dropouts
from minigen.training.masked import decode
from tests.parity.arinar import draw_state
from tests.parity.arinar_head import configuration as head_configuration
from tests.parity.arinar_traces import grouped

from .cases import OUTER, as_tensors, load

pytestmark = pytest.mark.needs("torch")

FORMS = {
    "v1": {"behaviour": "v1"},
    "head": {"behaviour": "head"},
    "groups": {"group": 2},
    "patches": {"patch": 2, "channels": 1},
    "two widths": {"encoder_width": 48, "inner_width": 32, "inner_layers": 2},
}
CASES = ["mae_tiny", "mae_buffer64", "mae_patch2"]
HEADS = ["head_g4", "head_g1", "head_g4_fg2", "head_v1"]
RUNS = ["sample_v1_cfg", "sample_s16", "sample_patch2", "sample_fg2"]


def twin(case):
    config = ArinarConfig.from_upstream(case.text["config"])
    model = Arinar(config, Dropouts(0.0, 0.0, 0.0, 0.0)).eval()
    state = draw_state(SimpleNamespace(about=case.text), rows(config))
    model.load_state_dict(as_tensors(state))
    return model


def small(**form):
    own = {"mixtures": 3, "inner_width": 16}
    return ArinarConfig(**OUTER | own | form)


def random_twin(config, label=0.0):
    torch.manual_seed(3)
    model = Arinar(config, Dropouts(0.0, 0.0, 0.0, label)).eval()
    for p in model.parameters():
        if p.ndim > 1:
            torch.nn.init.normal_(p, std=0.2)
        else:
            torch.nn.init.normal_(p, mean=p.mean().item(), std=0.1)
    return model


def split(mask):
    """Positions that are known and masked, of a mask (b n) of equal rows."""
    b = len(mask)
    return [(mask == one).nonzero()[:, 1].view(b, -1) for one in (0, 1)]


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_the_outer_model_is_the_originals(golden, name):
    case = load(golden, "arinar", name)
    model = twin(case)
    tokens = mae.to_tokens(case["latent"], model.config.patch)
    assert torch.equal(tokens, case["tokens"])
    back = mae.to_latents(tokens, model.config.patch, model.config.side)
    assert torch.equal(back, case["latent"])
    known, _ = split(case["mask"])
    everywhere = torch.arange(model.config.tokens).expand(len(tokens), -1)
    call = tokens, case["labels"].long(), known, everywhere
    case.assert_close(mae.conditions(model, *call), "z")


def test_the_loss_is_the_originals(golden):
    case = load(golden, "arinar", "mar_loss")
    model = twin(case)
    tokens, labels = mae.to_tokens(case["latent"]), case["labels"].long()
    case.assert_close(
        training_loss(model, tokens, labels, *split(case["mask"])), "loss"
    )


@pytest.mark.parametrize("name", HEADS)
@torch.no_grad()
def test_the_head_is_the_originals_in_both_forms(golden, name):
    case = load(golden, "arinar", name)
    about = SimpleNamespace(about=case.text)
    config = head_configuration(about)
    head = Head(config).eval()
    rows = head_rows(config)
    head.load_state_dict(as_tensors(draw_state(about, rows)))
    x = case["target"].unflatten(1, (config.groups, -1))
    made = head(x, case["z"])
    nll = -made.likelihood(x).sum(1)
    case.assert_close(nll, "nll_per_token")
    case.assert_close(nll.mean(), "nll")
    steps = []
    drawn = head.sample(case["z"], forced=case["target"], watch=steps.append)
    assert torch.equal(drawn, case["target"])
    for ours, recorded in (
        ("weights", "weight"), ("means", "mu"), ("log_variances", "logvar"),
    ):  # fmt: skip
        case.assert_close(getattr(made, ours), recorded)
        stepped = torch.cat([getattr(step, ours) for step in steps], 1)
        case.assert_close(stepped, f"{recorded}_cached")


@pytest.mark.parametrize("name", RUNS)
def test_every_step_of_a_run_is_the_originals(golden, name):
    case = load(golden, "arinar", name)
    model, run = twin(case), case.text["run"]
    groups = grouped(case["orders"].long(), case["n_pred"].long().numpy())
    labels = run["labels"] or [-1] * run["bsz"]
    forced = mae.to_tokens(case["latent"], model.config.patch)
    given = {"guidance": run["cfg"], "guidance_schedule": run["cfg_schedule"]}
    steps = list(decode(model, torch.tensor(labels), groups, **given, forced=forced))
    case.assert_close(torch.cat([s.z.flatten(0, 1) for s in steps]), "z")
    tokens = torch.cat([step.tokens.flatten(0, 1) for step in steps])
    assert torch.equal(tokens, case["sampled"])
    weights = torch.tensor([step.guidance for step in steps])
    assert torch.allclose(weights, case["cfg_iter"], rtol=1e-6)


def test_the_originals_files_can_be_trained_on(golden):
    case = load(golden, "arinar", "mae_tiny")
    model = twin(case)
    expected = {name: p.clone() for name, p in model.state_dict().items()}
    for name in ("weights_fp16.pth", "weights_bf16.pth"):
        found = torch.load(case.folder / name, weights_only=True)
        state = found.get("model", found)
        assert state.keys() == expected.keys()
        for name, p in state.items():
            assert torch.equal(p, expected[name].to(p.dtype))
        model.load_state_dict(state)


@pytest.mark.parametrize("form", FORMS)
def test_the_twin_and_minigen_are_one_model(form):
    """The weights the twin was trained to, converted: the same loss, the same steps."""
    config = small(**FORMS[form])
    model = random_twin(config)
    state = {name: p.detach().numpy() for name, p in model.state_dict().items()}
    assert {name: p.shape for name, p in state.items()} == names.manifest(config)
    tree, ops = names.to_tree(config, state), backends.table("numpy")
    tokens = torch.randn(2, 9, config.features)
    labels = torch.tensor([2, -1])
    order = torch.stack([torch.randperm(9), torch.randperm(9)])
    known, masked = order[:, :3].sort(1).values, order[:, 3:].sort(1).values
    with torch.no_grad():
        theirs = training_loss(model, tokens, labels, known, masked).item()
    call = tokens.numpy(), labels.numpy(), masked.numpy()
    ours = own.loss(ops, tree, config, *call)
    assert abs(ours - theirs) <= 4e-5 * abs(theirs)
    call = (each.numpy() for each in (labels, tokens, known, masked))
    ours = conditions(ops, tree, config, *call)
    with torch.no_grad():
        theirs = mae.conditions(model, tokens, labels, known, masked).numpy()
    assert abs(ours - theirs).max() <= 4e-5 * abs(theirs).max()
    assert abs(theirs).max() > 1


@pytest.mark.parametrize("behaviour", ["v1", "head"])
def test_temperature_means_what_the_behaviour_says(behaviour):
    """One component, half the temperature: deviations twice or half as large."""
    config = small(behaviour=behaviour, mixtures=1, channels=1)
    head = random_twin(config).arhead.double()
    z = torch.randn(1, 32, dtype=torch.float64).expand(20000, -1)
    drawn = [
        head.sample(
            z, temperature=temperature, generator=torch.Generator().manual_seed(1)
        )
        for temperature in (1.0, 0.5)
    ]
    ratio = (drawn[1].std() / drawn[0].std()).item()
    assert abs(ratio - {"v1": 2.0, "head": 0.5}[behaviour]) < 1e-6


def test_a_guided_draw_comes_from_the_guided_density():
    """p (p / q)^(w-1) of two Gaussians is again one, of a known mean and deviation."""
    rows, weight = 4000, 2.0
    ones = torch.ones(rows, 1, 1, dtype=torch.float64)
    p, q = (
        Mixtures(ones, mean * ones[..., None], lv * ones[..., None])
        for mean, lv in ((0.5, 0.0), (0.0, 0.5))
    )
    precision = weight - (weight - 1) * np.exp(-0.5)
    drawn = choose(p, q, 1.0, weight, torch.Generator().manual_seed(0)).flatten()
    mean = weight * 0.5 / precision
    # four standard errors, and what a thousand candidates miss
    assert abs(drawn.mean().item() - mean) < 4 * (precision * rows) ** -0.5 + 5e-3
    assert abs(drawn.var().item() * precision - 1) < 4 * (2 / rows) ** 0.5 + 1e-2


def test_draws_are_those_of_the_mixture():
    weights = torch.tensor([[[0.25, 0.75]]]).double()
    means = torch.tensor([-10.0, 10.0]).double().view(1, 1, 2, 1)
    log_variances = torch.tensor([0.0, 1.0]).double().view(1, 1, 2, 1)
    made = Mixtures(weights, means, log_variances)
    drawn = made.draw(40000, 1.0, torch.Generator().manual_seed(0))[0, :, 0]
    low, high = drawn[drawn < 0], drawn[drawn > 0]
    assert abs(len(low) / 40000 - 0.25) < 0.01
    assert abs(low.std().item() - 1) < 0.03
    assert abs(high.std().item() - np.exp(0.5)) < 0.03
    x = torch.linspace(-20, 20, 4001, dtype=torch.float64).view(1, -1, 1)
    density = torch.exp(made.likelihood(x)) / (2 * np.pi) ** 0.5
    assert abs(density.sum().item() * 0.01 - 1) < 1e-6


def test_the_gradient_is_the_slope_of_the_loss():
    model = random_twin(small()).double()
    tokens, labels = torch.randn(2, 9, 4).double(), torch.tensor([0, -1])
    places = mae.hide(torch.rand(2, 9).argsort(1), torch.tensor(0.3))

    def loss():
        return training_loss(model, tokens, labels, *places)

    loss().backward()
    with torch.no_grad():
        for p in model.parameters():
            # along the gradient, the slope is its length
            length = p.grad.norm().item()
            assert np.isfinite(length) and length > 0
            values = []
            for sign in (1, -2):
                p += sign * 1e-5 * p.grad / length
                values.append(loss().item())
            p += 1e-5 * p.grad / length
            assert abs((values[0] - values[1]) / 2e-5 / length - 1) < 1e-4


def test_the_share_of_hidden_tokens_is_a_cut_normal_number():
    order = torch.arange(1000)[None]
    shares = [
        mae.hide(order, (torch.arange(200) + 0.5)[i] / 200)[1].shape[1] / 1000
        for i in range(200)
    ]
    assert min(shares) >= 0.7 and max(shares) <= 1 and shares == sorted(shares)
    far = (np.array(shares) - 1) / 0.25
    # of the normal numbers between -1.2 and 0
    assert abs(far.mean() + (1 - np.exp(-0.72)) / (2 * np.pi) ** 0.5 / 0.38493) < 0.01
    known, masked = mae.hide(torch.rand(3, 20).argsort(1), torch.tensor(0.2))
    both = torch.cat([known, masked], 1).sort(1).values
    assert torch.equal(both, torch.arange(20).expand(3, -1))


def test_the_class_is_hidden_where_its_uniform_is_small():
    model = random_twin(small(), label=0.25)
    labels, uniforms = torch.tensor([0, 1]), torch.tensor([0.25, 0.24])
    assert mae.hidden_labels(model, labels, uniforms).tolist() == [0, -1]


def test_bits_of_a_normal_number():
    """log2 sqrt(2 pi e) of a standard normal one: its loss has half a nat a feature."""
    expected = 0.5 * np.log2(2 * np.pi * np.e)
    assert abs(bits_per_feature(4 * 0.5, 4) - expected) < 1e-12


def test_a_flow_has_no_twin():
    with pytest.raises(InputError, match="set flow False"):
        Arinar(small(flow=True))


def test_the_small_model_is_small():
    with torch.device("meta"):
        count = sum(p.numel() for p in Arinar(PRESETS["arinar-mnist"]).parameters())
    assert 1.5e6 < count < 1.7e6
