"""The LlamaGen twin against what the original computed, and against minigen's own."""

import argparse

import pytest
import torch

from minigen import backends
from minigen.checkpoints import names
from minigen.families import GptConfig
from minigen.models import llamagen
from minigen.training.layers import Dropouts
from minigen.training.llamagen import Gpt, training_loss
from minigen.training.raster import decode

from .cases import load
from .test_arpg import read_any

pytestmark = pytest.mark.needs("torch")

SMALL = GptConfig(
    width=32, layers=2, heads=4, key_heads=2, vocabulary=11, classes=3, tokens=9
)


def twin(case, label=0.0):
    config = GptConfig.from_upstream(case.text["config"])
    return case.fill(Gpt(config, Dropouts(0.0, 0.0, 0.0, label)))


def random_twin(config=SMALL):
    torch.manual_seed(3)
    model = Gpt(config, Dropouts(0.0, 0.0, 0.0, 0.0)).eval()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    return model


@pytest.mark.parametrize("name", ["train_forward_a", "train_forward_gqa"])
def test_the_training_forward_is_the_originals(golden, name):
    case = load(golden, "llamagen", name)
    model, tokens, labels = twin(case), case["tokens"], case["class_id"]
    case.assert_close(model(labels, tokens[:, :-1]), "logits_eval")
    case.assert_close(model(labels, tokens)[:, -1], "logits_eval_full_last")
    shown = torch.ones(len(labels))
    case.assert_close(training_loss(model, tokens, labels, shown), "loss_eval")


def test_the_class_is_hidden_where_its_uniform_is_small(golden):
    case = load(golden, "llamagen", "train_forward_gqa")
    model = twin(case, case.text["class_dropout_prob"])
    given = model, case["tokens"], case["class_id"], case["drop_uniform"]
    case.assert_close(training_loss(*given), "loss")
    case.assert_close(training_loss(*given, case["valid"]), "loss_valid")
    none = training_loss(*given, torch.zeros_like(case["valid"]))
    assert none.item() == 0.0


def test_the_gradients_are_the_originals(golden):
    case = load(golden, "llamagen", "grads")
    model = twin(case)
    shown = torch.ones(len(case["class_id"]))
    loss = training_loss(model, case["tokens"], case["class_id"], shown)
    loss.backward()
    case.assert_close(loss, "loss")
    for name, parameter in model.named_parameters():
        case.assert_close(parameter.grad, f"grad.{name}")
    found = {f"grad.{name}" for name, _ in model.named_parameters()}
    assert found == {name for name in case.arrays if "grad." in name}


def test_every_container_gives_the_same_model(golden):
    case = load(golden, "llamagen", "formats")
    for file in case.text["weights"]["files"]:
        model = twin(case)
        # one is a whole training file, with the arguments of the script
        with torch.serialization.safe_globals([argparse.Namespace]):
            state = read_any(case.folder / file["path"])
        rest = model.load_state_dict(state, strict=False)
        assert not rest.missing_keys
        shown = torch.ones(len(case["class_id"]))
        loss = training_loss(model, case["tokens"], case["class_id"], shown)
        case.assert_close(loss, file["logits"].replace("logits", "loss"))


@pytest.mark.parametrize("name", ["generate_a16", "generate_gqa"])
def test_generation_replays_the_recorded_traces(golden, name):
    case = load(golden, "llamagen", name)
    model, replayed = twin(case), 0
    for trace in case.text["traces"]:
        prefix, count = trace["prefix"], trace["max_new_tokens"]
        if "top_p" in trace or count > model.config.tokens:
            # the twin has no top-p, and no token beyond the image
            continue
        labels = case[prefix + "class_id"]
        noise = case.arrays.get(prefix + "noise")
        if noise is None:
            noise = torch.ones(len(labels), count, model.config.vocabulary)
        interval = trace.get("cfg_interval", -1)
        options = {
            # below 1 the original draws as at 1, and we by the formula
            "guidance": max(trace["cfg_scale"], 1.0),
            "guided_steps": None if interval == -1 else interval + 2,
            "temperature": trace.get("temperature", 1.0),
            "top_k": 1 if trace["kind"] == "greedy" else trace.get("top_k", 0),
            "noise": noise,
        }
        steps = list(decode(model, labels, count, **options))
        drawn = torch.cat([step.tokens for step in steps], 1)
        assert torch.equal(drawn, case[prefix + "tokens"]), prefix
        logits = torch.cat([step.guided for step in steps], 1)
        case.assert_close(logits, prefix + "logits_guided")
        replayed += 1
    assert replayed >= 2


def test_the_twin_and_minigen_are_one_model():
    """The weights the twin was trained to, converted: the same logits."""
    model = random_twin()
    state = {name: p.detach().numpy() for name, p in model.named_parameters()}
    assert set(state) == set(names.manifest(SMALL))
    tree, ops = names.to_tree(SMALL, state), backends.table("numpy")
    tokens, labels = torch.randint(11, (2, 8)), torch.tensor([2, SMALL.no_class_id])
    table = llamagen.rotary_table(ops, SMALL)
    ours = llamagen.forward(ops, tree, SMALL, tokens.numpy(), labels.numpy(), table)
    with torch.no_grad():
        theirs = model(labels, tokens).numpy()
    assert ours.shape == theirs.shape == (2, 9, 11)
    # both round in float32, some forty times a layer
    assert abs(ours - theirs).max() <= 4e-5 * abs(theirs).max()
    assert abs(theirs).max() > 1


def test_one_token_a_step_equals_the_training_forward():
    model = random_twin().double()
    labels, tokens = torch.tensor([0, 2]), torch.randint(11, (2, 9))
    steps = decode(model, labels, forced=tokens)
    cached = torch.cat([step.conditional for step in steps], 1)
    whole = model(labels, tokens[:, :-1])
    assert (whole - cached).abs().max() < 1e-5
