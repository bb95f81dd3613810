"""models, classes, info, convert: list what is known, describe files, convert them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from minigen.commands import options as o
from minigen.commands.terminal import reported, say, say_json, say_text
from minigen.words import gigabytes, table


@reported
def models(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="Tell of this one alone, and what to type to draw with it.",
            autocompletion=o.names("minigen.families", "PRESETS"),
        ),
    ] = None,
    as_json: o.Json = False,
):
    """List the models that ship and the sizes that are known by name.

    Of each generator also how it draws where nothing is said (sample without --order,
    --schedule, --guidance, --temperature and --reading), and how many of its digits the
    classifier sees as the class that was asked for. Of a released one, with its name:
    where its authors published the weights, and the commands for them.
    """
    from minigen import checks
    from minigen.catalogue import known_models

    known = known_models()
    sizes = [one.path.stat().st_size if one.path else None for one in known]
    if model is not None:
        names = [one.name for one in known]
        at = names.index(checks.choice("model", model, names))
        known, sizes = known[at : at + 1], sizes[at : at + 1]
    if as_json:
        rows = [
            {"name": one.name, "family": one.family,
             "parameters": one.parameters, "bytes": size, "origin": one.origin,
             "licence": one.licence, "settings": one.settings,
             "agreement": one.agreement, "published": one.published,
             "tokenizer": one.tokenizer, "commands": one.commands,
             "stand_ins": one.stand_ins}
            for one, size in zip(known, sizes, strict=True)
        ]  # fmt: skip
        say_json(rows if model is None else rows[0])
        return
    if model is not None:
        _one(*known, *sizes, {one.name: one for one in known_models()})
        return
    cells = [
        (one.name, one.family, f"{one.parameters:,}",
         gigabytes(size) if size else "-", one.licence, one.origin)
        for one, size in zip(known, sizes, strict=True)
    ]  # fmt: skip
    header = ("name", "family", "parameters", "size", "licence", "origin")
    say_text(table([header, *cells], right=(2, 3)))
    say("", "how generators draw where nothing is said, and what comes of it", "")
    cells = [
        (one.name, *_settings(one.settings).values(), one.agreement or "-")
        for one in known
        if one.settings
    ]
    header = ("name", "order", "schedule", "guidance", "temperature", "reading")
    say_text(table([(*header, "seen as its class"), *cells]))
    say("", "released weights stay under their authors' terms; `minigen models NAME`")
    say("says where they are published, and what to type once they are downloaded")


@reported
def classes(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[WORD]...", help="In a name, or in what it is, as dog."
        ),
    ] = None,
    as_json: o.Json = False,
):
    """List the classes of ImageNet by number and name, all or those with a word.

    The names, and what a class is a kind of, are WordNet's (LICENSE). --class takes
    them for every model of 1000 classes.
    """
    from dataclasses import asdict

    from minigen.imagenet import search

    found = search(" ".join(words or []))
    if as_json:
        say_json([asdict(each) for each in found])
        return
    cells = [
        (each.number, each.identifier, ", ".join(each.names), each.kinds[0])
        for each in found
    ]
    say_text(table([("class", "WordNet", "names", "kind of"), *cells], right=(0,)))


@reported
@o.takes_fields()
def info(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A name, or a weight file of any kind."),
    ],
    key: o.Key = None,
    config: o.Config = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Look for NaN and infinity; exit status 1 if there are any."
        ),
    ] = False,
    grid: Annotated[
        str | None,
        typer.Option(
            metavar="ROWSxCOLUMNS",
            help="Of a generator: say the memory that images of so many tokens take.",
        ),
    ] = None,
    count: Annotated[
        int, typer.Option(min=1, metavar="N", help="Images drawn together, for that.")
    ] = 1,
    as_json: o.Json = False,
    **fields,
):
    """Say what a model or a weight file holds; nothing in it is ever run.

    What no shape shows is said with where it came from.
    """
    from dataclasses import asdict

    from minigen.catalogue import AGREEMENT, known_models, licence_of, settings_of
    from minigen.checkpoints import describe
    from minigen.checkpoints.sources import lines
    from minigen.errors import InputError
    from minigen.families import from_dict, to_dict
    from minigen.finding import find

    for known in known_models():
        if known.name != model or known.ships:
            continue
        if check:
            raise InputError(
                f"{model} is a size known by name; its weights are not here; give the "
                "file"
            )
        said = {"parameters": known.parameters, "origin": known.origin}
        said |= {"licence": known.licence, "published": known.published}
        if config or any(value is not None for value in fields.values()):
            raise InputError(f"{model} is a size known by name: nothing of it is open")
        config = to_dict(known.config)
        memory = _memory(model, known.config, grid, count)
        if as_json:
            said["settings"] = known.settings
            say_json({"name": model, **said, **memory, "config": config})
            return
        said["parameters"] = f"{known.parameters:,}"
        said["drawn by"] = _drawn(known.settings)
        said["auto"] = _auto(model, known.config)
        said["memory"] = _most(memory)
        say(f"{model} is a size known by name; its weights are not here", "")
        say_text(_listing({**said, **config}))
        return
    told = o.told(config, fields)
    description = describe(find(model), key, check, told)
    found = asdict(description)
    found["licence"] = licence_of(found["hash"])
    name = found["name"]
    # what was measured is true of these weights alone
    found["agreement"] = AGREEMENT.get(name, "") if found["licence"] else ""
    found["settings"] = settings_of(found["family"], name) if found["config"] else {}
    config = from_dict(found["config"]) if found["config"] else None
    memory = _memory(found["name"], config, grid, count, found["dtype"])
    if as_json:
        say_json({**found, **memory})
    else:
        added = {"auto": _auto(found["name"], config), "memory": _most(memory)}
        say_text(_listing({**_shown(found), **added}))
        for line in lines(description.sources, description.unused):
            say(line)
    if found["intact"] is False or found["not_finite"]:
        raise typer.Exit(1)


@reported
@o.takes_fields()
def convert(
    source: Annotated[
        Path,
        typer.Argument(metavar="SOURCE", help="A released file or folder, or a name."),
    ],
    out: Annotated[Path, typer.Argument(metavar="FILE.safetensors")],
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="float32, bfloat16 or float16; as it is without it."
        ),
    ] = None,
    key: o.Key = None,
    config: o.Config = None,
    family: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Which model of a file that holds several: vq for the tokenizer in "
            "AiM's; the generator, if not said.",
        ),
    ] = None,
    as_json: o.Json = False,
    **fields,
):
    """Make a released .pt, .pth, .bin or .safetensors file, or a folder, one of ours.

    Family and size are recognised, and what no shape shows is said with where it came
    from; torch is not needed and nothing in the file is run.
    """
    from dataclasses import asdict

    from minigen.catalogue import WEIGHTS
    from minigen.checkpoints import convert as write
    from minigen.checkpoints.sources import lines
    from minigen.writing import check_writable

    check_writable(out, ".safetensors")
    shipped = WEIGHTS / f"{source}.safetensors"
    if source.suffix == "" and shipped.is_file():
        # named, as everywhere
        source = shipped
    told = ask_behaviour(source, key, family, o.told(config, fields))
    report = write(source, out, dtype, key, told, family)
    if as_json:
        say_json(asdict(report))
        return
    say(f"{out}  {gigabytes(report.bytes)}, {report.name} of family {report.family}, "
        f"{report.parameters:,} parameters in {report.dtype}")  # fmt: skip
    if report.key:
        others = f"; also there: {', '.join(report.other_keys)}" * bool(
            report.other_keys
        )
        say(f"read from the key {report.key!r}{others}")
    if report.left_out:
        say(f"arrays left out: {_arrays(report.left_out)}")
    for line in lines(report.sources, report.unused):
        say(line)


def ask_behaviour(source, key, family, told):
    """Ask on a terminal for the behaviour, if nothing shows it; return what is told."""
    import sys

    from minigen.checkpoints.load import identify, open_model
    from minigen.checkpoints.sources import Given

    if not sys.stdin.isatty():
        return told
    checkpoint = open_model(source, key, told, family)
    if "behaviour" not in identify(checkpoint, told, family).unseen:
        return told
    answer = typer.prompt(
        "Which version of ARINAR's code is it for, v1 (the released weights) or head?",
        err=True,
    )
    given = Given("option", "from your answer", {"behaviour": answer})
    return replace(told, given=(*told.given, given))


def _arrays(counts):
    """Return how many arrays lie where, as one reads it."""
    return ", ".join(f"{count} under {where}" for where, count in counts.items())


def _shown(found):
    """Return what is printed of a description: a text for each label, in order."""
    config = {n: v for n, v in (found["config"] or {}).items()
              if n not in found["sources"]}  # fmt: skip
    state = {
        None: "",
        True: "",
        False: "  is not that of the weights: the file is damaged",
    }
    return {
        "file": found["path"],
        "size": gigabytes(found["bytes"]),
        "format": "minigen" if found["converted"] else found["container"],
        "weights under": found["key"],
        "also there": ", ".join(found["other_keys"]),
        "arrays left out": _arrays(found["left_out"]),
        "passed over": ", ".join(found["objects"]),
        "family": found["family"] or f"not recognised: {found['reason']}",
        "together with": ", ".join(
            f for f in found["families"] if f != found["family"]
        ),
        "model": found["name"],
        "parameters": f"{found['parameters']:,} in {found['tensors']} arrays",
        "dtype": found["dtype"],
        "hash": found["hash"] + state[found["intact"]],
        "finite": {None: "", "": "all numbers"}.get(found["not_finite"], "no"),
        "not finite": found["not_finite"],
        "licence": found["licence"],
        "drawn by": _drawn(found["settings"]),
        "agreement": found["agreement"],
        **{name: value for name, value in config.items() if name != "family"},
    }


def _one(model, size, known):
    """Say all that is known of a model, and what to type; known: models by name."""
    tokenizer = known.get(model.tokenizer)
    files = [one.released for one in (model, tokenizer) if one and one.released]
    told = {
        "name": model.name,
        "family": model.family,
        "parameters": f"{model.parameters:,}",
        "size": gigabytes(size) if size else "",
        "licence": model.licence,
        "origin": model.origin,
        "published": model.published,
        "tokenizer": f"{model.tokenizer} {tokenizer.published}" if tokenizer else "",
        "drawn by": _drawn(model.settings),
        "agreement": model.agreement,
    }
    say_text(_listing(told))
    if model.released:
        say("", f"download {' and '.join(files)} into this folder; then")
    elif not model.ships:
        say("", "no weights of it were published")
    elif model.commands:
        say("")
    for command in model.commands:
        say(f"  {command}")
    if model.stand_ins:
        say("", "or, to try its size with nothing downloaded, with stand-in weights")
        say("(pictures are noise)")
    for command in model.stand_ins:
        say(f"  {command}")


def _settings(settings):
    """Return what is printed of a generator's settings, by their names."""
    shown = {name: str(value) for name, value in settings.items()}
    schedule = shown.pop("guidance_schedule")
    rises = {"linear": "rising to ", "constant": ""}[schedule]
    shown["guidance"] = rises + shown["guidance"]
    return {**shown, "reading": shown.get("reading", "-")}


def _drawn(settings):
    """Return a generator's settings in a line; nothing of another model."""
    if not settings:
        return ""
    shown = _settings(settings).items()
    return ", ".join(f"{name} {value}" for name, value in shown if value != "-")


def _auto(name, config):
    """Return what the backend `auto` is for a generator; nothing for another model."""
    from minigen.choosing import usual
    from minigen.families import GeneratorConfig
    from minigen.pipeline import BATCH

    if not isinstance(config, GeneratorConfig):
        return ""
    most = usual(name, config, BATCH)
    rest = "the fastest backend that is here"
    return f"numpy up to {most} images, then {rest}" if most else rest


def _memory(name, config, grid, count, dtype="float32"):
    """Return the memory of drawing by a generator, in bytes; nothing for others."""
    from dataclasses import asdict

    from minigen import plans
    from minigen.choosing import drawn_by_default
    from minigen.commands.tasks import parse_grid
    from minigen.defaults import STEPS, settle
    from minigen.errors import InputError
    from minigen.families import GeneratorConfig, family_of, module_of
    from minigen.memory import needed

    if not isinstance(config, GeneratorConfig):
        if grid is not None:
            raise InputError(f"--grid is for generators, and {name} is none")
        return {}
    (_, tokenizer), _ = drawn_by_default(name, config)
    asked = (config.side,) * 2
    if grid is not None:
        asked = parse_grid(grid)
    settings = settle(family_of(config).name, name, order=None, schedule=None)
    plan = plans.plan(asked, **settings, steps=STEPS)
    # refuses what the model cannot draw
    module_of(config).check_plan(config, plan)
    size = 2 if dtype in ("bfloat16", "float16") else 4
    found = needed(config, tokenizer, asked, max(plan.asked), count, size)
    said = {"grid": asked, "images": count, "total": found.total, **asdict(found)}
    return {"memory": said}


def _most(memory):
    if not memory:
        return ""
    said = memory["memory"]
    rows, columns = said["grid"]
    images = f"{said['images']} images" if said["images"] > 1 else "an image"
    return (
        f"at most {gigabytes(said['total'])} on numba, for {images} of {rows} x "
        f"{columns} tokens: {gigabytes(said['weights'])} are weights (with the "
        f"tokenizer's), {gigabytes(said['kept'])} kept from step to step"
    )


def _listing(values):
    known = ((name, value) for name, value in values.items() if value not in ("", None))
    return table([(name.replace("_", " "), value) for name, value in known])
