"""The MAR twin against what the original computed, and against minigen's own."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from minigen import backends
from minigen.checkpoints import names
from minigen.families import PRESETS, MarConfig
from minigen.families.mar import diffusion_rows
from minigen.models import diffusion_head
from minigen.models.masked import conditions
from minigen.models.query import Draws
from minigen.training import mae, mar
from minigen.training.layers import Dropouts
from minigen.training.mar import Denoiser, DiffLoss, Mar, training_loss
from minigen.training.masked import decode
from tests.parity import mar as parity
from tests.parity.arinar_traces import grouped

from .cases import FACTOR, OUTER, as_tensors, load
from .test_arpg import read_any

pytestmark = pytest.mark.needs("torch")

DRAWS = ["psample_tiny", "psample_tiny_cfg"]
FORMS = {
    "one width": {},
    "patches": {"patch": 2, "channels": 1},
    "three widths": {"encoder_width": 48, "head_width": 24},
}


def small(**form):
    own = {"head_width": 32, "head_layers": 2, "noise_steps": 10}
    return MarConfig(**OUTER | own | form)


def random_twin(config, label=0.0):
    torch.manual_seed(3)
    model = Mar(config, Dropouts(0.0, 0.0, 0.0, label)).eval()
    for p in model.parameters():
        torch.nn.init.normal_(p, mean=p.mean().item(), std=0.2 if p.ndim > 1 else 0.1)
    return model


def rule_of(case, steps, guided, call=0):
    """The case's noise in place of `normal`: the start, then that of every step."""
    rule = parity.Rule(case.text["noise"]["salt"], steps, guided)
    index = 0

    def normal(shape, generator):
        nonlocal index
        made = rule.normals_at(None, np.zeros(shape[0]), None, call, index, shape[1])
        # `normals_at` counts numbers, not steps
        index += shape[1]
        return torch.from_numpy(made)

    return normal


def assert_near(case, ours, theirs, name):
    error = case.text["tolerance"]["per_array"][name]["max_abs"]
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max().item() <= FACTOR * error, name


@torch.no_grad()
def test_the_network_is_the_originals(golden):
    case = load(golden, "mar_diffloss", "denoiser_tiny")
    about = case.text["config"]
    config = MarConfig(
        channels=about["in_channels"],
        width=about["z_channels"],
        head_width=about["model_channels"],
        head_layers=about["num_res_blocks"],
        decoder_heads=2,
    )
    net = Denoiser(config).eval()
    net.load_state_dict(
        as_tensors(parity.draw_state(SimpleNamespace(about=case.text), about))
    )
    x, numbers, z = case["x"], case["t"].long(), case["c"]
    case.assert_close(torch.cat(net(x, numbers, z), -1), "out")
    case.assert_close(net.time_embed(numbers), "t_emb")


@pytest.mark.parametrize("name", DRAWS)
@torch.no_grad()
def test_every_step_of_a_draw_is_the_originals(golden, name, monkeypatch):
    case = load(golden, "mar_diffloss", name)
    about, guidance = case.text["config"], case.text["cfg"]
    steps = int(about["num_sampling_steps"])
    config = MarConfig(
        channels=about["target_channels"],
        width=about["z_channels"],
        head_width=about["width"],
        head_layers=about["depth"],
        noise_steps=steps,
        decoder_heads=2,
    )
    head, trace = DiffLoss(config).eval(), {}
    head.load_state_dict(read_any(case.folder / "head.safetensors"))
    monkeypatch.setattr(mar, "normal", rule_of(case, steps, guidance != 1))
    given = guidance, case.text["temperature"], None
    drawn = head.sample(case["z"], *given, lambda i, *seen: trace.update({i: seen}))
    b = len(drawn)
    assert_near(case, drawn, case["sample"][:b], "sample")
    for row, i in enumerate(case.text["kept_indices"]):
        for array, part in zip(("x", "mean", "log_variance"), trace[i], strict=True):
            assert_near(case, part, case[array][row, :b], array)


@torch.no_grad()
def test_a_run_is_the_originals(golden, monkeypatch):
    case = load(golden, "mar_diffloss", "mar_tiny")
    config, run = MarConfig.from_upstream(case.text["config"]), case.text["run"]
    head = read_any(case.folder / "head.safetensors")
    about = SimpleNamespace(about=case.text)
    state = {n: parity.draw(about, n, s) for n, s in names.manifest(config).items()}
    model = Mar(config).eval()
    model.load_state_dict(as_tensors(state) | head)
    counts = (case["rows_per_step"] // run["bsz"]).long().numpy()
    groups = grouped(case["orders"].long(), counts)
    given = {"guidance": run["cfg"], "guidance_schedule": run["cfg_schedule"]}
    monkeypatch.setattr(mar, "normal", rule_of(case, config.noise_steps, True))
    steps, z = [], []
    for call, step in enumerate(
        decode(model, torch.tensor(run["labels"]), groups, **given)
    ):
        steps.append(step.tokens.flatten(0, 1))
        z.append(step.z.flatten(0, 1))
        made = rule_of(case, config.noise_steps, True, call + 1)
        monkeypatch.setattr(mar, "normal", made)
    case.assert_close(torch.cat(z), "z")
    case.assert_close(torch.cat(steps), "sampled")


@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_the_twin_and_minigen_are_one_model(form):
    """The weights the twin was trained to, converted: the same step, the same draw."""
    config = small(**FORMS[form])
    model = random_twin(config)
    state = {name: p.numpy() for name, p in model.state_dict().items()}
    assert {name: p.shape for name, p in state.items()} == names.manifest(config)
    tree, ops = names.to_tree(config, state), backends.table("numpy")
    tokens, labels = torch.randn(2, 9, config.features), torch.tensor([2, -1])
    order = torch.stack([torch.randperm(9), torch.randperm(9)])
    known, masked = order[:, :3].sort(1).values, order[:, 3:].sort(1).values
    call = (each.numpy() for each in (labels, tokens, known, masked))
    ours = conditions(ops, tree, config, *call)
    theirs = mae.conditions(model, tokens, labels, known, masked).numpy()
    assert abs(ours - theirs).max() <= 4e-5 * abs(theirs).max()
    # one step of the head, at every strength of noise
    plan = diffusion_head.schedule(config.noise_steps)
    numbers = torch.from_numpy(plan.timesteps)
    x, z = torch.randn(10, 1, config.features), torch.randn(10, 1, config.width)
    w = tree["head"]
    table = ops.put(diffusion_head.timestep_embedding(plan.timesteps))
    times = diffusion_head.embed_timesteps(ops, w, table)[:, None]
    conditioning = ops.add(ops.linear(z.numpy(), **w["condition"]), times)
    ours = diffusion_head.denoise(ops, w, x.numpy(), conditioning)
    theirs = model.diffloss.net(x[:, 0], numbers, z[:, 0])
    for one, other in zip(ours, theirs, strict=True):
        assert abs(one[:, 0] - other.numpy()).max() <= 4e-5 * other.abs().max()


@pytest.mark.parametrize("guidance", [1.0, 2.5])
@torch.no_grad()
def test_the_twin_draws_what_minigen_draws(guidance, monkeypatch):
    """From the same noise, with a head that predicts hardly any."""
    config = small()
    model = random_twin(config)
    model.diffloss.net.final_layer.linear.weight *= 0.1
    state = {name: p.numpy() for name, p in model.state_dict().items()}
    tree, ops = names.to_tree(config, state), backends.table("numpy")
    b, rows = 3, 3 if guidance == 1 else 6
    z = torch.randn(rows, 1, config.width)
    images = np.arange(b)
    draws = Draws(np.array([7, 0], np.uint32), images, images, 0)
    noise = ops.normals_at(draws.key, images, images, 0, 0, 4 * config.noise_steps)
    noise = iter(torch.from_numpy(noise).split(4, 1))
    monkeypatch.setattr(mar, "normal", lambda *_: next(noise))
    table = ops.put(diffusion_head.table(config))
    call = tree["head"], config, z.numpy(), draws, table, guidance, 0.9
    ours = diffusion_head.sample(ops, *call)[:, 0]
    theirs = model.draw(z[:, 0], guidance, 0.9)
    assert abs(ours - theirs.numpy()).max() <= 1e-3 * theirs.abs().max()
    assert next(noise, None) is None


def test_the_bound_is_the_divergence_of_two_steps():
    """Of q(the step before | the token) from what the network says of it."""
    torch.manual_seed(0)
    head = random_twin(small()).diffloss.double()
    x, z, noise = (torch.randn(50, n).double() for n in (4, 32, 4))
    numbers = torch.randint(1, 1000, (50,))
    with torch.no_grad():
        wrong, bound = head.losses(x, z, numbers, noise)
        plan = diffusion_head.schedule(1000)
        alphas_cumprod, betas, coef1, coef2, lowest = (
            torch.from_numpy(table)[numbers][:, None]
            for table in (
                plan.alphas_cumprod,
                plan.betas,
                plan.posterior_mean_coef1,
                plan.posterior_mean_coef2,
                plan.posterior_log_variance,
            )
        )
        signal, spread = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()
        noisy = signal * x + spread * noise
        predicted, between = head.net(noisy, numbers, z)
    token = (noisy - spread * predicted) / signal
    high = betas.log()
    log_variance = lowest + (between + 1) / 2 * (high - lowest)
    one, two = (
        torch.distributions.Normal(coef1 * t + coef2 * noisy, (lv / 2).exp())
        for t, lv in ((x, lowest), (token, log_variance))
    )
    expected = torch.distributions.kl_divergence(one, two).mean(1) / math.log(2)
    assert torch.allclose(bound, expected, rtol=1e-6)
    assert torch.allclose(wrong, (noise - predicted).square().mean(1))


def test_the_last_step_costs_what_a_pixel_costs():
    """The share of a normal distribution within a 255th of x, all of it at the ends."""
    x = torch.tensor([-1.0, -0.5, 0.3, 1.0, 7.0]).double()
    off = torch.tensor([0.001, -0.002, 0.0, 0.003, -0.001]).double()
    log_variance = torch.full_like(x, math.log(0.004**2))
    made = torch.distributions.Normal(x - off, torch.tensor(0.004).double())
    above, below = made.cdf(x + 1 / 255), made.cdf(x - 1 / 255)
    expected = torch.stack(
        [above[0], (above - below)[1], (above - below)[2], *(1 - below)[3:]]
    )
    # the original's approximation of a normal distribution is good to 2e-4
    found = mar.code_length(x, off, log_variance).neg().exp()
    assert (found - expected).abs().max() < 1e-3


def test_means_learn_from_the_square_and_variances_from_the_bound():
    head = random_twin(small()).diffloss.double()
    x, z, noise = (torch.randn(20, n).double() for n in (4, 32, 4))
    numbers = torch.arange(0, 1000, 50)
    for part, learns in ((0, slice(0, 4)), (1, slice(4, 8))):
        head.zero_grad()
        head.losses(x, z, numbers, noise)[part].sum().backward()
        slopes = head.net.final_layer.linear.bias.grad
        rest = torch.ones(8, dtype=torch.bool)
        rest[learns] = False
        assert (slopes[learns].abs() > 1e-9).all() and (slopes[rest] == 0).all()


def test_a_head_that_knows_the_distribution_draws_from_it():
    """Tokens of variance 4 and no condition: the predicted noise is linear in x."""
    config = small(noise_steps=250)
    head, variance = DiffLoss(config).double(), 4.0
    plan = diffusion_head.schedule(1000)

    def net(x, numbers, z):
        alphas_cumprod = torch.from_numpy(plan.alphas_cumprod)[numbers][:, None]
        spread = 1 - alphas_cumprod
        predicted = x * spread.sqrt() / (alphas_cumprod * variance + spread)
        return predicted, torch.zeros_like(x)

    head.net.forward = net
    z = torch.zeros(4000, 32, dtype=torch.float64)
    drawn = head.sample(z, generator=torch.Generator().manual_seed(0))
    # four standard errors of 16,000 numbers, and the coarseness of the steps
    assert abs(drawn.var().item() / variance - 1) < 4 * (2 / 16000) ** 0.5 + 0.02
    assert abs(drawn.mean().item()) < 4 * (variance / 16000) ** 0.5
    cold = head.sample(z, 1.0, 0.5, torch.Generator().manual_seed(0))
    assert cold.var() < 0.8 * drawn.var()


def test_a_token_is_noised_four_times():
    model = random_twin(small())
    tokens, labels = torch.randn(2, 9, 4), torch.tensor([0, -1])
    places = mae.hide(torch.rand(2, 9).argsort(1), torch.tensor(0.3))
    call = model, tokens, labels, *places
    losses = [training_loss(*call, torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]
    g = torch.Generator().manual_seed(1)
    numbers = torch.randint(1000, (4, *places[1].shape), generator=g)
    noise = torch.randn(*numbers.shape, 4, generator=g)
    once = [
        model(tokens, labels, *places, numbers[i : i + 1], noise[i : i + 1]).mean()
        for i in range(4)
    ]
    assert abs(sum(once) / 4 / losses[0] - 1) < 1e-5


def test_a_new_head_says_nothing():
    """It predicts no noise: the loss is the square of the noise itself."""
    torch.manual_seed(0)
    model = Mar(small())
    x, z, noise = torch.randn(5000, 4), torch.randn(5000, 32), torch.randn(5000, 4)
    wrong, _ = model.diffloss.losses(x, z, torch.randint(1000, (5000,)), noise)
    assert torch.equal(wrong, noise.square().mean(1))


def test_the_originals_names():
    with torch.device("meta"):
        model = Mar(MarConfig())
    shapes = {name: tuple(p.shape) for name, p in model.state_dict().items()}
    assert shapes == names.manifest(MarConfig())
    assert sum(p.numel() for p in model.parameters()) == 207_924_768
    head = [n for n in shapes if n.startswith("diffloss.net.")]
    rows = diffusion_rows(16, 768, 1024, 6)
    assert {n.removeprefix("diffloss.net.") for n in head} == {n for _, n, _ in rows}


def test_the_small_model_has_arinars_outer_model():
    one, other = PRESETS["mar-mnist"], PRESETS["arinar-mnist"]
    outer = set(vars(one)) & set(vars(other))
    assert {"width", "encoder_layers", "tokens", "channels"} <= outer
    assert all(getattr(one, name) == getattr(other, name) for name in outer)
    with torch.device("meta"):
        count = sum(p.numel() for p in Mar(one).parameters())
    assert 2 * count < 6e6
