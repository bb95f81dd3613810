"""Looking at checkpoints: the twins sample, and the classifier counts."""

import pytest
import torch

from minigen.families import PRESETS
from minigen.training.evaluate import TWINS, load, main, report_tokenizer, sample
from minigen.training.trainer import save

pytestmark = pytest.mark.needs("torch")

SETTING = {
    "order": "raster",
    "schedule": "linear",
    "steps": 4,
    "guidance": 2.0,
    "ramp": "constant",
    "temperature": 1.0,
    "top_k": 0,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder of checkpoints as the trainer leaves them, of untrained models."""
    folder = tmp_path_factory.mktemp("train")
    torch.manual_seed(0)
    for name, twin in TWINS.items():
        (folder / name).mkdir()
        model = twin(PRESETS[f"{name}-mnist"])
        save(folder / name / f"{name}.pt", {"ema": model.state_dict()})
    return folder


def test_samples_take_turns_and_depend_on_the_seed_alone(trained):
    model = load("arpg", trained)
    torch.nn.init.normal_(model.head.weight)
    labels, tokens = sample(model, 23, seed=5, **SETTING)
    assert labels.tolist() == [i % 10 for i in range(23)]
    assert tokens.shape == (23, 64)
    assert tokens.min() >= 0 and tokens.max() < model.config.vocabulary
    assert torch.equal(tokens, sample(model, 23, seed=5, **SETTING)[1])
    assert not torch.equal(tokens, sample(model, 23, seed=6, **SETTING)[1])


def test_a_tokenizer_that_blurs_everything_is_found_out(trained):
    vq, classifier = load("vq", trained), load("judge", trained)
    with torch.no_grad():
        vq.decoder.conv_out.weight.zero_()
        classifier.head.weight.zero_()
        classifier.head.bias.copy_(torch.arange(10.0))
    grey = torch.randint(0, 256, (12, 32, 32), dtype=torch.uint8)
    report = report_tokenizer(vq, classifier, grey, torch.tensor([9] * 3 + [0] * 9))
    # this classifier sees a nine in everything
    assert report["judge_accuracy"] == report["accuracy_after"] == 0.25
    assert report["agreement"] == 1.0
    assert report["l2"] > 0.1
    assert 1 <= report["codes_used"] <= vq.config.codes


def test_the_command_tries_every_combination(trained, capsys):
    given = ["arpg", "--train", str(trained), "--count=4", "--threads=1", "--steps=2"]
    assert main([*given, "--order", "raster", "halton", "--guidance", "1", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and all("agreement" in line for line in lines)
    assert "order halton schedule arccos steps 2 guidance 3.0" in lines[-1]


@pytest.mark.parametrize("name", ["gpt", "aim"])
def test_a_raster_model_has_no_orders_to_try(trained, capsys, name):
    given = [name, "--train", str(trained), "--count=4", "--threads=1"]
    assert main([*given, "--guidance", "1", "3", "--temperature", "0.5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and all("agreement" in line for line in lines)
    assert lines[-1].startswith("guidance 3.0 temperature 0.5 top_k 0: ")


def test_a_missing_checkpoint_is_named(tmp_path, capsys):
    assert main(["arpg", "--train", str(tmp_path)]) == 2
    assert "vq.pt does not exist; train it first" in capsys.readouterr().err
