"""A program that is never run: mypy and pyright find an error in each marked line."""

from __future__ import annotations

import minigen.pipelin  # error

import minigen
from minigen import errors, evaluate

pipe = minigen.load("arpg-mnist")
minigen.lod("arpg-mnist")  # error
minigen.load("arpg-mnist", tokeniser="vq-mnist")  # error
minigen.load(3)  # error
pipe.sampel([3, 7])  # error
pipe.sample([3, 7], guidence=4.0)  # error
pipe.sample([3, 7], steps="16")  # error
pipe.sample(["seven"])  # error
pipe.sample([3, 7]).flaten()  # error
pipe.options(temprature=0.9)  # error
pipe.plan(ordre="halton")  # error
pipe.settle(guidence=4.0)  # error
pipe.seed = 3  # error
pipe.draw([7], guidence=4.0)  # error
print(pipe.draw([7], seed=3).tokns)  # error
pipe.expand(7, (8, 16), step=3)  # error
pipe.save(pipe.sample([7]), "a.png")  # error
for step in pipe.steps([7], guidence=4.0):  # error
    print(step.tokns)  # error
    print(step.probabilities.shape)  # error
minigen.plan((8, 8), ordr="spiral")  # error
minigen.plan(8)  # error
minigen.Options(guidence=4.0)  # error
print(minigen.Plan((8, 8)).grops)  # error
print(minigen.known_models()[0].nam)  # error
minigen.read_checkpoint("a.pt", keys="ema")  # error
minigen.convert("a.pt", "a.safetensors", dtype=16)  # error
print(minigen.convert("a.pt", "a.safetensors").hsh)  # error
minigen.check("rms_norm", example=3)  # error
print(minigen.check("rms_norm").okay)  # error
evaluate.evaluate_generatr(pipe)  # error
evaluate.evaluate_generator(pipe, evaluate.load_judge(), 100, guidence=4.0)  # error
try:
    pipe.decode("tokens")  # error
except errors.MinigenEror:  # error
    print("no")
