"""ARINAR: however its features are fed, it is the same model; and how a run goes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigen import backends, plans, rng, sample
from minigen.checkpoints import names
from minigen.checkpoints.values import DTYPES
from minigen.errors import ConfigError, InputError
from minigen.families import PRESETS, ArinarConfig
from minigen.models import arinar, mae, masked, mixture_head, token_flow
from minigen.models.query import Draws
from minigen.sample import Options
from tests import hosting, masked_runs
from tests.models.stand_in import stand_in
from tests.ops.test_mixture import cdf, parameters
from tests.ops.test_noise import distance
from tests.tolerance import EPS, assert_same

SMALL = {
    "width": 24, "encoder_width": 16, "encoder_layers": 2, "decoder_layers": 2,
    "encoder_heads": 2, "decoder_heads": 3, "buffer": 3, "classes": 5, "tokens": 9,
    "channels": 4, "mixtures": 3, "inner_width": 16, "inner_layers": 2,
}  # fmt: skip
CONFIGS = {
    "v1": ArinarConfig(**SMALL),
    "head": ArinarConfig(**SMALL, behaviour="head"),
    "groups": ArinarConfig(**SMALL, group=2),
    "patches": ArinarConfig(**{**SMALL, "channels": 1}, patch=2),
    "one": ArinarConfig(**{**SMALL, "mixtures": 1}, inner_schedule="linear"),
    "flow": ArinarConfig(**SMALL, flow=True),
}
# sums of a few dozen products, a dozen roundings each, in five layers
ERROR = 4 * EPS * 60


@pytest.fixture(scope="module", params=CONFIGS)
def model(request):
    config = CONFIGS[request.param]
    return config, made(config)


def made(config):
    """Return stand-in weights under which numbers keep their size."""
    weights = stand_in(config)
    # the name makes it a table of unit variance, but it is multiplied by a vector
    embed = weights["decoder_embed"]
    embed["w"] = embed["w"] * np.float32(0.25)
    if config.flow:
        flow = weights["head"]["flow"]
        flow["variance"] = np.ones_like(flow["variance"])
        for block in flow["blocks"]:
            block["out"]["w"] = block["out"]["w"] * np.float32(0.25)
    return weights


def close(one, other):
    """Assert that two ways to compute the same numbers agree."""
    one, other = np.asarray(one), np.asarray(other)
    assert one.shape == other.shape
    assert abs(one - other).max() <= ERROR * abs(other).max()


def normals(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def draws_of(b, seed=0, step=0):
    key = np.array(rng.split_seed(seed), np.uint32)
    return Draws(key, np.arange(b), 7 * np.arange(b) % 9, step)


def run(ops, model, labels, options, steps=4, seed=0, images=None, orders=None):
    """Return the tokens (b n c) of a run, and its guidance at every step."""
    config, weights = model
    b = len(labels)
    images = np.arange(b) if images is None else images
    order = rng.permutation(seed, config.tokens)[None]
    orders = np.repeat(order, b, 0) if orders is None else orders
    counts = plans.counts("cosine", config.tokens, steps)
    groups = np.split(orders, np.cumsum(counts)[:-1], axis=1)
    numbers = np.array(rng.split_seed(seed), np.uint32), images
    call = ops, weights, config, labels, groups, options, numbers
    steps = list(masked_runs.run(*call))
    return steps[-1][2], [weight for _, weight, _ in steps]


def cached(ops, w, config, x, z):
    """Return the mixtures of the cached loop, in which x (b n f) is what was drawn."""
    given = mixture_head.condition(ops, w, config, z)
    caches, parts = mixture_head.new_caches(ops, config, len(z)), []
    for i in range(config.groups):
        before = np.ascontiguousarray(x[:, i - 1 : i]) if i else None
        made, caches = mixture_head.step(ops, w, config, before, i, given, caches)
        parts.append([np.array(each) for each in made])
    return [np.concatenate(part, axis=1) for part in zip(*parts, strict=True)]


def test_the_causal_head_is_the_cached_head(backend, model):
    ops, (config, weights) = backends.table(backend), model
    x, z = normals(0, 5, config.groups, config.group), normals(1, 5, 1, config.width)
    call = ops, weights["head"], config, x, z
    for one, other in zip(cached(*call), mixture_head.forward(*call), strict=True):
        close(one, other)


def test_no_feature_ahead_is_seen(backend, model):
    ops, (config, weights) = backends.table(backend), model
    x, z = normals(0, 2, config.groups, config.group), normals(1, 2, 1, config.width)
    call = ops, weights["head"], config
    expected = mixture_head.forward(*call, x, z)
    for i in range(config.groups):
        changed = x.copy()
        changed[:, i:] += 1
        made = mixture_head.forward(*call, changed, z)
        for one, other in zip(made, expected, strict=True):
            assert_same(one[:, : i + 1], other[:, : i + 1])
    assert not np.array_equal(made[1], mixture_head.forward(*call, x + 1, z)[1])


def test_what_the_outer_model_says_is_heard_by_every_feature(backend, model):
    ops, (config, weights) = backends.table(backend), model
    x, z = normals(0, 1, config.groups, config.group), normals(1, 1, 1, config.width)
    call = ops, weights["head"], config, x
    one, other = (mixture_head.forward(*call, each) for each in (z, z + 1))
    assert (abs(one[1] - other[1]) > 1e-3).any(axis=(0, 2, 3)).all()


def test_the_two_behaviours_are_the_temperature_upside_down():
    # one component: its mean and deviation can be read off two draws
    config = ArinarConfig(**{**SMALL, "mixtures": 1})
    ops, weights = backends.table("numpy"), stand_in(config)
    z = normals(1, 4, 1, config.width)

    def first(behaviour, temperature):
        # of one head, so that nothing but the temperature differs
        changed = config if behaviour == "v1" else HeadOfFour(config)
        call = ops, weights["head"], changed, z, draws_of(4), 1.0, temperature
        return np.asarray(mixture_head.sample(*call))[:, 0, 0]

    plain = first("v1", 1.0)
    assert_same(plain, first("head", 1.0))
    close(first("v1", 2.0), first("head", 0.5))
    middle = first("head", 0.0)
    close(first("head", 2.0) - middle, 2 * (plain - middle))
    close(first("v1", 2.0) - middle, (plain - middle) / 2)


@pytest.mark.parametrize("way", arinar.GUIDED)
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_a_temperature_without_a_meaning_is_refused(backend, way, guidance):
    """Before anything is drawn: v1 divides by it, and a schedule goes below 0."""
    head, v1 = ({**SMALL, "behaviour": name} for name in ("head", "v1"))
    refused = ((v1, "constant", 0.0), (v1, "linear", 1 / 3), (head, "linear", 0.0))
    refused += ((head, "linear", 0.33), (v1, "linear", 0.2))
    fine = ((head, "constant", 0.0), (head, "cosine", 0.0), (v1, "cosine", 0.0))
    fine += ((head, "linear", 0.34), (v1, "linear", 0.34), (v1, "constant", 0.01))
    ops, plan = backends.table(backend), plans.plan((3, 3), schedule=[9])
    for sizes, schedule, temperature in (*refused, *fine):
        config = ArinarConfig(**sizes, inner_schedule=schedule)
        call = ops, stand_in(config), config, plan, [1], 0
        if (sizes, schedule, temperature) in fine:
            assert min(mixture_head.stretches(config, temperature)) >= 0
            continue
        with pytest.raises(InputError, match=f"temperature {temperature:g}"):
            how = {"guidance": guidance, "guided_draw": way}
            sample.sample(*call, sample.Options(temperature=temperature, **how))


def test_at_temperature_0_both_guided_draws_are_means(backend):
    ops, rows = backends.table(backend), 64
    both = [np.repeat(part, 2 * rows, axis=0) for part in parameters(11, 1, 4, 1)]
    call = ops, both, 0, draws_of(rows), 0.0, 2.0
    for draw in (mixture_head.choose, mixture_head.draw_on_grid):
        x = np.asarray(draw(*call))
        assert (x == both[1][:rows, :]).any(axis=1).all()


class HeadOfFour:
    """A configuration of behaviour "head" that has the four heads of "v1"."""

    behaviour = "head"

    def __init__(self, config):
        self.config = config

    def __getattr__(self, name):
        return getattr(self.config, name)


def test_the_flow_runs_back_and_keeps_volumes(backend):
    config = CONFIGS["flow"]
    ops, w = backends.table(backend), made(config)["head"]["flow"]
    x = normals(0, 3, config.groups, config.group)
    y = token_flow.forward(ops, w, x)
    assert abs(y - x).max() > 0.1
    back = token_flow.reverse(ops, w, y)
    assert abs(np.asarray(back) - x).max() < 1e-5
    # the determinant of its derivative is one: each block moves by what came before
    reference, wide = backends.table("numpy"), np.float64
    step, flat = 1e-4, x[:1].astype(wide).reshape(-1)
    moved = [
        np.asarray(
            token_flow.forward(reference, w, (flat + step * unit).reshape(x[:1].shape))
        ).reshape(-1)
        - np.asarray(
            token_flow.forward(reference, w, (flat - step * unit).reshape(x[:1].shape))
        ).reshape(-1)
        for unit in np.eye(len(flat))
    ]
    assert abs(np.linalg.det(np.array(moved) / (2 * step)) - 1) < 0.01


def test_a_step_may_ask_for_any_positions(backend, model):
    """The output at a position depends on what is known, not on what else is asked."""
    ops, (config, weights) = backends.table(backend), model
    tokens, known = normals(0, 2, 9, config.features), np.array([[1, 4], [0, 8]])
    call, labels = (ops, weights, config), np.array([1, -1])
    everywhere = np.tile(np.arange(9), (2, 1))
    expected = masked.conditions(*call, labels, tokens, known, everywhere)
    asked = np.array([[8, 2, 5], [3, 1, 2]])
    said = np.take_along_axis(np.asarray(expected), asked[..., None], axis=1)
    close(masked.conditions(*call, labels, tokens, known, asked), said)
    # what is not known yet has no say, and the order of what is has none either
    changed = tokens + 1
    np.put_along_axis(
        changed, known[..., None], np.take_along_axis(tokens, known[..., None], 1), 1
    )
    turned = known[:, ::-1]
    assert_same(masked.conditions(*call, labels, changed, turned, everywhere), expected)


def test_no_class_is_a_class_of_its_own(backend, model):
    ops, (config, weights) = backends.table(backend), model
    ids = mae.class_rows(config, [3, -1, 0])
    vectors = np.asarray(mae.class_vectors(ops, weights, ids))[:, 0]
    assert_same(vectors[[0, 2]], weights["classes"][[3, 0]])
    assert_same(vectors[1], weights["no_class"][0])
    plan, options = plans.plan((config.side,) * 2), Options(guidance=2.0)
    (first,) = masked.prompt(arinar, config, [2], plan, None, options)
    assert first[0].tolist() == [[2], [config.classes]]
    memory = arinar.begin(ops, weights, config, *first)
    n = config.buffer + config.tokens
    assert memory.rows.shape == (2, n, config.encoder_width)


@pytest.mark.parametrize("hosted", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_tables_of_16_bits_are_read_on_a_device(dtype, hosted):
    """Those that are joined, and those that are no table in the original."""
    config, numpy = CONFIGS["flow"], backends.table("numpy")
    whole = made(config)
    kept = {name: whole[name] for name in ("classes", "no_class")}
    kept |= {"variance": whole["head"]["flow"]["variance"] * np.float32(3)}
    weights = {name: each.astype(DTYPES[dtype]) for name, each in kept.items()}
    ids = mae.class_rows(config, [3, -1, 0])
    x = normals(0, 2, config.groups, config.group)
    ops = backends.table("interpreter")
    if hosted:
        ops, there = hosting.hosted(ops), weights
    else:
        there = backends.move(ops, weights)

    def both(ops, weights):
        vectors = mae.class_vectors(ops, weights, ops.put(ids))
        return vectors, token_flow._spread(ops, weights["variance"], ops.put(x))

    for one, other in zip(both(ops, there), both(numpy, weights), strict=True):
        assert abs(np.asarray(ops.get(one)) - other).max() <= 4 * EPS * abs(other).max()


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_an_image_does_not_know_its_batch(model, guidance):
    """Alone, among others, in another order: the same bits."""
    config, _ = model
    if config.group > 1:
        guidance = 1.0
    ops, options = backends.table("numba"), Options(guidance=guidance)
    together, _ = run(ops, model, [1, 4, 2], options)
    alone, _ = run(ops, model, [4], options, images=np.array([1]))
    assert_same(alone[0], together[1])
    turned, _ = run(ops, model, [2, 1, 4], options, images=np.array([2, 0, 1]))
    assert_same(turned, together[[2, 0, 1]])
    other, _ = run(ops, model, [1, 4, 2], options, seed=1)
    assert not np.array_equal(other, together)


@given(steps=st.integers(1, 9), seed=st.integers(0, 99))
@settings(max_examples=10)
def test_every_token_is_drawn_once(steps, seed):
    """Each image may have an order of its own; `run` checks what is known at last."""
    model = CONFIGS["one"], made(CONFIGS["one"])
    generator = np.random.default_rng(seed)
    orders = np.stack([generator.permutation(9) for _ in range(2)])
    ops, options = backends.table("numba"), Options(guidance=1.0)
    canvas, weight = run(ops, model, [0, 1], options, steps, seed, orders=orders)
    assert canvas.all() and weight == [1.0] * steps


def test_guidance_of_one_is_no_guidance(backend, model):
    """The halves are not doubled at 1; and were they, the choice would be by chance."""
    ops, (config, weights) = backends.table(backend), model
    assert not arinar.guides(1.0) and arinar.guides(0.0) and arinar.guides(1.5)
    plan, options = plans.plan((config.side,) * 2), Options(guidance=1.0)
    ((ids, _),) = masked.prompt(arinar, config, [2], plan, None, options)
    assert ids.tolist() == [[2]]
    if config.group == 1:
        mixtures = cached(
            ops, weights["head"], config,
            normals(0, 4, config.groups, 1), normals(1, 4, 1, config.width),
        )  # fmt: skip
        made, seen = [part[:, 0] for part in mixtures], {}

        def watch(name, array):
            seen[name] = array

        mixture_head.choose(ops, made, 0, draws_of(2), 1.0, 1.0, watch)
        p = np.asarray(seen["candidates"][3])
        assert abs(p - 1 / mixture_head.CANDIDATES).max() < EPS


@pytest.mark.parametrize("i", [0, 3])
def test_draws_have_the_density_of_their_mixture(backend, i):
    """One number of each of many rows: images and positions are all that differs."""
    ops, rows, temperature = backends.table(backend), 4096, 1.3
    one = parameters(11, 1, 4, 1)
    made = [np.repeat(part, rows, axis=0) for part in one]
    key = np.array(rng.split_seed(5), np.uint32)
    draws = Draws(key, np.arange(rows) // 64, np.arange(rows) % 64, 2)
    x = mixture_head.draw(ops, made, i, draws, temperature)
    weights, means, log_variances = (part.astype(float).ravel() for part in one)
    spread = np.exp(0.5 * log_variances)
    # the distance that one of a million samples of the density exceeds
    far = np.sqrt(np.log(2e6) / 2 / rows)
    assert distance(x, cdf(weights, means, temperature * spread)) < far
    assert distance(x, cdf(weights, means, spread / temperature)) > far


def test_the_grid_draws_what_candidates_come_near_to():
    """In 2000 rows of the same mixtures no difference is seen."""
    ops, rows = backends.table("numba"), 2000
    halves = zip(*(parameters(seed, 1, 3, 1) for seed in (21, 22)), strict=True)
    mixtures = [np.repeat(np.concatenate(half), rows, axis=0) for half in halves]
    key = np.array(rng.split_seed(5), np.uint32)
    draws = Draws(key, np.arange(rows), np.zeros(rows, np.int64), 0)
    call = ops, mixtures, 0, draws, 1.0, 2.5
    one, other = (
        np.sort(np.asarray(how(*call)).ravel())
        for how in (mixture_head.choose, mixture_head.draw_on_grid)
    )
    both = np.sort(np.concatenate([one, other]))
    below = [np.searchsorted(a, both, side="right") / rows for a in (one, other)]
    # what one of a million pairs of samples of one distribution exceeds
    assert abs(below[0] - below[1]).max() < np.sqrt(np.log(2e6) / rows)


def test_a_run_may_draw_on_the_grid(model):
    config, weights = model
    ops, b = backends.table("numba"), 3
    if config.group == 1:
        z = normals(1, 2 * b, 1, config.width)
        given = weights["head"], config, z, draws_of(b), 3.0, 1.1
        how = {"guided": mixture_head.draw_on_grid}
        x = np.asarray(mixture_head.sample(ops, *given, **how))
        assert x.shape == (b, config.groups, 1) and np.isfinite(x).all()
        close(mixture_head.sample(backends.table("numpy"), *given, **how), x)


def test_guidance_rises_but_never_arrives():
    options = Options(guidance=4.5)
    rising = masked.guidance(options, 0, [1] * 16)
    assert rising[0] == 1 + 3.5 / 16
    assert rising[-1] == rising[-2] == 1 + 3.5 * 15 / 16
    assert rising[:-1] == sorted(set(rising))
    constant = Options(guidance=4.5, guidance_schedule="constant")
    assert masked.guidance(constant, 0, [3, 13]) == [4.5, 4.5]
    # what is known from the first counts too
    assert masked.guidance(options, 4, [1] * 12) == rising[4:]


def test_schedules_within_a_token():
    for schedule, first, last in (
        ("constant", 3.0, 3.0), ("linear", 3.25, 4.0), ("cosine", 2.7071, 1.0),
    ):  # fmt: skip
        weights = mixture_head.within_token(schedule, 3.0, 4)
        assert weights[0] == pytest.approx(first, abs=1e-4)
        assert weights[-1] == pytest.approx(last)
        ones = mixture_head.within_token(schedule, 1.0, 4)
        assert ones == [1.0] * 4


def test_the_loss_is_the_mean_of_the_masked_tokens(backend, model):
    ops, (config, weights) = backends.table(backend), model
    tokens, labels = normals(0, 2, 9, config.features), np.array([1, 3])
    hidden = np.array([[0, 5, 7], [2, 3, 8]])
    call = ops, weights, config
    loss = arinar.loss(*call, tokens, labels, hidden)
    total = 0.0
    for b in range(2):
        known = np.setdiff1d(np.arange(9), hidden[b])[None]
        one = slice(b, b + 1)
        call_of_one = labels[one], tokens[one], known, hidden[one]
        z = np.asarray(masked.conditions(*call, *call_of_one))
        x = tokens[b, hidden[b]].reshape(3, config.groups, config.group)
        rows = np.ascontiguousarray(z[0][:, None])
        total -= mixture_head.likelihoods(ops, weights["head"], config, x, rows).sum()
    assert abs(loss - total / 6) <= ERROR * abs(loss)


def test_latents_are_cut_into_tokens_and_put_together_again():
    latent = normals(0, 2, 3, 4, 6)
    tokens = masked.to_tokens(latent, 2)
    assert tokens.shape == (2, 6, 12)
    assert_same(tokens[1, 4].reshape(3, 2, 2), latent[1, :, 2:4, 2:4])
    assert_same(masked.to_latent(tokens, 2, (2, 3)), latent)


def test_presets_have_the_sizes_of_the_paper():
    count = {
        name: sum(int(np.prod(s)) for s in names.manifest(PRESETS[name]).values())
        for name in ("arinar-b", "arinar-l", "arinar-h")
    }
    # the last number of each is a buffer of zeros
    expected = {"arinar-b": 212949516, "arinar-l": 470673420, "arinar-h": 885868044}
    assert count == {name: n + 768 for name, n in expected.items()}
    assert len(names.manifest(PRESETS["arinar-b"])) == 374


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"behaviour": "v2"}, "behaviour is 'v2'; expected v1 or head"),
        ({"inner_schedule": "cubic"}, "inner_schedule is 'cubic'"),
        ({"inner_width": 24, "behaviour": "head"}, "does not divide into 16 heads"),
        ({"group": 3}, "must divide the 4 features"),
        ({"buffer": 0}, "buffer is 0"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(wrong, said):
    with pytest.raises(ConfigError, match=said):
        ArinarConfig(**{**SMALL, **wrong})


def test_upstream_arguments_say_which_version_they_are_for():
    assert ArinarConfig.from_upstream({}) == PRESETS["arinar-b"]
    head = ArinarConfig.from_upstream({"head_type": "ar_gmm"})
    assert (head.behaviour, head.inner_width) == ("head", 1024)
    for arguments, said in (
        ({"head_type": "diffloss"}, "head_type is not 'ar_gmm'"),
        ({"inner_num_heads": 16}, "inner_num_heads is not 4"),
        ({"factory": "mar_tiny"}, "'mar_tiny' is not known"),
        ({"unheard_of": 1}, "does not know"),
    ):
        with pytest.raises(ConfigError, match=said):
            ArinarConfig.from_upstream(arguments)
