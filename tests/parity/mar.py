"""MAR: the network of its diffusion head, its schedule, draws of tokens, and a run.

The original carries a second half of tokens through a draw with guidance, those without
a condition: they get the same predicted noise, but their own variance and random
numbers, and nobody ever reads them. `Half` follows them beside what we compute.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from minigen import plans
from minigen.checkpoints import names as layout
from minigen.checkpoints import read_checkpoint
from minigen.families import MarConfig
from minigen.families.mar import diffusion_rows, noise_steps
from minigen.models import diffusion_head, masked
from minigen.models.query import Draws
from minigen.sample import Options
from tests import masked_runs
from tests.parity.case import EPS, Case, compare, equal, note, take
from tests.synth import synth

# of float64: a table is a few operations on numbers of about 1, or their logarithms
TABLE_ERROR = 16 * 2.0**-52


def is_schedule(case: Case) -> bool:
    return "respacings" in case.about["config"]


def replay_schedule(case: Case, ops) -> None:
    for given in case.about["config"]["respacings"]:
        count = given or "full"
        made = diffusion_head.schedule(noise_steps(given))
        equal(case, f"map_{count}", made.timesteps)
        for name, ours in (
            ("betas", made.betas),
            ("alphas_cumprod", made.alphas_cumprod),
            ("posterior_log_variance_clipped", made.posterior_log_variance),
            ("posterior_mean_coef1", made.posterior_mean_coef1),
            ("posterior_mean_coef2", made.posterior_mean_coef2),
            ("sqrt_recip_alphas_cumprod", np.sqrt(1 / made.alphas_cumprod)),
            ("sqrt_recipm1_alphas_cumprod", np.sqrt(1 / made.alphas_cumprod - 1)),
        ):
            within = TABLE_ERROR * np.abs(case.arrays[f"{name}_{count}"])
            compare(case, f"{name}_{count}", ours, within)


def is_network(case: Case) -> bool:
    return "t_freq" in case.arrays


def replay_network(case: Case, ops) -> None:
    about = case.about["config"]
    assert about["out_channels"] == 2 * about["in_channels"]
    w = to_tree(
        draw_state(case, about), about["in_channels"], about["z_channels"],
        about["model_channels"], about["num_res_blocks"],
    )  # fmt: skip
    seen = {}

    def watch(name, array):
        seen[name] = np.array(array)

    x, numbers, z = (take(case, name) for name in ("x", "t", "c"))
    seen["t_freq"] = diffusion_head.timestep_embedding(numbers)
    times = diffusion_head.embed_timesteps(ops, w, ops.put(seen["t_freq"]), watch)
    condition = ops.linear(z[:, None], **w["condition"])
    seen["c_emb"] = np.array(condition)
    conditioning = ops.add(condition, times[:, None])
    parts = diffusion_head.denoise(ops, w, x[:, None], conditioning, watch)
    seen["out"] = np.concatenate(parts, -1)
    for name, ours in seen.items():
        if name in case.arrays:
            compare(case, name, thinned(ours.reshape(len(x), -1), case.arrays[name]))
    # with guidance: the first half of x twice, at one step, with the second half's z
    half, one = x[: len(x) // 2, None], times[:1].repeat(len(x), 0)
    conditioning = ops.add(condition, one[:, None])
    noise, between = diffusion_head.denoise(ops, w, ops.twice(half), conditioning)
    guided, first = diffusion_head.guided(ops, noise, between, case.about["cfg_scale"])
    assert np.array_equal(first, between[: len(first)])
    ours = np.concatenate([ops.twice(guided), between], -1)[:, 0]
    compare(case, "out_cfg", ours)


def is_draw(case: Case) -> bool:
    return "kept_indices" in case.about


def replay_draw(case: Case, ops) -> None:
    about = case.about["config"]
    sizes = [about[k] for k in ("target_channels", "z_channels", "width", "depth")]
    steps = noise_steps(about["num_sampling_steps"])
    config = MarConfig(channels=sizes[0], noise_steps=steps)
    w = to_tree(read_head(case, "net."), *sizes)
    z = take(case, "z")[:, None]
    guidance, temperature = case.about["cfg"], case.about["temperature"]
    b = len(z) // (1 if guidance == 1 else 2)
    rule = Rule(case.about["noise"]["salt"], steps, guidance != 1)
    half = Half(ops, w, z, config, guidance, temperature, rule)
    trace = {}

    def watch(name, seen):
        if name == "step":
            trace[seen[0]] = [np.array(each)[:, 0] for each in seen[1:]]
            if guidance != 1:
                other = [each[:, 0] for each in half.step(seen[0], seen[1])]
                trace[seen[0]] = [
                    np.concatenate(pair)
                    for pair in zip(trace[seen[0]], other, strict=True)
                ]

    table = SimpleNamespace(**{**vars(ops), "normals_at": rule.normals_at})
    rows = np.zeros(b, np.int64)
    draws = Draws(np.zeros(2, np.uint32), rows, rows, 0)
    steps = ops.put(diffusion_head.table(config))
    call = table, w, config, z, draws, steps, guidance, temperature, watch
    x = np.asarray(diffusion_head.sample(*call))[:, 0]
    note(case, "the last mean is drawn", np.abs(x - trace[0][1][:b]), 0.0)
    compare(case, "sample", trace[0][1])
    for part, name in enumerate(("x", "mean", "log_variance")):
        ours = [trace[i][part] for i in case.about["kept_indices"]]
        compare(case, name, np.stack(ours))


@dataclass(frozen=True)
class Rule:
    """The cases' rule for noise: by the salt, the call, and the step of the head."""

    salt: str
    steps: int
    guided: bool

    def normals(self, call, i, shape):
        key = f"{self.salt}/{call}/{i}"
        rng = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
        return rng.standard_normal(shape, np.float32)

    def normals_at(self, key, images, positions, step, first, m):
        # what a draw begins with, then the noise of each step
        index, b = first // m, len(images)
        if index == 0:
            return self.normals(step, "init", (b, m))
        both = self.normals(step, self.steps - index, ((1 + self.guided) * b, m))
        return both[:b]


class Half:
    """The second half of a guided draw, which the original computes and throws away."""

    def __init__(self, ops, w, z, config, guidance, temperature, rule):
        self.ops, self.w = ops, w
        self.guidance, self.temperature = guidance, temperature
        self.rule, self.plan = rule, diffusion_head.schedule(config.noise_steps)
        self.table = ops.put(diffusion_head.table(config))
        self.condition = ops.linear(z, **w["condition"])
        self.shape = len(z), config.features
        self.x = rule.normals(0, "init", (len(z) // 2, config.features))[:, None]

    def step(self, i, first):
        """Return x, mean and log-variance at step i, given x of the first half."""
        ops, b, x = self.ops, len(first), self.x
        times = diffusion_head.embed_timesteps(ops, self.w, self.table[i : i + 1])
        conditioning = ops.add(self.condition, times.repeat(2 * b, 0)[:, None])
        call = ops, self.w, ops.twice(first), conditioning
        noise, between = diffusion_head.denoise(*call)
        noise = ops.guide(noise, self.guidance)
        mean, log_variance = ops.reverse_step(x, noise, between[b:], *self.plan.step(i))
        added = self.rule.normals(0, i, self.shape)[b:, None]
        scaled = np.float32(self.temperature) * added
        self.x = ops.sample_normal(mean, log_variance, scaled)
        return x, mean, log_variance


def is_run(case: Case) -> bool:
    run = case.about.get("run")
    return isinstance(run, dict) and run["call"] == "MAR.sample_tokens"


def replay_run(case: Case, ops) -> None:
    config, run = MarConfig.from_upstream(case.about["config"]), case.about["run"]
    head = read_head(case, "")
    state = {n: draw(case, n, s) for n, s in layout.manifest(config).items()} | head
    note(case, "file", float(not set(head) <= set(layout.manifest(config))), 0.0)
    b, n = run["bsz"], config.tokens
    stream = np.random.RandomState(run["numpy_seed"])
    orders = np.stack([stream.permutation(n) for _ in range(b)])
    equal(case, "orders", orders)
    counts = plans.counts("cosine", n, run["num_iter"])
    equal(case, "rows_per_step", b * np.array(counts))
    ends = n - np.cumsum(counts)
    groups = [orders[:, e : e + m] for e, m in zip(ends, counts, strict=True)]
    guided = run["cfg"] != 1
    rule = Rule(case.about["noise"]["salt"], config.noise_steps, guided)
    table = SimpleNamespace(**{**vars(ops), "normals_at": rule.normals_at})
    call = table, layout.to_tree(config, state), config
    options = Options(
        guidance=run["cfg"],
        guidance_schedule=run["cfg_schedule"],
        temperature=run["temperature"],
    )
    numbers = np.zeros(2, np.uint32), np.arange(b)
    conditions, drawn, weights = [], [], []

    def watch(name, seen):
        if name == "conditions":
            conditions.append(np.array(seen[1]).reshape(-1, config.width))

    labels = run["labels"] or [-1] * b
    call = *call, labels, groups, options, numbers, watch
    for tokens, weight, canvas in masked_runs.run(*call):  # noqa: B007
        drawn.append(tokens.reshape(-1, config.features))
        weights.append(weight)
    recorded = case.arrays["cfg_iter"]
    compare(case, "cfg_iter", np.array(weights), EPS * np.abs(recorded))
    compare(case, "z", np.concatenate(conditions))
    compare(case, "sampled", np.concatenate(drawn))
    grid = config.side, config.side
    latent = masked.to_latent(canvas, config.patch, grid)
    compare(case, "latent", latent)


def read_head(case: Case, prefix: str) -> dict[str, np.ndarray]:
    """Return the head's weights, which all files of the case must hold alike."""
    state = read_checkpoint(case.folder / "head.safetensors")
    for key in ("model", "model_ema"):
        other = read_checkpoint(case.folder / "head.pth", key)
        same = set(other) == set(state)
        same = same and all(np.array_equal(other[n], state[n]) for n in state)
        note(case, f"file head.pth {key}", float(not same), 0.0)
    return {name.removeprefix(prefix): array for name, array in state.items()}


def draw_state(case: Case, about: dict) -> dict[str, np.ndarray]:
    sizes = (about[k] for k in ("in_channels", "z_channels", "model_channels"))
    rows = diffusion_rows(*sizes, about["num_res_blocks"])
    return {name: draw(case, name, shape) for _, name, shape in rows}


def draw(case: Case, name: str, shape) -> np.ndarray:
    array = synth(name, shape, case.about["weights"]["salt"])
    for pattern, factor in case.about["weights"]["scale"].items():
        if re.search(pattern, name):
            array *= np.float32(factor)
    return array


def to_tree(state, features, condition, width, layers) -> dict:
    rows = diffusion_rows(features, condition, width, layers)
    return layout.unflatten(layout.arrange(rows, state))


def thinned(whole, recorded):
    """Return every N-th channel, as many as were recorded."""
    return whole[:, :: -(-whole.shape[1] // recorded.shape[1])]
