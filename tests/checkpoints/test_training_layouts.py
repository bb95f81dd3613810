"""What the originals' own training code writes: it loads, converts and draws.

The layouts are those of README.md's table, written by torch with an optimizer's state
and arguments as those programs have them. The weights are stand-ins of few numbers.
"""

import argparse
import json

import numpy as np
import pytest

import minigen
from minigen.checkpoints import convert, describe, load_model
from minigen.families import FAMILIES
from tests.fuzz.inputs import SMALL, state_of

pytestmark = [pytest.mark.needs("torch"), pytest.mark.filterwarnings("ignore")]

IMAGE = {"image_size": 32, "downsample_size": 16, "num_classes": 2, "vocab_size": 4}
MASKED = {"img_size": 32, "vae_stride": 16, "vae_embed_dim": 2, "patch_size": 1,
          "class_num": 2, "buffer_size": 2, "num_sampling_steps": "2"}  # fmt: skip
HEAD = {"head_type": "ar_gmm", "num_gaussians": 2, "inner_ar_width": 64,
        "inner_ar_depth": 1, "feature_group": 1, "bilevel_schedule": "constant",
        "use_nf": False}  # fmt: skip


def tensors(family, prefix="", shift=0.0):
    import torch

    state = state_of(family).items()
    return {prefix + n: torch.from_numpy(a.copy()) + shift for n, a in state}


def optimizer(state):
    """Return the state of an optimizer that has taken a step."""
    import torch

    numbers = [torch.nn.Parameter(t) for t in state.values() if t.is_floating_point()]
    made = torch.optim.AdamW(numbers)
    for each in numbers:
        each.grad = torch.ones_like(each)
    made.step()
    return made.state_dict()


def save(path, content):
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def arguments(**values):
    return argparse.Namespace(lr=1e-4, epochs=2, mixed_precision="bf16", **values)


def llamagen(folder, family="llamagen", **values):
    """train_c2i.py of ARPG and LlamaGen: NUMBER.pt."""
    model, average = tensors(family), tensors(family, shift=0.01)
    said = arguments(gpt_model="GPT-B", **IMAGE, **values)
    content = {"model": model, "optimizer": optimizer(model), "steps": 5, "args": said}
    content["ema"] = average
    return save(folder / "0000005.pt", content)


def arpg(folder):
    return llamagen(folder, "arpg", gpt_type="c2i", cls_token_num=1)


def fsdp(folder):
    """train_c2i_fsdp.py of LlamaGen: a folder."""
    save(folder / "consolidated.pth", tensors("llamagen"))
    save(folder / "optimizer.00000-of-00001.pth", optimizer(tensors("llamagen")))
    (folder / "resume_step.txt").write_text("5\n")
    return folder


def vq(folder):
    """vq_train.py of LlamaGen: NUMBER.pt."""
    import torch

    adversary = {"main.0.weight": torch.ones(4, 3, 4, 4), "main.0.bias": torch.ones(4)}
    model = {**tensors("vq"), "quantize.codebook_used": torch.zeros(65536)}
    content = {"model": model, "optimizer": optimizer(tensors("vq")), "steps": 5,
               "discriminator": adversary, "optimizer_disc": optimizer(adversary),
               "args": arguments(codebook_size=4, codebook_embed_dim=2,
                                 codebook_l2_norm=True)}  # fmt: skip
    return save(folder / "0000005.pt", content)


def trainer(folder):
    """train_stage2.py of AiM, by Hugging Face's Trainer: a folder."""
    import torch

    both = {**tensors("vq", "vqvae."), **tensors("aim", "mamba.")}
    words = both["mamba.backbone.embeddings.word_embeddings.weight"]
    save(folder / "pytorch_model.bin", {**both, "mamba.lm_head.weight": words})
    save(folder / "optimizer.pt", optimizer(tensors("aim")))
    save(folder / "scheduler.pt", {"last_epoch": 1, "_last_lr": [1e-4]})
    save(folder / "training_args.bin", arguments(output_dir="."))
    save(folder / "rng_state.pth", {"cpu": torch.get_rng_state()})
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": 5}))
    return folder


def mamba(folder):
    """save_pretrained of AiM's generator alone: a folder."""
    save(folder / "pytorch_model.bin", tensors("aim"))
    said = {"d_model": 8, "n_layer": 1, "vocab_size": 4, "num_classes": 2}
    said |= {"num_tokens": 4, "adaln_group": False, "d_intermediate": 0}
    said |= {"ssm_cfg": {"layer": "Mamba2", "d_state": 4, "headdim": 4}}
    (folder / "config.json").write_text(json.dumps(said))
    return folder


def mar(folder, family="mar", **values):
    """save_model of MAR and ARINAR: checkpoint-last.pth in a folder."""
    content = {"model": tensors(family), "model_ema": tensors(family, shift=0.01),
               "optimizer": optimizer(tensors(family)), "epoch": 3,
               "scaler": {"scale": 65536.0, "growth_factor": 2.0, "_growth_tracker": 1},
               "args": arguments(model="mar_base", **MASKED, **values)}  # fmt: skip
    save(folder / "checkpoint-last.pth", content)
    return folder


def mar_without_average(folder):
    content = {"model": tensors("mar"), "model_ema": None, "args": arguments(**MASKED)}
    return save(folder / "checkpoint-3.pth", content)


def arinar(folder):
    return mar(folder, "arinar", **HEAD)


def arinar_broken_off(folder):
    """What ARINAR's training writes where its loss is no number: loss_is_nan.pth."""
    import torch

    content = {"model": tensors("arinar", "module."), "samples": torch.ones(2, 3, 4, 4),
               "labels": torch.ones(2), "x": torch.ones(2, 2, 2, 2), "epoch": 3,
               "optimizer": optimizer(tensors("arinar")),
               "args": arguments(**MASKED, **HEAD)}  # fmt: skip
    return save(folder / "loss_is_nan.pth", content)


def lightning(folder, family, **more):
    """main.py of taming-transformers and of latent-diffusion: last.ckpt."""
    import torch

    beside = {"loss.logvar": torch.zeros(()), "loss.discriminator.main.0.weight":
              torch.ones(4, 3, 4, 4), "loss.perceptual_loss.lin0.model.1.weight":
              torch.ones(1, 4, 1, 1)}  # fmt: skip
    content = {"epoch": 3, "global_step": 5, "pytorch-lightning_version": "1.0.8",
               "state_dict": {**tensors(family), **beside, **more},
               "callbacks": {argparse.Namespace: {"best_model_score": torch.ones(())}},
               "optimizer_states": [optimizer(tensors(family))] * 2,
               "lr_schedulers": []}  # fmt: skip
    return save(folder / "last.ckpt", content)


def taming(folder):
    return lightning(folder, "vq")


def diffusion(folder):
    return lightning(folder, "kl")


def averaged(folder):
    """An autoencoder of latent diffusion with LitEma, whose names have no dots."""
    import torch

    flat = {f"model_ema.{n.replace('.', '')}": t for n, t in tensors("kl").items()}
    counts = {f"model_ema.{n}": torch.ones(()) for n in ("decay", "num_updates")}
    return lightning(folder, "kl", **flat, **counts)


def kl16(folder):
    """The file that MAR's own code reads: kl16.ckpt."""
    return save(folder / "kl16.ckpt", {"model": tensors("kl")})


LAYOUTS = {
    "ARPG": (arpg, "arpg", "ema"), "LlamaGen": (llamagen, "llamagen", "ema"),
    "LlamaGen, FSDP": (fsdp, "llamagen", ""), "VQ": (vq, "vq", "model"),
    "AiM": (trainer, "aim", ""), "AiM, its generator": (mamba, "aim", ""),
    "MAR": (mar, "mar", "model_ema"),
    "MAR, no average": (mar_without_average, "mar", "model"),
    "ARINAR": (arinar, "arinar", "model_ema"),
    "ARINAR, broken off": (arinar_broken_off, "arinar", "model"),
    "VQ, taming": (taming, "vq", "state_dict"),
    "KL, latent diffusion": (diffusion, "kl", "state_dict"),
    "KL, latent diffusion with LitEma": (averaged, "kl", "state_dict"),
    "KL, as MAR reads it": (kl16, "kl", "model"),
}  # fmt: skip


@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_training_file_loads_converts_and_draws(kind, tmp_path):
    write, family, key = LAYOUTS[kind]
    path = write(tmp_path / "0")
    model = load_model(path)
    assert (model.family, model.key) == (family, key)
    assert describe(path).hash == model.hash
    convert(path, tmp_path / f"{family}.safetensors")
    ours = load_model(tmp_path / f"{family}.safetensors")
    assert (ours.hash, ours.config) == (model.hash, model.config)
    first = draw(path, family, tmp_path)
    assert np.array_equal(first, draw(ours.path, family, tmp_path))
    assert first.std() > 0


def draw(path, family, folder):
    """Return an image drawn with a file: by it, or by a small generator with it."""
    kind = FAMILIES[family].tokenizer
    generator, other = (path, kind) if kind else (None, family)
    tokenizer = None if kind else path
    beside = folder / f"beside-{other}.safetensors"
    if generator is None:
        generator = folder / "generator.safetensors"
        drawn_by = {"vq": "arpg", "kl": "mar"}[family]
        small(folder, drawn_by, generator)
    else:
        tokenizer = small(folder, other, beside)
    pipe = minigen.load(generator, tokenizer, "numpy")
    return pipe.sample([1, 0], seed=3)


def small(folder, family, out):
    path = save(folder / f"{family}.pt", tensors(family))
    convert(path, out, config=SMALL[family])
    return out
