"""The tokenizer twin against what the original computed."""

import pytest
import torch
from safetensors.torch import load_file

from minigen.families import VqConfig
from minigen.training.vq import (
    RECENT,
    Quantizer,
    Vq,
    find_blank,
    place_codes,
    restart_codes,
)

from .cases import load

pytestmark = pytest.mark.needs("torch")

TINY = ["tiny_hidden", "tiny_nonsquare", "tiny_raw_codebook", "tiny_formats"]


def twin(case):
    return case.fill(Vq(VqConfig.from_upstream(case.text["config"]))).eval()


@pytest.mark.parametrize("name", TINY)
@torch.no_grad()
def test_encoding_and_decoding_are_the_originals(golden, name):
    case = load(golden, "vq", name)
    model = twin(case)
    latent = model.latent(case["x"])
    case.assert_close(latent, "h")
    case.assert_close(model.quantize.distances(latent), "dist")
    codes, losses, indices = model.encode(case["x"])
    safe = (
        case["gap"]
        > 20 * case.text["index_safety"]["all"]["max_abs_distance_error_float32"]
    )
    assert safe.any() and torch.equal(indices[safe], case["indices"][safe])
    assert losses == {}
    drawn = model.decode_code(case["indices"].view(len(latent), -1), latent.shape[2:])
    case.assert_close(drawn, "recon")
    assert (model.decode(codes) - drawn).abs().max() < 1e-4


@torch.no_grad()
def test_every_block_is_the_originals(golden):
    case = load(golden, "vq", "tiny_hidden")
    model, seen = twin(case), {}
    for name, module in model.named_modules():
        if f"h_{name}" in case.arrays:
            module.register_forward_hook(
                lambda module, x, y, name=name: seen.update({name: y})
            )
    codes = model.latent(case["x"])
    model.decode_code(case["indices"].view(1, -1), codes.shape[2:])
    assert {f"h_{name}" for name in seen} == {n for n in case.arrays if n[:2] == "h_"}
    for name, y in seen.items():
        case.assert_close(y, f"h_{name}")


def read_any(path):
    if path.suffix == ".safetensors":
        return load_file(path)
    return torch.load(path, weights_only=True)["model"]


@torch.no_grad()
def test_every_container_gives_the_same_tokenizer(golden):
    case = load(golden, "vq", "tiny_formats")
    for file in case.text["weights"]["files"]:
        model = Vq(VqConfig.from_upstream(case.text["config"])).eval()
        model.load_state_dict(read_any(case.folder / file["path"]))
        case.assert_close(model.decode_code(case["tokens"], (8, 8)), file["image"])


def test_names_and_shapes_are_the_full_tokenizers():
    with torch.device("meta"):
        model = Vq(VqConfig())
    state = model.state_dict()
    assert len(state) == 344
    assert sum(p.numel() for p in model.parameters()) == 71_883_403
    assert state["decoder.conv_blocks.0.attn.2.proj_out.weight"].shape == (
        512,
        512,
        1,
        1,
    )


@pytest.mark.parametrize("prefix", ["l2", "raw"])
def test_training_losses_and_gradients_are_the_originals(golden, prefix):
    case = load(golden, "vq", "quantizer")
    c = case.text["config"]
    config = VqConfig(codes=c["n_e"], code_size=c["e_dim"], unit_codes=prefix == "l2")
    quantizer = Quantizer(config, c["beta"], c["entropy_loss_ratio"]).train()
    with torch.no_grad():
        quantizer.embedding.weight.copy_(case["train_codebook"])
    z = case["train_z"].clone().requires_grad_()
    codes, losses, indices = quantizer(z)
    assert torch.equal(indices, case[f"{prefix}_train_indices"])
    for name, loss in losses.items():
        case.assert_close(loss, f"{prefix}_{name}_loss")
    ramp = torch.linspace(-1, 1, codes.numel()).view(codes.shape)
    (sum(losses.values()) + (codes * ramp).mean()).backward()
    case.assert_close(z.grad, f"{prefix}_grad_z")
    case.assert_close(quantizer.embedding.weight.grad, f"{prefix}_grad_codebook")
    assert quantizer.usage() == pytest.approx(case.text[f"{prefix}_usage"])


def test_the_quantizer_remembers_the_latest_codes():
    quantizer = Quantizer(VqConfig(codes=7, code_size=2))
    quantizer.remember(torch.full((RECENT,), 3))
    quantizer.remember(torch.tensor([5, 5, 6]))
    assert quantizer.codebook_used[-4:].tolist() == [3, 5, 5, 6]
    assert quantizer.usage() == pytest.approx(3 / 7)


def test_k_means_finds_clusters_and_restarts_reach_far_vectors():
    torch.manual_seed(0)
    quantizer = Quantizer(VqConfig(codes=5, code_size=2))
    blank = quantizer.embedding.weight[0].clone()
    angles = torch.tensor([0.0, 1.5, 3.0, 4.5]).repeat_interleave(9)
    angles = angles + 0.01 * torch.randn(36)
    vectors = torch.stack([angles.cos(), angles.sin()], 1)
    place_codes(quantizer, vectors)
    rows = quantizer.embedding.weight.detach()
    nearest = torch.cdist(vectors, rows[1:]).min(1)
    assert nearest.values.max() < 0.1 and len(nearest.indices.unique()) == 4
    assert torch.equal(rows[0], blank)
    with torch.no_grad():
        quantizer.embedding.weight.copy_(torch.tensor([[1.0, 0.0]]).repeat(5, 1))
    quantizer.remember(torch.zeros(RECENT))
    restart_codes(quantizer, vectors)
    rows = quantizer.embedding.weight.detach()
    assert torch.equal(rows[0], torch.tensor([1.0, 0.0]))
    assert (rows[1:].norm(dim=1) - 1).abs().max() < 1e-6
    assert (rows[1:, 0] < 0.99).all()


def test_blank_patches_are_found_and_pulled_to_code_0():
    images = torch.full((1, 3, 8, 12), -1.0)
    images[:, :, 3, 5] = 0.0
    found = find_blank(images, torch.zeros(1, 8, 2, 3))
    assert found.tolist() == [[[True, False, True], [True, True, True]]]
