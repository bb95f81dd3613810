"""What no shape shows: who is believed, in which order, and that it is said."""

import json
import warnings
from dataclasses import fields, replace
from typing import get_args, get_type_hints

import numpy as np
import pytest
from typer.testing import CliRunner

import minigen
from minigen.checkpoints import convert, describe, load_model, names
from minigen.checkpoints.sources import Fields, Given, lines
from minigen.cli import app
from minigen.commands.options import FIELDS, MORE_FIELDS
from minigen.errors import CheckpointError, InputError, MinigenError
from minigen.families import (
    FAMILIES,
    PRESETS,
    AimConfig,
    ArinarConfig,
    ArpgConfig,
    GptConfig,
    KlConfig,
    MarConfig,
    VqConfig,
    family_of,
)
from tests.checkpoints.writing import write_zip
from tests.models.stand_in import stand_in_state

ARPG = ArpgConfig(
    width=128, layers=2, heads=4, vocabulary=64, classes=10, tokens=64, multiple_of=32
)
TRAINING = {"gpt_model": "ARPG-S", "image_size": 128, "downsample_size": 16}
HEADS = "a rule of 64 numbers a head; say --heads N if it is another"


def run(*arguments):
    """Run a command; return its result, which must not be a traceback."""
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exception is None or type(done.exception) is SystemExit
    return done


def settled(config, kind="config", file="", **values):
    """Return what weights of a configuration are taken for, if that is said of them."""
    return names.settled(names.stand_in(config), (Given(kind, kind, values),), file)


@pytest.fixture
def own(tmp_path):
    """An ARPG with 4 heads and 64 tokens, of a training that recorded nothing."""
    path = tmp_path / "own.pt"
    write_zip(path, {"model": stand_in_state(ARPG)})
    return path


def test_what_nobody_says_is_said_to_be_assumed(own, tmp_path):
    for command in (
        ("info", own), ("convert", own, tmp_path / "ours.safetensors"),
        ("sample", own, "--class", 3, "--tokenizer", "vq-mnist", "--backend", "numpy",
         "--steps", 1, "--out", tmp_path / "drawn.png"),
        ("info", tmp_path / "ours.safetensors"),
    ):  # fmt: skip
        done = run(*command)
        assert done.exit_code == 0
        said = done.output.replace("a rule's, when it was converted;", HEADS[:-40])
        assert "\nheads 2: a rule" in f"\n{said}" and "--heads N" in said, command
        assert "\ntokens 256: a rule" in f"\n{said}", command
    with pytest.warns(UserWarning, match=r"own.pt: heads 2: a rule of 64 numbers"):
        minigen.load(own, "vq-mnist", "numpy")


def test_what_is_told_is_drawn_said_and_replayed(own, tmp_path):
    drawn = tmp_path / "drawn.png"
    told = ("--heads", 4, "--tokens", 64)
    how = ("--tokenizer", "vq-mnist", "--backend", "numpy", "--steps", 2, "--json")
    done = run("sample", own, "--class", 3, "--out", drawn, *how, *told)
    found = json.loads(done.stdout)
    expected = {"value": 4, "kind": "option", "words": "from --heads"}
    assert found["sources"]["heads"] == expected
    assert found["recipe"]["config"] == {"heads": 4, "tokens": 64}
    done = run("sample", own, "--class", 3, "--out", drawn, *how[:-1], *told)
    assert "heads 4: from --heads\ntokens 64: from --tokens" in done.stdout
    # the same of a converted file, of a dict, and of the picture's recipe
    convert(own, tmp_path / "ours.safetensors", heads=4, config={"tokens": 64})
    pipe = minigen.load(tmp_path / "ours.safetensors", "vq-mnist", "numpy")
    with warnings.catch_warnings(record=True):
        other = minigen.load(own, "vq-mnist", "numpy", heads=4, tokens=64)
        wrong = minigen.load(own, "vq-mnist", "numpy", tokens=64)
    assert pipe == other != wrong and pipe.config.heads == 4
    assert not np.array_equal(*(p.sample([3], steps=2) for p in (pipe, wrong)))
    with pytest.warns(UserWarning, match=r"own.pt: rope_base 10000.0: a rule of 10000"):
        done = run("replay", drawn)
    assert done.exit_code == 0 and "all 1024 pixels are the same" in done.stdout


def test_the_first_that_says_it_is_believed(own, tmp_path):
    beside = {"n_head": 8, "block_size": 16, "model_type": "c2i", "dim": 128}
    (tmp_path / "config.json").write_text(json.dumps(beside))
    told = load_model(own)
    assert (told.config.heads, told.config.tokens) == (8, 16)
    assert told.sources["heads"].words == "from config.json beside it"
    trained = tmp_path / "trained.pt"
    write_zip(trained, {"model": stand_in_state(ARPG), "args": TRAINING})
    told = load_model(trained)
    assert (told.config.heads, told.config.tokens) == (8, 64)
    assert told.sources["tokens"].words == "from the file's training arguments"
    assert "gpt_model 'ARPG-S'" in told.unused[0]
    (tmp_path / "mine.json").write_text('{"heads": 4, "block_size": 256}')
    told = load_model(trained, config=tmp_path / "mine.json")
    assert (told.config.heads, told.config.tokens) == (4, 256)
    assert told.sources["heads"].words == f"from --config {tmp_path / 'mine.json'}"
    told = load_model(trained, config=tmp_path / "mine.json", heads=2)
    assert (told.config.heads, told.config.tokens) == (2, 256)
    # a converted file says all itself, and is told better
    convert(trained, tmp_path / "ours", heads=4)
    ours = load_model(tmp_path / "ours")
    assert {source.kind for source in ours.sources.values()} == {"own", "rule"}
    assert ours.unseen == ("rope_base", "norm_eps") and ours.config.heads == 4
    other = load_model(tmp_path / "ours", heads=8)
    assert other.config == replace(ours.config, heads=8) and other.hash != ours.hash
    assert describe(tmp_path / "ours", heads=8).intact is None
    # a preset, told apart by its arguments from one of the same shapes
    large = PRESETS["arpg-l"]
    preset = settled(large)
    assert preset.config == large
    assert preset.sources["heads"].words == "from the preset arpg-l"
    assert settled(large, "training", image_size=512, downsample_size=16).config == (
        replace(large, tokens=1024)
    )


LARGER = {
    "arpg": (ArpgConfig(width=160, layers=2, heads=2), {"heads": 10, "rope_base": 5e5}),
    "llamagen": (
        GptConfig(width=96, layers=1, heads=6, key_heads=2, hidden_multiplier=1.3),
        {"heads": 6, "multiple_of": 256, "hidden_multiplier": 1.3, "norm_eps": 1e-6},
    ),
    "aim": (AimConfig(width=64, layers=1, state_size=6, groups=2), {"groups": 2}),
    "arinar": (
        ArinarConfig(width=96, encoder_width=96, encoder_layers=1, decoder_layers=1,
                     encoder_heads=3, decoder_heads=6, channels=4, patch=2),
        {"encoder_heads": 3, "decoder_heads": 6, "patch": 2, "behaviour": "head",
         "inner_schedule": "linear"},
    ),
    "mar": (
        MarConfig(width=96, encoder_width=96, encoder_layers=1, decoder_layers=1,
                  encoder_heads=3, decoder_heads=6, channels=4, patch=2, head_layers=1),
        {"encoder_heads": 3, "decoder_heads": 6, "patch": 2, "noise_steps": 50},
    ),
    "vq": (VqConfig(base=32, multipliers=(1, 1)), {"unit_codes": False}),
    "kl": (KlConfig(base=32, multipliers=(1, 1), attention=(1,)), {"scale": 0.5}),
}  # fmt: skip


@pytest.mark.parametrize("family", LARGER)
def test_every_field_can_be_told_by_its_name(family):
    config, told = LARGER[family]
    found = settled(config, "option", **told)
    assert {n: getattr(found.config, n) for n in told} == told
    assert {found.sources[n].kind for n in told} == {"option"}
    assert names.manifest(found.config) == names.manifest(config)
    assert set(found.sources) == set(FAMILIES[family].rules) or family == "aim"
    for name, value in told.items():
        assert f"{name} {value}: option" in lines(found.sources)


def test_the_tables_of_fields_agree():
    rules = {name for family in FAMILIES.values() for name in family.rules}
    assert rules == {*Fields.__annotations__}
    hints = get_type_hints(Fields)
    assert {*FIELDS, *MORE_FIELDS} == rules - {"key_heads", "no_class", "channels",
                                              "state_size"} | {"key_heads"}  # fmt: skip
    for name, (kind, _) in (FIELDS | MORE_FIELDS).items():
        assert kind is get_args(hints[name])[0]
    for family in FAMILIES.values():
        own = {each.name for each in fields(family.config)}
        assert {*family.rules, *sum(family.together, ()), *family.unsure} <= own


NONSENSE = {
    "heads": [0, -1, 2.5, "4", True, 10**9, [4], 3],
    "tokens": [0, 1e30, 10**9, 60, "x"],
    "rope_base": [0, -1, float("nan"), float("inf"), "x", True],
    "norm_eps": [0, float("nan"), "x", 2.0], "multiple_of": [0, 7.5, 10**9],
    "hidden_multiplier": [0, float("nan"), 1e9, "x"],
}  # fmt: skip


def test_nonsense_is_refused_by_every_face(own, tmp_path):
    for name, values in NONSENSE.items():
        for value in values:
            for told in ({name: value}, {"config": {name: value}}):
                with pytest.raises(MinigenError, match=f"{name}|heads|tokens"):
                    load_model(own, **told)
            (tmp_path / "mine.json").write_text(json.dumps({name: value}))
            done = run("info", own, "--config", tmp_path / "mine.json")
            assert done.exit_code == 2 and name in done.stderr
    for text in ("[1]", "{", "\ud800", '{"heads": 1e999}', "nul"):
        (tmp_path / "mine.json").write_bytes(text.encode("utf-8", "surrogatepass"))
        with pytest.raises(InputError, match="mine.json"):
            load_model(own, config=tmp_path / "mine.json")
    with pytest.raises(InputError, match="cannot be read"):
        load_model(own, config=tmp_path / "none.json")


def test_unknown_names_are_named_with_near_ones(own, tmp_path):
    for told, said in (
        ({"config": {"head": 4}}, "does not know 'head'; did you mean n_head"),
        ({"config": {"n_heads": 4}}, "did you mean n_head"),
        ({"haeds": 4}, "did you mean heads"),
        ({"noise_steps": 4}, "is no field of a model of the family arpg"),
    ):
        with pytest.raises(InputError, match=said):
            load_model(own, **told)
    beside = tmp_path / "config.json"
    beside.write_text(json.dumps({"n_heads": 4, "dim": 128}))
    with pytest.raises(CheckpointError, match="did you mean n_head"):
        load_model(own)
    # of another program, or no configuration: said, and nothing else
    for text, said in (
        ('{"sample_size": 32}', "of no model of the family arpg"), ("{", "as JSON"),
        ('{"n_head": 4, "torch_dtype": "x", "mine": 1}', "'mine'"),
    ):  # fmt: skip
        beside.write_text(text)
        model = load_model(own)
        assert said in "".join(model.unused)
        assert model.config.heads == (4 if "n_head" in text else 2)


def test_what_does_not_fit_the_weights_is_an_error(own, tmp_path):
    for told, said in (
        ({"dim": 64}, "width is 64, from config.json beside it, .* weights show 128"),
        ({"n_head": 3}, "128 over 3 heads .*heads 3 from config.json"),
        ({"multiple_of": 300}, "multiple_of 300 from config.json.*but .*w1.weight"),
        ({"model_type": "t2i"}, "model_type is not 'c2i'"),
        ({"num_classes": 11}, "classes is 11"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(told))
        with pytest.raises(CheckpointError, match=said):
            load_model(own)
    # who is told before may be right
    assert load_model(own, config={"classes": 10}).config.classes == 10


UPSTREAM = {
    "arpg": "dim n_layer n_head multiple_of ffn_dim_multiplier rope_base norm_eps "
    "initializer_range token_dropout_p attn_dropout_p resid_dropout_p ffn_dropout_p "
    "drop_path_rate num_classes class_dropout_prob model_type vocab_size "
    "cls_token_num block_size",
    "llamagen": "dim n_layer n_head n_kv_head multiple_of ffn_dim_multiplier rope_base "
    "norm_eps initializer_range token_dropout_p attn_dropout_p resid_dropout_p "
    "ffn_dropout_p drop_path_rate num_classes caption_dim class_dropout_prob "
    "model_type vocab_size cls_token_num block_size max_batch_size max_seq_len",
    "aim": "d_model d_intermediate n_layer vocab_size ssm_cfg attn_layer_idx attn_cfg "
    "rms_norm residual_in_fp32 fused_add_norm pad_vocab_size_multiple tie_embeddings "
    "num_classes num_tokens adaln_group num_groups token_drop mixer_drop mlp_drop",
    "arinar": "img_size vae_stride patch_size encoder_embed_dim encoder_depth "
    "encoder_num_heads decoder_embed_dim decoder_depth decoder_num_heads mlp_ratio "
    "vae_embed_dim mask_ratio_min label_drop_prob class_num attn_dropout proj_dropout "
    "buffer_size num_gaussians grad_checkpointing head_type inner_ar_width "
    "inner_ar_depth head_width head_depth head_batch_mul bilevel_schedule "
    "feature_group use_nf num_sampling_steps diff_upper_steps diff_lower_steps "
    "enc_dec_depth diff_sampling_strategy",
    "mar": "img_size vae_stride patch_size encoder_embed_dim encoder_depth "
    "encoder_num_heads decoder_embed_dim decoder_depth decoder_num_heads mlp_ratio "
    "vae_embed_dim mask_ratio_min label_drop_prob class_num attn_dropout proj_dropout "
    "buffer_size diffloss_d diffloss_w num_sampling_steps diffusion_batch_mul "
    "grad_checkpointing",
    "vq": "codebook_size codebook_embed_dim codebook_l2_norm codebook_show_usage "
    "commit_loss_beta entropy_loss_ratio encoder_ch_mult decoder_ch_mult z_channels "
    "dropout_p n_embed embed_dim in_channels out_channels ch ch_mult num_res_blocks "
    "attn_resolutions",
    "kl": "embed_dim ch_mult use_variational ckpt_path ch out_ch num_res_blocks "
    "attn_resolutions dropout resamp_with_conv in_channels resolution z_channels "
    "double_z give_pre_end",
}
"""The names of the arguments of the originals' constructors, all of them."""

VALUES = {
    "n_head": 4, "dim": 128, "model_type": "c2i", "ssm_cfg": {"layer": "Mamba2"},
    "attn_layer_idx": [], "attn_cfg": {}, "rms_norm": True, "tie_embeddings": True,
    "adaln_group": False, "img_size": 32, "mlp_ratio": 4.0, "head_type": "ar_gmm",
    "bilevel_schedule": "linear", "use_nf": False, "num_sampling_steps": "100",
    "encoder_ch_mult": [1, 1], "decoder_ch_mult": [1, 1], "ch_mult": [1, 1],
    "in_channels": 3, "out_channels": 3, "num_res_blocks": 2, "attn_resolutions": [16],
    "codebook_l2_norm": True, "use_variational": True, "out_ch": 3, "double_z": True,
    "resamp_with_conv": True, "give_pre_end": False, "ckpt_path": None,
    "diff_sampling_strategy": "linear", "enc_dec_depth": -1, "d_intermediate": 128,
    "resolution": 32,
}  # fmt: skip


@pytest.mark.parametrize("family", UPSTREAM)
def test_every_argument_of_the_originals_is_understood(family):
    given = {name: VALUES.get(name, 1) for name in UPSTREAM[family].split()}
    found = FAMILIES[family].of_arguments(given)
    own = {each.name for each in fields(FAMILIES[family].config)}
    assert found and set(found) <= own
    for name in given:
        # each alone, too, as a file beside the weights may say it
        FAMILIES[family].of_arguments({name: given[name]})
    with pytest.raises(MinigenError, match=f"not know 'no{name}'"):
        FAMILIES[family].of_arguments({f"no{name}": 1})


@pytest.mark.parametrize("config, arguments, expected", [
    (ArinarConfig(width=96, encoder_width=96, channels=4, patch=2, tokens=64),
     {"bilevel_schedule": "cosine", "patch_size": 2, "vae_embed_dim": 4, "lr": 1e-4,
      "img_size": 256, "num_gaussians": 4},
     {"inner_schedule": "cosine", "patch": 2, "channels": 4, "behaviour": "head"}),
    (replace(PRESETS["mar-h"], classes=10), {"model": "mar_huge", "patch_size": 1},
     {"encoder_heads": 16, "decoder_heads": 16}),
    (replace(PRESETS["arinar-h"], tokens=1024), {"model": "mar_huge"},
     {"encoder_heads": 16, "decoder_heads": 16}),
    (MarConfig(width=96, encoder_width=96, channels=1, patch=4),
     {"model": "mar_base", "vae_embed_dim": 1, "num_sampling_steps": "25"},
     {"patch": 4, "channels": 1, "noise_steps": 25, "decoder_heads": 1}),
    (replace(PRESETS["gpt-3b"], classes=10),
     {"gpt_model": "GPT-3B", "image_size": 384, "downsample_size": 16},
     {"heads": 32, "key_heads": 32, "tokens": 576}),
    (GptConfig(width=2048, layers=22, heads=32), {"gpt_model": "GPT-1B"},
     {"heads": 32}),
    (VqConfig(base=32), {"vq_model": "VQ-16", "codebook_l2_norm": False},
     {"unit_codes": False}),
    (AimConfig(width=768, layers=24, classes=3), {"aim_model": "AiM-B"}, {"groups": 1}),
])  # fmt: skip
def test_arguments_of_a_training_count_for_every_family(config, arguments, expected):
    found = settled(config, "training", **arguments)
    assert {name: getattr(found.config, name) for name in expected} == expected
    assert names.manifest(found.config) == names.manifest(config)
    if type(config) is not AimConfig:
        assert "training" in {source.kind for source in found.sources.values()} or (
            found.unused
        )


@pytest.mark.parametrize("file, heads, tokens", [
    ("c2i_B_256.pt", 12, 256), ("c2i_B_384.pt", 12, 576), ("c2i_L_384.pt", 16, 576),
    ("c2i_XL_384.pt", 20, 576), ("c2i_XXL_384.pt", 24, 576), ("c2i_3B_384.pt", 32, 576),
])  # fmt: skip
def test_released_files_of_llamagen_are_known_by_name(file, heads, tokens):
    size = file.split("_")[1].lower()
    found = settled(PRESETS[f"gpt-{size}"], file=file)
    assert (found.config.heads, found.config.tokens) == (heads, tokens)
    assert found.unseen == ()
    suffix = "" if tokens == 256 else "-384"
    assert found.sources["tokens"].words == f"from the preset gpt-{size}{suffix}"
    # without the name, the sizes alone
    found = settled(PRESETS[f"gpt-{size}"], file="0300000.pt")
    assert found.config.heads == heads
    assert found.unseen == (("tokens",) if size in ("b", "l") else ())


@pytest.mark.parametrize("preset", ["mar-h", "arinar-h"])
@pytest.mark.parametrize("other", [{"classes": 10}, {"tokens": 64}])
def test_the_huge_ones_keep_their_heads_whatever_they_were_trained_on(preset, other):
    config = replace(PRESETS[preset], **other)
    found = settled(config)
    assert found.config == config and "encoder_heads" in found.unseen
    assert "16 heads at a width of 1280" in found.sources["encoder_heads"].words


def test_every_family_says_all_that_is_open():
    for config in PRESETS.values():
        found = names.settled(names.stand_in(config))
        assert set(found.sources) == {*family_of(config).rules}
        assert all(source.words for source in found.sources.values())
