"""The AiM twin against what the original computed, and against minigen's own."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from minigen import backends
from minigen.checkpoints import names
from minigen.families import AimConfig
from minigen.models import aim as own
from minigen.ops.ssd.reference import ssd as recurrence
from minigen.training import mamba
from minigen.training.aim import Aim, training_loss
from minigen.training.layers import Dropouts
from minigen.training.raster import decode, generate
from minigen.training.trainer import make_optimizer
from tests.parity.aim import draw_state

from .cases import load
from .test_arpg import read_any

pytestmark = pytest.mark.needs("torch")

FORMS = {
    "mamba2": {},
    "groups of classes": {"condition_groups": 2},
    "feed-forward": {"hidden": 128},
    "both": {"hidden": 128, "condition_groups": 2},
    "groups of heads": {"groups": 2},
    "mamba1": {"mixer": "mamba1"},
    "other options": {
        "tied": False, "layer_norm": True, "skips": True, "scanned": 32,
        "step_min": 0.01, "step_max": 0.05, "norm_first": True, "hidden": 128,
    },
}  # fmt: skip
CASES = {"m2_adaln_mlp": "bf16", "m2_group4_mlp": "f16"}


def small(**form):
    sizes = {"width": 32, "layers": 3, "vocabulary": 11, "classes": 3, "tokens": 9}
    return AimConfig(**sizes, state_size=8, head_size=16, **form)


def random_twin(config, label=0.0):
    torch.manual_seed(3)
    model = Aim(config, Dropouts(0.0, 0.0, 0.0, label)).eval()
    for name, p in model.named_parameters():
        if p.ndim > 1 and not name.endswith("A_log"):
            torch.nn.init.normal_(p, std=0.3)
    return model


def twin(case):
    config = AimConfig.from_upstream(case.text["config"])
    model = Aim(config, Dropouts(0.0, 0.0, 0.0, 0.0)).eval()
    state = draw_state(SimpleNamespace(about=case.text), config)
    state = {name: torch.from_numpy(array) for name, array in state.items()}
    model.load_state_dict(state)
    return model


@pytest.mark.parametrize("name", CASES)
def test_the_training_forward_is_the_originals(golden, name):
    case = load(golden, "aim", name)
    model, codes = twin(case), case["codes"]
    case.assert_close(model(case["labels"], codes[:, :-1]), "logits_train")
    shifted = model(case["labels"], codes[:, :-1], "released")
    case.assert_close(shifted, "logits_shift")


@pytest.mark.parametrize("name", CASES)
def test_every_step_of_a_run_is_the_originals(golden, name):
    case = load(golden, "aim", name)
    model = twin(case)
    for run in case.text["runs"]:
        part = run["name"] + "."
        labels, tokens = case[part + "labels"], case[part + "tokens"]
        forced = tokens[:, : len(labels)].T
        given = {"guidance": run["cfg_scale"], "forced": forced}
        steps = list(decode(model, labels, **given))
        both = [torch.cat([s.conditional, s.unconditional])[:, 0] for s in steps]
        case.assert_close(torch.stack(both), part + "raw_logits")
        guided = torch.stack([step.guided[:, 0] for step in steps])
        case.assert_close(guided, part + "guided_logits")
        if run["top_k"] == 1:
            drawn = generate(model, labels, guidance=run["cfg_scale"], top_k=1)
            assert torch.equal(drawn, forced)


@pytest.mark.parametrize("name", CASES)
def test_the_originals_files_can_be_trained_on(golden, name):
    case = load(golden, "aim", name)
    model, kind = twin(case), CASES[name]
    state = read_any(case.folder / f"{kind}.bin")
    # the head is the table of tokens, which the file holds under both names
    head = state.pop("lm_head.weight")
    assert torch.equal(head, state["backbone.embeddings.word_embeddings.weight"])
    model.load_state_dict(state)
    logits = model(case["labels"], case["codes"][:, :-1])
    case.assert_close(logits, f"logits_train_from_{kind}")


@pytest.mark.parametrize("positions", own.POSITIONS)
@pytest.mark.parametrize("form", FORMS)
def test_the_twin_and_minigen_are_one_model(form, positions):
    """The weights the twin was trained to, converted: the same logits, as many ways."""
    config = small(**FORMS[form])
    model = random_twin(config)
    state = {name: p.detach().numpy() for name, p in model.named_parameters()}
    shapes = {name: p.shape for name, p in state.items()}
    assert shapes == names.manifest(config)
    tree, ops = names.to_tree(config, state), backends.table("numpy")
    tokens, labels = torch.randint(11, (2, 9)), torch.tensor([2, config.no_class_id])
    ours = own.forward(ops, tree, config, tokens.numpy(), labels.numpy(), positions)
    with torch.no_grad():
        theirs = model(labels, tokens[:, :-1], positions).numpy()
    steps = decode(model, labels, forced=tokens, positions=positions)
    stepped = torch.cat([step.conditional for step in steps], 1).numpy()
    assert ours.shape == theirs.shape == stepped.shape == (2, 9, 11)
    # all round in float32, some forty times a layer
    assert abs(ours - theirs).max() <= 4e-5 * abs(theirs).max()
    assert abs(ours - stepped).max() <= 4e-5 * abs(theirs).max()
    assert abs(theirs).max() > 1


@pytest.mark.parametrize("form", FORMS)
def test_one_token_a_step_equals_the_training_forward(form, monkeypatch):
    # chunks of four, so that a state is handed from one to the next
    monkeypatch.setattr(mamba, "CHUNK", 4)
    config = small(**FORMS[form])
    model = random_twin(config).double()
    labels, tokens = torch.tensor([0, 2]), torch.randint(11, (2, 9))
    steps = decode(model, labels, forced=tokens)
    stepped = torch.cat([step.conditional for step in steps], 1)
    whole = model(labels, tokens[:, :-1], "released")
    assert (whole - stepped).abs().max() < 1e-5
    assert (whole - model(labels, tokens[:, :-1])).abs().max() > 1e-2


@pytest.mark.parametrize("chunk", [1, 3, 4, 64])
def test_chunks_are_the_recurrence_and_so_are_their_gradients(chunk, monkeypatch):
    monkeypatch.setattr(mamba, "CHUNK", chunk)
    g = torch.Generator().manual_seed(chunk)

    def draw(*shape):
        return torch.randn(shape, generator=g, dtype=torch.float64)

    # the longest steps forget all: e^-800 is 0 in float64
    delta = draw(2, 10, 4).exp() * torch.tensor([0.1, 1.0, 10.0, 100.0])
    A = -draw(4).exp()
    given = [draw(2, 10, 4, 3), delta, A, draw(2, 10, 2, 5), draw(2, 10, 2, 5)]
    x, delta, A, B, C = (each.requires_grad_() for each in given)
    y = mamba.ssd(x, delta, A, B, C)
    arrays = [each.detach().numpy() for each in given]
    nothing = np.zeros(4), np.zeros((2, 4, 3, 5))
    rates = np.log(-arrays[2])
    ours, _ = recurrence(*arrays[:2], rates, *arrays[3:], *nothing)
    assert abs(y.detach().numpy() - ours).max() < 1e-12 * abs(ours).max()

    state, rows = 0, []
    for t in range(10):
        keys, queries = (each[:, t].repeat_interleave(2, 1) for each in (B, C))
        taken = (delta[:, t, :, None] * x[:, t])[..., None] * keys[:, :, None]
        state = (delta[:, t] * A).exp()[..., None, None] * state + taken
        rows.append((state * queries[:, :, None]).sum(-1))
    weight = draw(2, 10, 4, 3)
    expected = torch.autograd.grad((torch.stack(rows, 1) * weight).sum(), given)
    found = torch.autograd.grad((y * weight).sum(), given)
    for one, other in zip(found, expected, strict=True):
        assert torch.isfinite(one).all()
        assert (one - other).abs().max() < 1e-10 * other.abs().max()


def test_a_new_model_is_the_originals_at_the_start():
    """All gates are closed: the logits depend on the last token alone."""
    torch.manual_seed(0)
    model = Aim(small(), Dropouts(0.0, 0.0, 0.0, 0.0))
    mixer = model.backbone.layers[0].mixer
    assert (mixer.A_log.exp() >= 1).all() and (mixer.A_log.exp() <= 16).all()
    steps = torch.nn.functional.softplus(mixer.dt_bias)
    assert (steps >= 0.99e-3).all() and (steps <= 1.01e-1).all()
    assert (mixer.D == 1).all()
    bound = (64 * 3) ** -0.5
    assert 0.9 * bound < mixer.out_proj.weight.abs().max() <= bound
    labels = torch.tensor([0, 1])
    tokens = torch.tensor([[1, 2, 3], [4, 5, 3]])
    with torch.no_grad():
        logits = model(labels, tokens)
        assert torch.equal(logits[0, 3], logits[1, 3])
        for layer in model.backbone.layers:
            layer.adaLN_modulation[1].bias.fill_(1.0)
        logits = model(labels, tokens)
    assert not torch.equal(logits[0, 3], logits[1, 3])


def test_the_class_is_hidden_where_its_uniform_is_small():
    config = small()
    model = random_twin(config, label=0.25)
    tokens, labels = torch.randint(11, (2, 9)), torch.tensor([0, 1])
    hidden = torch.tensor([0, config.no_class_id])
    loss = training_loss(model, tokens, labels, torch.tensor([0.25, 0.24]))
    shown = training_loss(model, tokens, hidden, torch.ones(2))
    assert torch.equal(loss, shown)
    assert not torch.equal(loss, training_loss(model, tokens, labels, torch.ones(2)))
    logits = model(hidden, tokens[:, :-1]).log_softmax(-1)
    chosen = logits.gather(-1, tokens[..., None])
    assert abs(loss.item() + chosen.mean().item()) < 1e-5


def test_guidance_of_one_needs_no_second_half():
    model, labels = random_twin(small()), torch.tensor([0, 1])
    noise = torch.rand(2, 9, 11) + 0.1
    steps = list(decode(model, labels, guidance=1.0, noise=noise))
    assert all(step.unconditional is None for step in steps)
    forced = torch.cat([step.tokens for step in steps], 1)
    near = decode(model, labels, guidance=1.0 + 1e-6, forced=forced)
    for one, other in zip(steps, near, strict=True):
        assert (one.guided - other.guided).abs().max() < 1e-3


def test_rates_are_not_pulled_to_zero():
    """A_log of Mamba-1 is a matrix, D and the biases are not; none of them decays."""
    model = Aim(small(**FORMS["mamba1"]))
    names_of = {id(p): name for name, p in model.named_parameters()}
    pulled, free = make_optimizer(model, 1e-3, 0.1).param_groups
    assert (pulled["weight_decay"], free["weight_decay"]) == (0.1, 0.0)
    kept = {names_of[id(p)].rsplit(".", 1)[1] for p in free["params"]}
    assert kept >= {"A_log", "D", "bias"}
    assert not any(names_of[id(p)].endswith("A_log") for p in pulled["params"])
    assert len(pulled["params"]) + len(free["params"]) == len(names_of)
