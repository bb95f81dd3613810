"""The ARPG twin against what the original computed."""

import argparse

import pytest
import torch
from safetensors.torch import load_file

from minigen import backends
from minigen.checkpoints.names import to_tree
from minigen.errors import InputError
from minigen.families import ArpgConfig
from minigen.models import arpg
from minigen.training.arpg import Arpg, decode, generate, misplace, training_loss
from minigen.training.layers import Dropouts
from minigen.training.trainer import make_optimizer, take_step, update_average

from .cases import load

pytestmark = pytest.mark.needs("torch")


def twin(case, label=0.0):
    config = ArpgConfig.from_upstream(case.text["config"])
    return case.fill(Arpg(config, Dropouts(0.0, 0.0, 0.0, label)))


def loss_of(model, case):
    shown = torch.ones(len(case["class_id"]))
    return training_loss(model, case["tokens"], case["class_id"], case["order"], shown)


@pytest.mark.parametrize("name", ["train_forward_a", "train_forward_b"])
def test_the_training_forward_is_the_originals(golden, name):
    case = load(golden, "arpg", name)
    model = twin(case)
    case.assert_close(model(case["input_ids"], case["order"]), "logits")
    case.assert_close(loss_of(model, case), "loss")


def test_without_the_causal_mask_every_query_sees_all(golden):
    case = load(golden, "arpg", "train_forward_a")
    logits = twin(case)(case["input_ids"], case["order"], causal=False)
    assert (logits - case["logits_eval_mode"]).abs().max() < 1e-4
    assert (logits - case["logits"]).abs().max() > 0.1


def test_the_class_is_hidden_where_its_uniform_is_small(golden):
    case = load(golden, "arpg", "train_forward_classdrop")
    model = twin(case, case.text["class_dropout_prob"])
    loss = training_loss(
        model, case["tokens"], case["class_id"], case["order"], case["drop_uniform"]
    )
    case.assert_close(loss, "loss")


def test_misplaced_contents_change_what_is_seen_but_not_what_is_asked(golden):
    case = load(golden, "arpg", "train_forward_a")
    model, order = twin(case), case["order"]
    given = model, case["tokens"], case["class_id"], order, torch.ones(len(order))
    assert torch.equal(training_loss(*given, order), training_loss(*given))
    places = misplace(order, 1.0, torch.Generator().manual_seed(0))
    targets = case["tokens"].gather(1, order)
    ids = case["input_ids"].clone()
    ids[:, 1:] = case["tokens"].gather(1, places)[:, :-1]
    assert (ids != case["input_ids"]).any()
    logits = model(ids, order).flatten(0, 1)
    expected = torch.nn.functional.cross_entropy(logits, targets.flatten())
    assert torch.equal(training_loss(*given, places), expected)


def test_the_earlier_a_token_the_more_often_it_is_misplaced():
    order = torch.arange(64).expand(4000, -1)
    places = misplace(order, 0.8, torch.Generator().manual_seed(1))
    moved = (places != order).double().mean(0)
    # one random place in 64 is the right one
    expected = 0.8 * 63 / 64 * torch.exp(-torch.arange(64).double() / 4)
    assert (moved - expected).abs().max() < 0.03
    assert torch.equal(misplace(order, 0.0, torch.Generator()), order)


def test_the_gradients_are_the_originals(golden):
    case = load(golden, "arpg", "grads")
    model = twin(case)
    loss = loss_of(model, case)
    loss.backward()
    case.assert_close(loss, "loss")
    names = [name for name, _ in model.named_parameters()]
    assert {f"grad.{name}" for name in names} == {
        n for n in case.arrays if "grad." in n
    }
    for name, parameter in model.named_parameters():
        case.assert_close(parameter.grad, f"grad.{name}")


def test_optimiser_steps_and_the_average_are_the_originals(golden):
    case = load(golden, "arpg", "train_steps")
    hyper = case.text["hyper"]
    model, average = twin(case), twin(case)
    optimizer = make_optimizer(model, hyper["lr"][0], hyper["weight_decay"])
    for i, rate in enumerate(hyper["lr"]):
        tokens, labels, order = (case[n][i] for n in ("tokens", "class_id", "order"))
        loss = training_loss(model, tokens, labels, order, torch.ones(len(labels)))
        norm = take_step(model, optimizer, {"loss": loss}, rate)
        update_average(average, model, hyper["ema_decay"])
        for result, name in ((loss, "loss"), (norm, "grad_norm")):
            error = case.text["tolerance"]["per_array"][name]["max_abs"]
            assert abs(result.item() - case[name][i].item()) <= 20 * error
    for name, parameter in model.named_parameters():
        case.assert_close(parameter, f"final.{name}")
    case.assert_close(average.head.weight, "ema.head.weight")


def test_the_originals_training_file_continues(golden):
    case = load(golden, "arpg", "train_steps")
    path = case.folder / case.text["weights"]["files"][0]["path"]
    with torch.serialization.safe_globals([argparse.Namespace]):
        content = torch.load(path, weights_only=True)
    assert set(content) == {"model", "optimizer", "steps", "args", "ema"}
    model = twin(case)
    model.load_state_dict(content["model"])
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter.detach(), case[f"final.{name}"])


def read_any(path):
    if path.suffix == ".safetensors":
        return load_file(path)
    content = torch.load(path, weights_only=True)
    return content.get("model", content.get("module", content))


def test_every_container_gives_the_same_model(golden):
    case = load(golden, "arpg", "formats")
    files = case.text["weights"]["files"]
    assert files
    for file in files:
        model = twin(case)
        model.load_state_dict(read_any(case.folder / file["path"]))
        shown = torch.ones(len(case["class_id"]))
        loss = training_loss(
            model, case["tokens"], case["class_id"], case["order"], shown
        )
        case.assert_close(loss, file["logits"].replace("logits", "loss"))


def trace_options(case, trace):
    """How `decode` is told to do what the recorded run did."""
    noise = case.arrays.get(trace["prefix"] + "noise")
    greedy = {"top_k": 1} if trace["kind"] == "greedy" else {}
    if noise is None:
        labels, order = (
            case[trace["prefix"] + "class_id"],
            case[trace["prefix"] + "order"],
        )
        noise = torch.ones(len(labels), len(order), case.text["config"]["vocab_size"])
    return {
        "guidance": trace["guidance_scale"],
        "ramp": trace.get("cfg_schedule", "linear"),
        "temperature": trace.get("temperature", 1.0),
        "top_k": trace.get("top_k", 0),
        "noise": noise,
        **greedy,
    }


@pytest.mark.parametrize(
    "name", ["generate_cache", "generate_options", "generate_c256", "orders"]
)
def test_generation_replays_the_recorded_traces(golden, name):
    case = load(golden, "arpg", name)
    model = twin(case)
    assert case.text["traces"]
    for trace in case.text["traces"]:
        prefix = trace["prefix"]
        labels, order = case[prefix + "class_id"], case[prefix + "order"]
        options, counts = trace_options(case, trace), case[prefix + "num_pred"].tolist()
        drawn = generate(model, labels, order, counts, **options)
        assert torch.equal(drawn[:, order], case[prefix + "tokens"]), prefix
        steps = list(decode(model, labels, order, counts, **options))
        for field in ("conditional", "unconditional", "guided"):
            logits = torch.cat([getattr(step, field) for step in steps], 1)
            recorded = {"conditional": "cond", "unconditional": "uncond"}.get(
                field, field
            )
            case.assert_close(logits, f"{prefix}logits_{recorded}")


def test_one_token_a_step_equals_the_training_forward():
    torch.manual_seed(3)
    config = ArpgConfig(width=32, layers=4, heads=2, vocabulary=11, classes=3, tokens=9)
    model = Arpg(config, Dropouts(0.0, 0.0, 0.0, 0.0)).double()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    labels, order = torch.tensor([0, 2]), torch.randperm(9)
    tokens = torch.randint(11, (2, 9))
    steps = decode(model, labels, order, [1] * 9, forced=tokens[:, order])
    cached = torch.cat([step.conditional for step in steps], 1)
    ids = torch.cat([config.class_id(labels)[:, None], tokens[:, order[:-1]]], 1)
    assert (model(ids, order.expand(2, -1)) - cached).abs().max() < 1e-5


@pytest.mark.parametrize("counts", [[4, 4], [9, 0], [10]])
def test_counts_that_do_not_part_the_positions_are_refused(counts):
    config = ArpgConfig(width=32, layers=2, heads=2, vocabulary=11, classes=3, tokens=9)
    with pytest.raises(InputError, match="do not add up to 9 positions"):
        generate(Arpg(config), torch.tensor([0]), torch.arange(9), counts)


CONTROLLED = ArpgConfig(
    width=32, layers=4, heads=2, vocabulary=11, classes=3, tokens=9, control=5
)


def controlled(seed=4):
    torch.manual_seed(seed)
    model = Arpg(CONTROLLED, Dropouts(0.0, 0.0, 0.0, 0.5))
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    order = torch.stack([torch.randperm(9) for _ in range(2)])
    return model, torch.randint(11, (2, 9)), order, torch.randint(5, (2, 9))


def test_the_twin_with_control_is_minigens_own_model():
    model, tokens, order, control = controlled()
    labels, ops = torch.tensor([0, 2]), backends.table("numpy")
    ids = torch.cat([CONTROLLED.class_id(labels)[:, None], tokens.gather(1, order)], 1)
    expected = model(ids[:, :-1], order, control=control).detach().numpy()
    state = {name: p.detach().numpy() for name, p in model.named_parameters()}
    weights, table = to_tree(CONTROLLED, state), arpg.rotary_table(ops, CONTROLLED)
    given = (x.numpy() for x in (tokens, labels, order))
    logits = arpg.forward(
        ops, weights, CONTROLLED, *given, table, codes=control.numpy()
    )
    assert abs(logits - expected).max() < 1e-4
    assert abs(model(ids[:, :-1], order).detach().numpy() - expected).max() > 0.1


def test_a_new_twin_with_control_is_as_without():
    torch.manual_seed(0)
    model = Arpg(CONTROLLED, Dropouts(0.0, 0.0, 0.0, 0.0))
    torch.nn.init.normal_(model.head.weight)
    _, tokens, order, control = controlled()
    ids = CONTROLLED.class_id(tokens % 3)
    with_it, without = model(ids, order, control=control), model(ids, order)
    assert torch.equal(with_it, without) and with_it.abs().max() > 0.1


def test_control_is_hidden_in_half_of_the_samples_without_a_class():
    model, tokens, order, control = controlled()

    def loss(uniform, label, control):
        labels = torch.full((2,), label)
        shown = torch.full((2,), uniform)
        return training_loss(model, tokens, labels, order, shown, control=control)

    other, moved = (control + 1) % 5, torch.not_equal
    # both are seen; the control alone; nothing is
    for uniform, class_seen, seen in ((0.7, 1, 1), (0.4, 0, 1), (0.1, 0, 0)):
        base = loss(uniform, 0, control)
        assert moved(base, loss(uniform, 1, control)) == class_seen
        assert moved(base, loss(uniform, 0, other)) == seen


def test_one_token_a_step_equals_the_training_forward_with_control():
    model, tokens, order, control = controlled()
    labels, order = torch.tensor([0, 2]), order[0]
    forced = tokens[:, order]
    steps = decode(model, labels, order, [1] * 9, forced=forced, control=control)
    cached = torch.cat([step.conditional for step in steps], 1)
    ids = torch.cat([CONTROLLED.class_id(labels)[:, None], forced[:, :-1]], 1)
    whole = model(ids, order.expand(2, -1), control=control)
    assert (whole - cached).abs().max() < 1e-4
