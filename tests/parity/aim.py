"""AiM: training form, decoding traces with their states, filters, containers, an image.

The loop of minigen.sample runs on an op table in which `guide` keeps the logits, and
`draw` draws from the recorded uniforms and hands the recorded tokens on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import islice
from types import SimpleNamespace

import numpy as np

from minigen import packing, plans, sample
from minigen.checkpoints import names, read_checkpoint
from minigen.families import FAMILIES, AimConfig, VqConfig
from minigen.models import aim, vq
from tests.parity.case import (
    FACTOR,
    Case,
    compare,
    decide,
    equal,
    note,
    recorded_error,
    take,
)
from tests.parity.slices import cut
from tests.synth import synth

WEIGHT_FILES = (".safetensors", ".bin")


def recognise(case: Case) -> bool:
    return "d_model" in case.about.get("config", ())


def replay(case: Case, ops) -> None:
    config = AimConfig.from_upstream(case.about["config"])
    state = draw_state(case, config)
    tree = names.to_tree(config, state)
    for path in sorted(case.folder.iterdir()):
        if path.suffix in WEIGHT_FILES:
            replay_file(case, ops, config, path, state)
    forwards(case, ops, config, tree)
    for run in case.about["runs"]:
        replay_run(case, ops, config, tree, run)


def draw_state(case: Case, config, prefix="mamba.") -> dict[str, np.ndarray]:
    """Return the stand-in weights under the original's names, without the prefix."""
    return {
        name: drawn(case, prefix + name, shape)
        for name, shape in names.manifest(config).items()
    }


def drawn(case: Case, name, shape):
    array = synth(name, shape, case.about["salt"])
    for pattern, factor in case.about["scale"].items():
        if re.search(pattern, name):
            array *= np.float32(factor)
    return array


def replay_file(case: Case, ops, config, path, state) -> None:
    """A file must be recognised, hold the drawn weights, and compute the same."""
    found = read_checkpoint(path)
    label = f"file {path.name}"
    recognised, unseen = names.recognise(found)
    shown = vars(config).keys() - set(unseen)
    wrong = [f for f in shown if getattr(recognised, f) != getattr(config, f)]
    note(case, label, float(bool(wrong)), 0)
    tree = names.to_tree(config, found)
    ours = names.flatten(tree)
    for name, array in names.to_ours(config, state).items():
        rounded = array.astype(ours[name].dtype)
        note(case, label, (np.asarray(ours[name]) != rounded) * 1.0, 0.0)
    kind = path.stem if f"logits_train_from_{path.stem}" in case.arrays else ""
    if kind:
        call = take(case, "codes"), take(case, "labels")
        logits = aim.forward(ops, tree, config, *call)
        compare(case, f"logits_train_from_{kind}", logits)
    if "images" in case.arrays:
        replay_images(case, ops, found)


def replay_images(case: Case, ops, found) -> None:
    """Decode the tokens of the first run by the tokenizer in the same file."""
    about = case.about["tiny_vq"]
    config = VqConfig(
        base=about["ch"],
        multipliers=tuple(about["ch_mult"]),
        latent=about["z_channels"],
        codes=about["n_embed"],
        code_size=about["embed_dim"],
    )
    family = FAMILIES["vq"]
    state = names.part_of(family, found)
    rows = list(family.rows(config, about["num_res_blocks"]))
    for _, name, shape in rows:
        expected = drawn(case, "vqvae." + name, shape)
        note(case, f"tokenizer {name}", (state[name] != expected) * 1.0, 0.0)
    tree = names.unflatten(
        {n: np.ascontiguousarray(a) for n, a in names.arrange(rows, state).items()}
    )
    tokens = take(case, f"{case.about['runs'][0]['name']}.tokens")
    side = round(len(tokens) ** 0.5)
    grid = tokens[:, : tokens.shape[1] // 2].T.reshape(-1, side, side)
    image = vq.decode(ops, tree, config, np.ascontiguousarray(grid))
    compare(case, "images", np.moveaxis(np.asarray(image), -1, 1))


def forwards(case: Case, ops, config, tree) -> None:
    """Compare the training form in both conventions of positions, and its inside."""
    codes = take(case, "codes")
    name = "parallel_labels" if "parallel_labels" in case.arrays else "labels"
    call = ops, tree, config, codes, take(case, name)
    seen = {}

    def watch(name, array):
        seen[name] = np.array(array)

    logits = np.asarray(aim.forward(*call, watch=watch))
    compare(case, "logits_train", cut(case, "logits_train", logits))
    if "logits_shift" in case.arrays:
        compare(case, "logits_shift", aim.forward(*call, positions="released"))
    seen["cond_embed"] = seen["cond_embed"][:, 0]
    for name, array in case.arrays.items():
        if name in seen:
            ours = seen[name]
            if name.endswith("conv_out"):
                ours = ours.swapaxes(1, 2)
            compare(case, name, ours.reshape(array.shape))
    if "adaln_group" in case.arrays:
        e = ops.embed(tree["classes"], take(case, "labels")[:, None])
        made = ops.linear(ops.silu(e), **tree["modulation"])
        recorded = case.arrays["adaln_group"]
        compare(case, "adaln_group", made.reshape(recorded.shape))


@dataclass(frozen=True)
class Tape:
    """What a run saw: logits (2b 1 v), guided, probabilities and tokens of each step,
    and the states after some of them."""

    logits: list = field(default_factory=list)
    guided: list = field(default_factory=list)
    kept: list = field(default_factory=list)
    tokens: list = field(default_factory=list)
    memories: list = field(default_factory=list)


def replay_run(case: Case, ops, config, tree, run: dict) -> None:
    name = run["name"] + "."
    labels = take(case, (name if name + "labels" in case.arrays else "") + "labels")
    tokens = take(case, name + "tokens")
    uniforms = None
    if name + "uniforms" in case.arrays:
        uniforms = take(case, name + "uniforms")
    # the original accepts a temperature and ignores it
    options = sample.Options(
        guidance=run["cfg_scale"],
        guidance_schedule="constant",
        top_k=run["top_k"],
        top_p=run["top_p"],
    )
    assert run["position_ids"][1] == aim.POSITIONS["released"]
    tape = Tape()
    square = config.side**2 == config.tokens
    grid = (config.side, config.side) if square else (1, config.tokens)
    plan = plans.plan(grid, "raster", "one")
    aim.check_plan(config, plan)
    given = sample.inputs(ops, config, plan, labels.tolist(), options=options)
    given = packing.pack(given).put(ops)
    table = wrap(ops, config, tape, tokens, uniforms)
    steps = sample.decode(table, tree, config, options, given, watch=keep_in(tape))
    taken = list(islice(steps, len(tokens)))
    assert len(taken) == len(tokens)
    b = len(labels)
    for part in ("logits", "guided"):
        recorded = f"{name}{'raw' if part == 'logits' else part}_logits"
        ours = np.stack([each[:, 0] for each in getattr(tape, part)])
        compare(case, recorded, cut(case, recorded, ours))
    if name + "max_guided" in case.arrays:
        ours = np.stack([each[:, 0].max(-1) for each in tape.guided])
        compare(case, name + "max_guided", ours)
    # every margin that was recorded is larger than FACTOR float errors
    check_margins(case, run)
    ours = np.stack(tape.tokens)
    decide(case, name + "tokens", ours, True)
    if name + "kept" in case.arrays:
        equal(case, name + "kept", np.stack(tape.kept))
    equal_canvas = np.asarray(ops.get(given.canvas))[:, : len(tokens)]
    note(case, name + "canvas", (equal_canvas != tokens[:, :b].T) * 1.0, 0.0)
    compare_states(case, name, tape)


def check_margins(case: Case, run: dict) -> None:
    """Assert that no recorded decision was so close that float32 could not tell."""
    error = FACTOR * recorded_error(case, f"{run['name']}.guided_logits")
    for gap in ("min_gap_top1_top2", "min_gap_at_top_k"):
        assert run.get(gap) is None or run[gap] > error, (run["name"], gap)


def wrap(ops, config, tape: Tape, tokens, uniforms) -> SimpleNamespace:
    """Return the op table with a `guide` and a `draw` that write to the tape.

    Its `step_size` forgets the limits after the first token, as the original does,
    which reads only that one in the form of training.
    """
    sizes = []

    def step_size(raw, bias, lowest, highest):
        sizes.append(raw.shape)
        limits = (lowest, highest) if len(sizes) <= config.layers else (0.0, np.inf)
        return ops.step_size(raw, bias, *limits)

    def guide(logits, weight):
        guided = ops.guide(logits, weight)
        tape.logits.append(np.array(logits))
        tape.guided.append(np.array(guided))
        return guided

    def draw(p, ours):
        t = len(tape.tokens)
        # the original draws for both halves, and throws the second away
        both = np.concatenate([np.asarray(p)] * 2)
        # greedy is top-k of one: any uniform draws what is left
        u = np.full(len(both), 0.5, np.float32) if uniforms is None else uniforms[t]
        tape.tokens.append(ops.draw(both, np.ascontiguousarray(u[:, None]))[:, 0])
        tape.kept.append(np.asarray(p)[:, 0] > 0)
        return np.ascontiguousarray(tokens[t, : len(p), None])

    changed = {"guide": guide, "draw": draw, "step_size": step_size}
    return SimpleNamespace(**{**vars(ops), **changed})


def keep_in(tape: Tape):
    def watch(name, memory):
        tape.memories.append(
            [(np.array(state.conv), np.array(state.scan)) for state in memory.states]
        )

    return watch


def compare_states(case: Case, name: str, tape: Tape) -> None:
    """Compare conv (2B,C,W) and ssm states, named after step and layer."""
    for key in case.arrays:
        found = re.fullmatch(re.escape(name) + r"(conv|ssm)_t(\d+)_l(\d+)", key)
        if found:
            which, t, layer = found.group(1), int(found.group(2)), int(found.group(3))
            conv, scan = tape.memories[t][layer]
            ours = conv.swapaxes(1, 2) if which == "conv" else scan
            compare(case, key, cut(case, key, ours))


def is_filter(case: Case) -> bool:
    return all("top_k" in v for v in case.about.get("variants", {"": {}}).values())


def replay_filter(case: Case, ops) -> None:
    """sample() alone: what top-k and then top-p leave, and what is drawn from it."""
    for name, variant in case.about["variants"].items():
        tie = "_tie" if name.startswith("tie") else ""
        logits = take(case, "logits" + tie)[:, None]
        # the original ignores the temperature
        p = ops.probabilities(logits, 1.0, variant["top_k"], variant["top_p"])
        equal(case, f"{name}.kept", np.asarray(p)[:, 0] > 0)
        recorded = case.arrays[f"{name}.probs"]
        # a softmax of v terms: each, their sum and the quotient are rounded
        v = recorded.shape[-1]
        within = (np.ptp(logits[:, 0], -1, keepdims=True) + v + 4) * 2.0**-24 * recorded
        compare(case, f"{name}.probs", np.asarray(p)[:, 0], within)
        uniforms = take(case, "uniforms" + tie)[:, None]
        equal(case, f"{name}.tokens", ops.draw(p, uniforms)[:, 0])
