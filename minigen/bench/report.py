"""Results of CPU benches as text."""

from __future__ import annotations

from minigen.bench.compare import AGAINST, OURS, Comparison, total
from minigen.bench.growth import FLAT, Growth
from minigen.bench.heads import REPORTED, Heads
from minigen.extras import install
from minigen.families import PRESETS
from minigen.words import duration, gigabytes, table


def comparison(found: Comparison) -> str:
    """Return a table of the times of all sides and the limit, and what they are."""
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
        *_about(found),
        "",
        _limit(found),
    ])  # fmt: skip


def _estimate(found):
    ran, steps = found.ran
    if not found.estimated:
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
    job, ours = found.job, found.ours
    others = [name for name in found.sides if name != OURS]
    header = ["", OURS]
    for name in others:
        header += [name, "times"]
    rows = [[*header, "limit", "share"]]
    for part in found.parts:
        parts = [(part, duration)]
        if part == "tokens" and job.tokens:
            parts.append(("a token", lambda s: f"{1000 * s / job.tokens:.1f} ms"))
        for name, say in parts:
            row = [name, say(ours.median(part))]
            for other in others:
                theirs = say(found.sides[other].median(part))
                row += [theirs, f"{found.ratio(other, part):.2f}"]
            limit = say(found.limit(part))
            rows.append([*row, limit, f"{found.share(part):.0%}"])
    row = ["peak memory", gigabytes(ours.peak_bytes)]
    for other in others:
        peak = found.sides[other].peak_bytes
        row += [gigabytes(peak), f"{peak / ours.peak_bytes:.2f}"]
    rows.append([*row, "", ""])
    return table(rows, right=range(1, len(rows[0])))


def _about(found):
    others = [name for name in found.sides if name != OURS]
    if not others:
        yield f"pytorch is not installed, so ours ran alone: {install('train')}"
        return
    yield "times: how many times as long as minigen (medians of paired runs)"
    for name in others:
        side = found.sides[name]
        line = f"{name}: {AGAINST[name]}"
        if name == "compile":
            first = side.about["first"]
            share = first - side.median("image") * found.ran[0] / found.ran[1]
            line += f"; compiling took {duration(max(0.0, share))}"
        yield line


def _limit(found):
    top = found.ceilings
    rows = [("", "read", "operations", "at least")]
    for part, steps in found.work.items():
        work = total(steps)
        rows.append((part, gigabytes(work.bytes), f"{work.operations / 1e9:.3g} GFLOP",
                     duration(found.limit(part))))  # fmt: skip
    read = f"{top.bandwidth / 1e9:.1f} GB/s read ({top.reader})"
    if found.cached:
        read = f"weights lie in the cache of {gigabytes(top.cache)}, read at any speed"
    elif not found.estimated:
        tokens = total(found.work["tokens"]).bytes / found.ours.median("tokens")
        read += f", of which minigen's tokens read {tokens / 1e9:.1f}"
    return (
        f"limit: {read};\n{top.peak / 1e9:.0f} GFLOP/s ({top.multiplier}); "
        f"measured on {top.threads} threads in this run\n\n"
        + table(rows, right=(1, 2, 3))
    )
