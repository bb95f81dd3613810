"""AiM: however its tokens are fed, it is the same model; its memory does not grow."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigen import backends, pipeline, plans, sample
from minigen.bench import weights as bench_weights
from minigen.checkpoints import convert, describe, load_model, names
from minigen.errors import CheckpointError, ConfigError, InputError
from minigen.families import (
    PRESETS,
    AimConfig,
    Mamba1Config,
    Mamba2Config,
    from_dict,
    to_dict,
)
from minigen.models import aim
from tests.checkpoints.writing import write_zip
from tests.models.stand_in import stand_in, stand_in_state
from tests.tolerance import EPS, assert_same

SMALL = {"width": 16, "layers": 3, "vocabulary": 20, "classes": 5, "tokens": 9}
TWO = {**SMALL, "state_size": 6, "head_size": 8}
CONFIGS = {
    "mamba2": AimConfig(**TWO),
    "mamba1": AimConfig(**SMALL, mixer="mamba1", state_size=4),
    "groups": AimConfig(**TWO, condition_groups=2, hidden=128),
    "heads in groups": AimConfig(**TWO, groups=2),
    # what people who train choose, and no released model has
    "mamba2, other options": AimConfig(
        **TWO, tied=False, layer_norm=True, hidden=128, skips=True, scanned=24,
        step_min=0.01, step_max=0.05, bias=True, normalise=False,
    ),
    "mamba1, other options": AimConfig(
        **SMALL, mixer="mamba1", state_size=4, expand=1.5, rank=3, conv_bias=False,
        tied=False,
    ),
}  # fmt: skip
UNSEEN = {"state_size", "groups", "step_min", "step_max"}
PLAN = plans.plan((3, 3), "raster", "one")
# a logit is a sum of `width` products after 3 layers of about a dozen roundings each
LOGIT_ERROR = 4 * EPS * 40


@pytest.fixture(scope="module", params=CONFIGS)
def model(request):
    config = CONFIGS[request.param]
    weights = stand_in(config)
    # a head of unit variance would leave nothing to chance
    for table in ("words", "positions"):
        weights[table] = weights[table] * np.float32(0.2)
    return config, weights


def close(one, other):
    """Assert that two ways to compute the same logits agree."""
    assert abs(one - other).max() <= LOGIT_ERROR * abs(other).max()


def sequence(ops, weights, config, tokens, labels):
    """Return all that the training form reads (b n d), and the condition."""
    b, n = tokens.shape
    given = aim.condition(ops, weights, config, labels[:, None])
    rows = np.broadcast_to(np.arange(n - 1), (b, n - 1))
    rest = aim.embed(ops, weights, tokens[:, :-1], np.ascontiguousarray(rows))
    return np.concatenate([given.first, rest], axis=1), given


@given(data=st.data())
@settings(max_examples=10)
def test_the_memory_may_be_handed_over_at_any_cut(backend, model, data):
    """Prefill then steps, all steps, and any other split: the training form."""
    ops, (config, weights) = backends.table(backend), model
    tokens = np.arange(18).reshape(2, 9) * 7 % config.vocabulary
    labels = np.array([1, config.no_class_id])
    expected = aim.forward(ops, weights, config, tokens, labels)
    x, given = sequence(ops, weights, config, tokens, labels)
    cuts = data.draw(st.lists(st.integers(1, 8), max_size=3, unique=True).map(sorted))
    for split in (cuts, range(1, 9)):
        states = aim.new_states(ops, config, 2)
        parts = [
            aim.read(ops, weights, config, np.ascontiguousarray(part), given, states)
            for part in np.split(x, split, axis=1)
        ]
        close(aim.answer(ops, weights, np.concatenate(parts, axis=1)), expected)


def test_nothing_ahead_is_seen(backend, model):
    ops, (config, weights) = backends.table(backend), model
    tokens, labels = np.arange(9)[None] % config.vocabulary, np.array([3])
    expected = aim.forward(ops, weights, config, tokens, labels)
    for t in range(9):
        changed = tokens.copy()
        changed[:, t:] = (changed[:, t:] + 1) % config.vocabulary
        # row t predicts token t, and has seen those before it
        logits = aim.forward(ops, weights, config, changed, labels)
        assert_same(logits[:, : t + 1], expected[:, : t + 1])


def test_images_in_another_order_give_the_same_bits(model):
    ops, (config, weights) = backends.table("numba"), model
    tokens = np.arange(27).reshape(3, 9) * 5 % config.vocabulary
    labels, order = np.array([0, 4, 2]), [2, 0, 1]
    expected = aim.forward(ops, weights, config, tokens, labels)
    logits = aim.forward(ops, weights, config, tokens[order], labels[order])
    assert_same(logits, expected[order])


def test_the_memory_has_one_size_for_every_length(backend, model):
    ops, (config, weights) = backends.table(backend), model
    given = aim.condition(ops, weights, config, np.array([[1]]))
    states = aim.new_states(ops, config, 1)
    before = [(state.conv.shape, state.scan.shape) for state in states]
    for _ in range(20):
        aim.read(ops, weights, config, given.first, given, states)
    assert [(state.conv.shape, state.scan.shape) for state in states] == before


def test_both_conventions_of_positions_differ_by_one_row(backend, model):
    ops, (config, weights) = backends.table(backend), model
    tokens, labels = np.arange(9)[None] % config.vocabulary, np.array([3])
    table = weights["positions"]
    moved = {**weights, "positions": np.concatenate([table[1:], table[:1]])}
    expected = aim.forward(ops, moved, config, tokens, labels, "trained")
    logits = aim.forward(ops, weights, config, tokens, labels, "released")
    assert_same(logits, expected)


def run(draw, ops, weights, config, labels, **options):
    """Run `sample.steps` or `sample.sample`; guidance is constant, 5 if not said."""
    first, seed = options.pop("first", 0), options.pop("seed", 0)
    how = sample.Options(**{"guidance": 5.0, "guidance_schedule": "constant"} | options)
    call = ops, weights, config, PLAN, labels
    return draw(*call, seed=seed, options=how, first=first)


def test_what_is_drawn_is_what_the_training_form_says(backend, model):
    ops, (config, weights) = backends.table(backend), model
    call = ops, weights, config, [1, 4]
    for positions in aim.POSITIONS:
        how = {"seed": 5, "guidance": 1.0, "positions": positions}
        steps = list(run(sample.steps, *call, **how))
        tokens = steps[-1].canvas.reshape(2, -1)
        labels = np.array([1, 4])
        logits = aim.forward(ops, weights, config, tokens, labels, positions)
        p = ops.probabilities(logits, 1.0, 0, 1.0)
        drawn = np.concatenate([step.probabilities for step in steps], axis=1)
        assert abs(p - drawn).max() <= LOGIT_ERROR * abs(logits).max()
        assert_same(run(sample.sample, *call, **how), steps[-1].canvas)


def test_known_tokens_are_read_before_the_first_is_drawn(backend, model):
    """What is drawn greedily goes on as if what is known had been drawn too."""
    ops, (config, weights) = backends.table(backend), model
    given = {"options": sample.Options(3.0, "constant", top_k=1)}
    call = ops, weights, config
    whole = sample.sample(*call, PLAN, [1, 4], **given)
    plan = plans.plan((3, 3), "raster", "one", known=range(4))
    known = whole.reshape(2, -1)[:, :4]
    assert_same(sample.sample(*call, plan, [1, 4], known=known, **given), whole)
    other = sample.sample(*call, plan, [1, 4], known=(known + 1) % 20, **given)
    assert (other != whole).any()


def test_an_image_is_the_same_alone_and_among_others(model):
    ops, (config, weights) = backends.table("numba"), model
    call = sample.sample, ops, weights, config
    together = run(*call, [1, 4, 2], seed=3)
    alone = run(*call, [4], seed=3, first=1)
    assert_same(alone, together[1:2])
    assert (run(*call, [4], seed=4, first=1) != alone).any()


def test_a_temperature_is_honoured(model):
    ops, (config, weights) = backends.table("numpy"), model
    call = sample.sample, ops, weights, config, [1, 2]
    assert_same(run(*call, temperature=0.0), run(*call, top_k=1))


def test_what_cannot_be_drawn_is_refused(model):
    ops, (config, weights) = backends.table("numpy"), model
    call = ops, weights, config
    with pytest.raises(InputError, match="choose from trained, released"):
        run(sample.sample, *call, [1], positions="learned")
    with pytest.raises(InputError, match="class 5 is not one of this model's 5"):
        run(sample.sample, *call, [5])
    for plan, message in (
        (plans.plan((3, 3), "spiral", "one"), "one token a step in raster order"),
        (plans.plan((3, 3), "raster", "linear", 3), "one token a step in raster order"),
        (plans.plan((3, 4), "raster", "one"), "grid of 3 x 3, and 3 x 4 was asked"),
    ):
        with pytest.raises(InputError, match=message):
            sample.sample(*call, plan, [1])


@pytest.mark.parametrize("name", CONFIGS)
def test_sizes_are_recognised_but_for_the_groups_of_heads(name):
    config = CONFIGS[name]
    found, unseen = names.recognise(stand_in_state(config))
    told = {name: getattr(config, name) for name in unseen}
    assert replace(found, **told) == config
    assert names.manifest(found).keys() == names.manifest(config).keys()
    if config.mixer == "mamba1":
        assert not unseen
    else:
        assert set(unseen) - {"norm_first"} == UNSEEN
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


def container(config, tokenizer):
    """Return the state of a file that holds both models, as the trainer writes it."""
    state = {f"mamba.{n}": a for n, a in stand_in_state(config).items()}
    table = "mamba.backbone.embeddings.word_embeddings.weight"
    state.setdefault("mamba.lm_head.weight", state[table])
    return state | {f"vqvae.{n}": a for n, a in stand_in_state(tokenizer).items()}


def test_a_file_of_both_models_is_read_as_either(tmp_path, model):
    config, _ = model
    tokenizer, path = PRESETS["vq-mnist"], tmp_path / "pytorch_model.bin"
    state = container(config, tokenizer)
    write_zip(path, state)
    ours = load_model(path, config=config).weights
    for name, array in names.flatten(stand_in(config)).items():
        assert_same(names.flatten(ours)[name], array)
    vq = load_model(path, config=tokenizer)
    assert_same(vq.weights["codebook"], stand_in(tokenizer)["codebook"])
    assert type(load_model(path).config) is AimConfig


def test_a_folder_of_the_hub_says_what_shapes_do_not(tmp_path):
    config = CONFIGS["heads in groups"]
    fields = {
        "d_model": 16, "n_layer": 3, "vocab_size": 20, "num_classes": 5,
        "num_tokens": 9, "attn_cfg": {}, "rms_norm": True,
        "ssm_cfg": {"layer": "Mamba2", "d_state": 6, "headdim": 8, "ngroups": 2},
    }  # fmt: skip
    write_zip(tmp_path / "pytorch_model.bin", container(config, PRESETS["vq-mnist"]))
    assert set(load_model(tmp_path).unseen) == UNSEEN | {"norm_first"}
    (tmp_path / "config.json").write_text(json.dumps(fields))
    model = load_model(tmp_path)
    assert (model.config, model.unseen) == (config, ())
    (tmp_path / "config.json").write_text(json.dumps(fields | {"more": 1}))
    model = load_model(tmp_path)
    assert model.config == config and "'more', from config.json" in model.unused[0]
    # what it says against the weights is an error
    for wrong, said in (
        ({"n_layer": 2}, "layers is 2, from config.json beside it, and .* show 3"),
        ({"d_model": "16"}, "width is '16'; expected an integer"),
        ({"num_clases": 5}, "did you mean num_classes"),
        ({"ssm_cfg": {"ngroups": 4}}, "the original does not know 'ngroups'"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(fields | wrong))
        with pytest.raises(CheckpointError, match=said):
            load_model(tmp_path)


@pytest.mark.parametrize("kind", ["folder", "inside", "beside"])
def test_every_container_becomes_a_pipeline(tmp_path, kind):
    """The hub's folder and the trainer's file hold the tokenizer; else it lies by."""
    config, vq = CONFIGS["mamba2"], PRESETS["vq-mnist"]
    config = replace(config, vocabulary=64)
    state, path = container(config, vq), tmp_path / "pytorch_model.bin"
    if kind == "beside":
        bench_weights.write(vq, tmp_path / "vq.safetensors")
        state = {n.removeprefix("mamba."): a for n, a in state.items() if n[0] == "m"}
    write_zip(path, state)
    pipe = pipeline.load(tmp_path if kind == "folder" else path, backend="numpy")
    assert (type(pipe.config), pipe.tokenizer_config) == (AimConfig, vq)
    images = pipe.sample([3, 1], seed=1)
    assert images.shape == (2, 12, 12, 3) and images.dtype == np.uint8
    assert pipe.options() == sample.Options(5.0, "constant")
    if kind != "beside":
        assert describe(path).families == ("aim", "vq")
        convert(path, tmp_path / "ours.safetensors", family="vq")
        ours = load_model(tmp_path / "ours.safetensors")
        assert_same(ours.weights["codebook"], pipe.tokenizer.weights["codebook"])
    with pytest.raises(CheckpointError, match="holds no arpg model"):
        load_model(path, family="arpg")


def test_a_head_that_is_not_the_table_is_one_of_its_own(tmp_path):
    config, path = CONFIGS["mamba2"], tmp_path / "pytorch_model.bin"
    state = container(config, PRESETS["vq-mnist"])
    state["mamba.lm_head.weight"] = state["mamba.lm_head.weight"] + 1
    write_zip(path, state)
    convert(path, tmp_path / "ours.safetensors", family="aim")
    for one in (path, tmp_path / "ours.safetensors"):
        model = load_model(one, family="aim")
        assert model.config == replace(config, tied=False)
        assert_same(model.weights["head"], state["mamba.lm_head.weight"])
    with pytest.raises(CheckpointError, match="tied is True, given, and .* show False"):
        load_model(path, config=config)


def test_the_original_configuration_is_understood():
    released = {"d_model": 1024, "n_layer": 48, "adaln_group": True, "num_groups": 4}
    assert AimConfig.from_upstream(released) == PRESETS["aim-l"]
    assert AimConfig.from_upstream({"d_intermediate": 48}).hidden == 128
    mixing = AimConfig.from_upstream({"ssm_cfg": {}}).mixing
    assert mixing == Mamba1Config(width=1024)
    assert AimConfig.from_upstream({}).mixing == Mamba2Config(width=1024)
    trained = {
        "tie_embeddings": False, "rms_norm": False, "adaln_group": True,
        "ssm_cfg": {"layer": "Mamba1", "dt_rank": 7, "expand": 1.5},
    }  # fmt: skip
    assert AimConfig.from_upstream(trained) == AimConfig(
        mixer="mamba1", state_size=16, rank=7, expand=1.5, condition_groups=1,
        tied=False, layer_norm=True,
    )  # fmt: skip
    limits = {"D_has_hdim": True, "dt_limit": [0.01, float("inf")], "d_ssm": 1024}
    mixing = AimConfig.from_upstream({"ssm_cfg": {"layer": "Mamba2", **limits}}).mixing
    assert (mixing.skips, mixing.limits) == (True, (0.01, float("inf")))
    assert (mixing.inner, mixing.beside) == (1024, 1024)
    for wrong in (
        {"attn_layer_idx": [3]},
        {"tie": True},
        {"ssm_cfg": {"layer": "Mamba1", "headdim": 8}},
        {"ssm_cfg": {"layer": "Mamba2", "dt_limit": [2, 1]}},
        {"ssm_cfg": {"layer": "Mamba2", "d_ssm": 4096}},
    ):
        with pytest.raises(ConfigError):
            AimConfig.from_upstream(wrong)
    with pytest.raises(ConfigError, match="do not divide into heads of 64"):
        AimConfig(width=48)
