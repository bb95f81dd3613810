"""Results of CPU benches as text."""

from __future__ import annotations

from minigen.bench.compare import PARTS, Comparison, seconds
from minigen.bench.growth import FLAT, Growth
from minigen.bench.heads import REPORTED, Heads
from minigen.extras import install
from minigen.families import PRESETS
from minigen.words import duration, gigabytes, table


def comparison(found: Comparison) -> str:
    """Return a table of the times of both sides and the limit, and a summary."""
    job, ours = found.job, found.ours
    amount = f"{job.steps} steps"
    if job.tokens:
        most = PRESETS[job.generator].tokens
        amount = f"{job.tokens} of {most} tokens, one a step"
    return "\n".join([
        f"{job.generator} with {job.tokenizer}, {job.dtype}, {amount}, "
        f"guidance {job.guidance}, batch {job.batch}, {job.threads} threads, "
        f"medians of {len(ours.runs)}\n",
        _sides(found),
        *_estimate(found),
        _verdict(found),
        "",
        _limit(found),
    ])  # fmt: skip


def _estimate(found):
    ran, steps = found.ran
    if ran == steps:
        return [""]
    return [
        f"\nestimated: {ran} of {steps} steps ran, one in {found.job.every}, with "
        "stand-ins of the tokens",
        f"before it; the times of tokens and image are what all {steps} would take\n",
    ]


def growth(found: Growth) -> str:
    """Return a table of bytes kept and time of a token by position, and a summary."""
    names = " and ".join(
        f"{curve.model} ({curve.parameters / 1e6:.0f} M parameters)"
        for curve in found.curves
    )
    header = ["position"]
    for curve in found.curves:
        header += [curve.model, curve.keeps]
    rows = [header]
    for points in zip(*(curve.points for curve in found.curves), strict=True):
        cells = [points[0].position]
        for point in points:
            cells += [f"{1000 * point.median:.1f} ms", gigabytes(point.kept)]
        rows.append(cells)
    ratios = [f"{rows[-1][0]} by {rows[1][0]}"]
    for curve in found.curves:
        ratios += [f"{curve.slower:.2f}", f"{curve.larger:.2f}"]
    flat = [curve.model for curve in found.curves if curve.slower <= FLAT]
    return "\n".join([
        f"{names}, {found.dtype}, {found.backend}",
        "one image with both halves of guidance, medians of "
        f"{found.rounds} tokens at each position\n",
        table([*rows, ratios], right=range(len(header))),
        "",
        f"flat (the last at most {FLAT} times the first): {', '.join(flat) or 'none'}",
        "no image was decoded up to a position: weights, and what the cache holds, are "
        "stand-ins",
    ])  # fmt: skip


def heads(found: Heads) -> str:
    """Return a table of the time of a token in each head, and their ratio."""
    of, whole = found.tokens, PRESETS[found.heads[0].model].tokens
    rows = [("", "a token", f"{whole} tokens", "read", "products", "random", "passes")]
    for head in found.heads:
        cost, each = head.cost, head.median / of
        rows.append((
            f"{head.model}, {head.way}", f"{1000 * each:.1f} ms",
            duration(whole * each), gigabytes(cost.bytes / of),
            f"{cost.products / of / 1e6:.1f} M", f"{cost.numbers / of:,.0f}",
            cost.passes,
        ))  # fmt: skip
    first, *_, last = (head.cost for head in found.heads)
    theirs, ours = found.heads[-1].model, found.heads[0].model
    threads = f", {found.threads} threads" if found.threads else ""
    reported = REPORTED["mar-b"] / REPORTED["arinar-b"]
    return "\n".join([
        f"heads of {ours} and {theirs}, {found.dtype}, {of} tokens a call, guidance "
        f"{found.guidance}, {found.backend}{threads}, medians of "
        f"{len(found.heads[0].seconds)}\n",
        table(rows, right=range(1, 7)),
        "",
        f"{theirs} takes {found.slower(0):.1f} times as long as {ours} with "
        f"candidates, {found.slower(1):.1f} times as long as {ours} on a grid",
        f"it reads {last.bytes / first.bytes:.1f} times the bytes and makes "
        f"{last.products / first.products:.1f} times the products",
        f"reported by ARINAR's authors: {REPORTED['mar-b']} s by "
        f"{REPORTED['arinar-b']} s, {reported:.2f} times; that is a whole image, the "
        "outer model and all",
        "",
        "read: matrices, keys and values, shared by the tokens of a call; products: of "
        "two numbers, each with an addition; random: numbers drawn; passes: one after "
        "the other; ratios of times: medians of paired calls",
    ])  # fmt: skip


def _sides(found):
    job, whole = found.job, PRESETS[found.job.generator].tokens
    sides = [found.ours] if found.twin is None else [found.ours, found.twin]
    rows = [("", "minigen", "pytorch", "limit")]
    for part in PARTS:
        if part == "image" and job.tokens not in (None, whole):
            # what was drawn is none
            continue
        times = [duration(side.median(part)) for side in sides]
        rows.append((part, *_pad(times), duration(seconds(found, part))))
        if part == "tokens" and job.tokens:
            times = [_each(side.median(part), job.tokens) for side in sides]
            least = _each(seconds(found, part), job.tokens)
            rows.append(("a token", *_pad(times), least))
    peaks = [gigabytes(side.peak_bytes) for side in sides]
    rows.append(("peak memory", *_pad(peaks), ""))
    return table(rows, right=(1, 2, 3))


def _verdict(found):
    part = found.judged
    ours, least = found.ours.median(part), seconds(found, part)
    if found.ratio is None:
        line = "pytorch is not installed, so ours ran alone: "
        line += install("train")
    else:
        each = " for a token" if found.job.tokens else ""
        line = f"pytorch takes {found.ratio:.2f} times as long{each} "
        line += "(median of paired runs)"
    share = f"minigen reaches {least / ours:.0%} of the limit"
    if found.job.tokens:
        read = sum(step.bytes for step in found.work["tokens"])
        share += f", reading {read / ours / 1e9:.1f} GB/s"
    return f"{line}\n{share}"


def _limit(found):
    top = found.ceilings
    rows = [("", "read", "operations", "at least")]
    for part, steps in (
        ("tokens", found.work["tokens"]),
        ("pixels", [found.work["pixels"]]),
    ):
        read = sum(step.bytes for step in steps)
        operations = sum(step.operations for step in steps) / 1e9
        rows.append((part, gigabytes(read), f"{operations:.3g} GFLOP",
                     duration(seconds(found, part))))  # fmt: skip
    return (
        f"limit: {top.bandwidth / 1e9:.1f} GB/s read and {top.peak / 1e9:.0f} GFLOP/s, "
        f"measured on {top.threads} threads in this run\n\n"
        + table(rows, right=(1, 2, 3))
    )


def _each(seconds, count):
    return f"{1000 * seconds / count:.1f} ms"


def _pad(cells):
    return (*cells, "-")[:2]
