"use strict";
/* The face of the live model: what is known, what is drawn next, and how much every unknown cell doubts.

A run is made of the tokens that were known when it began, its prompt, and of the steps that were drawn
since. A pair is a position and its token. */
const $ = id => document.getElementById(id), form = $("form"), DATA = JSON.parse($("data").textContent);
const SIDE = 8, CELLS = [...Array(SIDE * SIDE).keys()], run = { prompt: [], steps: [] };
let model, decode, read, asked, doubts, picture, chosen = 27, stop = false, drawing = false;

// what a plan is made of: minigen/plans.py and minigen/orders.py in JavaScript
const LEFT = { // of n tokens, after step s
  arccos: (n, s, steps) => n * (Math.acos((s + 1) / steps) / (Math.PI * 0.5)),
  cosine: (n, s, steps) => n * Math.cos(Math.PI / 2 * (s + 1) / steps),
  linear: (n, s, steps) => n * (steps - s - 1) / steps,
};
function counts(schedule, n, steps) {
  if (schedule === "one") return Array(n).fill(1);
  const sizes = [];
  let drawn = 0;
  for (let s = 0; s < steps - 1; s++) {
    const left = Math.max(1, Math.min(n - drawn - 1, Math.trunc(LEFT[schedule](n, s, steps))));
    sizes.push(n - drawn - left);
    drawn += sizes[s];
  }
  return [...sizes, n - drawn].filter(size => size);
}
function permutation(seed) {
  const keys = CELLS.map(p => {
    const [high, low] = philox(seed, DATA.order_image, 0, p, 0);
    return high << 32n | low;
  });
  return [...CELLS].sort((a, b) => keys[a] < keys[b] ? -1 : 1);
}
const order_of = (name, seed) => DATA.orders[name] || permutation(seed);

// what is known, in the order in which it was fixed
const pairs_of = ({ positions, tokens }) => positions.map((p, i) => [p, tokens[i]]);
const known = () => [...run.prompt, ...run.steps.flatMap(pairs_of)];
function unknown() {
  const taken = new Set(known().map(([p]) => p));
  return CELLS.filter(p => !taken.has(p));
}
const begin_run = pairs => Object.assign(run, { prompt: pairs, steps: [] });

function settings() {
  const value = name => form[name].value, seed = form.seed.validity.valid && value("seed");
  const words = ["guidance_schedule", "order", "schedule", "reading"].map(name => [name, value(name)]);
  const numbers = ["label", "guidance", "temperature", "steps"].map(name => [name, Number(value(name))]);
  return { ...Object.fromEntries([...words, ...numbers]), seed: BigInt(seed || 0) };
}
function weight(count, { guidance, guidance_schedule }) { // of guidance, at a step that draws so many
  const drawn = run.steps.flatMap(pairs_of).length + count, n = CELLS.length - run.prompt.length;
  return guidance_schedule === "linear" ? 1 + (guidance - 1) * drawn / n : guidance;
}

function catch_up(label) { // lets the caches read what is known, from where it differs from what they hold
  const calls = [...run.prompt.map(pair => [pair]), ...run.steps.flatMap(step =>
    step.reading === "block" ? [pairs_of(step)] : pairs_of(step).map(pair => [pair]))];
  if (read?.label !== label) read = { label, caches: model.begin(label), calls: [] };
  let at = 0;
  while (at < calls.length && String(calls[at]) === String(read.calls[at])) at++;
  for (const cache of read.caches) cache.length = 1 + calls.slice(0, at).flat().length;
  while (at < calls.length) {
    let end = at + 1;
    // tokens that do not see each other are read in one call, as well as in a call for each
    if (calls[at].length === 1) while (calls[end]?.length === 1) end++;
    const pairs = calls.slice(at, end).flat();
    model.feed(read.caches, pairs.map(([p]) => p), pairs.map(([, token]) => token), calls[at].length === 1);
    at = end;
  }
  read.calls = calls;
}
function draw_step(positions) { // draws the tokens of one step, and reads them
  const how = settings(), { seed, temperature, label, reading } = how;
  catch_up(label);
  const told = { seed, temperature, guidance: weight(positions.length, how) };
  run.steps.push({ ...step(model, read.caches, positions, run.steps.length, told), reading, ...told });
  catch_up(label);
}
function python() { // a program that draws the tokens of this run, and then what is still unknown
  const { label, seed, guidance, temperature, guidance_schedule, reading } = settings(), left = unknown();
  const list = numbers => `[${numbers.join(", ")}]`, groups = run.steps.map(step => step.positions);
  const canvas = CELLS.map(() => -1), lines = [];
  if (left.length) groups.push(left);
  for (const [p, token] of run.prompt) canvas[p] = token;
  for (let p = 0; p < CELLS.length; p += SIDE) lines.push(`    ${list(canvas.slice(p, p + SIDE))},\n`);
  const given = run.prompt.length > 0, say = text => given ? text : "";
  return `import minigen

plan = minigen.plan(
    (${SIDE}, ${SIDE}),
    order=${list(groups.flat())},
    schedule=${list(groups.map(group => group.length))},${say(`
    known=${list(run.prompt.map(([p]) => p))},`)}
)
${say(`known = [\n${lines.join("")}]\n`)}pipe = minigen.load("arpg-mnist")
drawn = pipe.draw(
    [${label}], seed=${seed}, plan=plan, guidance=${guidance}, temperature=${temperature},
    guidance_schedule="${guidance_schedule}", reading="${reading}",${say(" known=known,")}
)
print(drawn.tokens[0])
`;
}

// what is shown
const entropy = p => p.reduce((sum, share) => sum - (share > 0 ? share * Math.log2(share) : 0), 0);
const most = () => Math.log2(DATA.stamps.length);
function colour(share) {
  const { ramp } = DATA, last = ramp.length - 1, at = Math.min(share, 1) * last;
  const low = Math.min(Math.floor(at), last - 1);
  return ramp[low].map((from, i) => Math.round(from + (ramp[low + 1][i] - from) * (at - low)));
}
function paint(canvas, width, height, pixel) { // pixel(x, y) -> three bytes
  Object.assign(canvas, { width, height });
  const pen = canvas.getContext("2d"), image = pen.createImageData(width, height);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++)
    image.data.set([...pixel(x, y), 255], 4 * (y * width + x));
  pen.putImageData(image, 0, 0);
}
const name_of = p => `Row ${Math.floor(p / SIDE) + 1}, column ${p % SIDE + 1}`;
const percent = share => `${(100 * share).toFixed(1)}\u00a0%`;

function ask_all() { // the logits of all that is unknown, for which all else is computed
  const left = unknown();
  catch_up(settings().label);
  asked = { left, logits: left.length ? model.ask(read.caches, left) : [[], []] };
  show();
  const tokens = CELLS.map(() => 0), now = known();
  for (const [p, token] of now) tokens[p] = token;
  // after the browser has shown the doubt: the picture takes longer
  setTimeout(() => { if (String(now) === String(known())) { picture = decode(tokens); draw_board(); } });
}
function show() {
  const how = settings(), { left, logits } = asked, guidance = weight(1, how);
  const next = step({ ask: () => logits }, null, left, run.steps.length, { ...how, guidance });
  doubts = new Map(next.probabilities.map((p, i) => [left[i], { p, bits: entropy(p) }]));
  for (const value of form.querySelectorAll(".value")) value.textContent = value.nextElementSibling.value;
  $("python").textContent = python();
  draw_board();
  show_cell();
}
function draw_board() {
  const scale = Math.sqrt(DATA.stamps[0].length), wide = SIDE * scale;
  paint($("picture"), wide, wide, (x, y) => {
    const doubt = doubts.get(Math.floor(y / scale) * SIDE + Math.floor(x / scale));
    if (doubt) return colour(doubt.bits / most());
    return picture ? row(picture, y * wide + x, 3) : Array(3).fill(DATA.grey);
  });
  const tokens = new Map(known()), last = run.steps.at(-1)?.positions || [];
  for (const [p, cell] of cells.entries()) {
    const doubt = doubts.get(p);
    cell.className = doubt ? "unknown" : last.includes(p) ? "new" : "";
    const what = doubt ? `unknown, ${doubt.bits.toFixed(1)} bits` : `code ${tokens.get(p)}`;
    cell.ariaLabel = `${name_of(p)}: ${what}`;
    cell.ariaSelected = p === chosen;
    cell.tabIndex = p === chosen ? 0 : -1;
  }
}
function show_cell() {
  const index = run.steps.findIndex(step => step.positions.includes(chosen)), from = run.steps[index];
  const doubt = doubts.get(chosen), p = doubt?.p || from?.probabilities[from.positions.indexOf(chosen)];
  const token = doubt ? -1 : new Map(known()).get(chosen);
  $("cell").textContent = name_of(chosen);
  $("why").textContent = doubt ? `Unknown: ${doubt.bits.toFixed(2)} bits of doubt. A tap would draw from:`
    : !from ? `Code ${token}, known before this run began.`
    : `Code ${token}, drawn in step ${index + 1} at guidance ${from.guidance.toFixed(2)}, from:`;
  const top = p ? [...p.keys()].sort((a, b) => p[b] - p[a]).slice(0, 6) : [token];
  if (!top.includes(token) && token >= 0) top.push(token);
  $("codes").replaceChildren(...top.map(code => line_of(code, p?.[code], code === token)));
}
function make(tag, properties, ...inside) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...inside);
  return element;
}
function line_of(code, share, drawn) { // a code's stamp, its number, its probability if there is one
  const stamp = DATA.stamps[code], side = Math.sqrt(stamp.length), canvas = make("canvas"), bar = make("i");
  paint(canvas, side, side, (x, y) => Array(3).fill(stamp[y * side + x]));
  bar.style.width = `${100 * (share || 0)}%`;
  const text = make("span", { textContent: share === undefined ? "" : percent(share) });
  return make("li", { className: drawn ? "drawn" : "" }, canvas, `code ${code}`, make("span", {}, bar), text);
}
function say(what) {
  const bits = [...doubts.values()].map(doubt => doubt.bits), mean = bits.reduce(add, 0) / bits.length;
  const rest = !bits.length ? "All cells are known."
    : `${bits.length} cells are unknown, with ${mean.toFixed(2)} bits of doubt each on average. `
      + `The next draw has guidance ${weight(1, settings()).toFixed(2)}.`;
  $("says").textContent = `${what} ${rest}`.trim();
}

// what the student does
function choose(p) {
  chosen = p;
  draw_board();
  show_cell();
}
function draw_cell(p) {
  chosen = p;
  if (!doubts.has(p)) return choose(p);
  draw_step([p]);
  ask_all();
  const { tokens, probabilities } = run.steps.at(-1);
  say(`${name_of(p)}: code ${tokens[0]} was drawn, of probability ${percent(probabilities[0][tokens[0]])}.`);
}
function erase_cell(p) {
  choose(p);
  if (!doubts.has(p)) erase([p]);
}
function erase(positions) {
  const before = known(), gone = before.filter(([p]) => positions.includes(p));
  begin_run(before.filter(([p]) => !positions.includes(p)));
  ask_all();
  say(gone.length === 1 ? `${name_of(gone[0][0])} was erased.` : `${gone.length} cells were erased.`);
}
async function draw_all() {
  const { order, schedule, steps, seed } = settings(), left = new Set(unknown());
  const positions = order_of(order, seed).filter(p => left.has(p));
  const quiet = matchMedia("(prefers-reduced-motion: reduce)").matches;
  busy(true);
  let drawn = 0, count = 0;
  for (const size of counts(schedule, left.size, steps)) {
    draw_step(positions.slice(drawn, drawn += size));
    count++;
    if (!quiet) ask_all();
    // twice: the picture is drawn in between
    for (let i = 0; i < 2; i++) await new Promise(go => setTimeout(go));
    if (stop) break;
  }
  busy(false);
  ask_all();
  say(`${drawn} cells were drawn in ${count} steps, in the order ${order}.`);
}
function busy(now) { // while all is drawn, nothing can be changed, but it can be stopped
  drawing = now;
  stop = false;
  for (const control of form.querySelectorAll("input, select, button")) control.disabled = now;
  $("all").disabled = false;
  $("all").textContent = now ? "Stop" : "Draw all unknown";
}

const cells = CELLS.map(() => make("button", { type: "button", role: "gridcell" }));
const touched = new Set(), mode = () => document.querySelector("[name=mode]:checked").value;
function lay_out() {
  for (let p = 0; p < CELLS.length; p += SIDE)
    $("board").append(make("div", { role: "row" }, ...cells.slice(p, p + SIDE)));
  const option = (value, text = value) => make("option", { value, textContent: text });
  form.label.append(...Array.from({ length: 10 }, (_, n) => option(n)), option(-1, "none"));
  form.order.append(...[...Object.keys(DATA.orders), "random"].map(name => option(name)));
  form.schedule.append(...DATA.schedules.map(name => option(name)));
  const digit = i => `${Math.floor(i / 2)}, ${i % 2 ? "second" : "first"}`; // two of each class
  form.digit.append(...DATA.digits.map((_, i) => option(i, digit(i))));
  for (const [name, value] of Object.entries(DATA.settings)) form[name].value = value;
  form.label.value = 7;
  $("most").textContent = `${most()} bits`;
  paint($("legend").querySelector("canvas"), 128, 1, x => colour(x / 127));
}
function listen() {
  const idle = act => (...given) => { if (!drawing) act(...given); };
  const acts = { draw: draw_cell, erase: erase_cell, look: choose };
  for (const [p, cell] of cells.entries()) cell.onclick = idle(() => acts[mode()](p));
  $("board").onkeydown = idle(event => {
    const [y, x] = [Math.floor(chosen / SIDE), chosen % SIDE], last = SIDE - 1;
    const to = { ArrowUp: [y - 1, x], ArrowDown: [y + 1, x], ArrowLeft: [y, x - 1], ArrowRight: [y, x + 1],
      Home: [y, 0], End: [y, last] }[event.key];
    if (to) {
      choose(Math.max(0, Math.min(last, to[0])) * SIDE + Math.max(0, Math.min(last, to[1])));
      cells[chosen].focus();
    } else if (["Delete", "Backspace"].includes(event.key)) {
      erase_cell(chosen);
    } else return;
    event.preventDefault();
  });
  // a finger or mouse that moves over cells erases them all
  const touch = event => {
    const p = cells.indexOf(document.elementFromPoint(event.clientX, event.clientY));
    if (p < 0 || doubts.has(p) || !event.buttons || mode() !== "erase") return;
    touched.add(p);
    cells[p].className = "gone";
  };
  $("board").onpointermove = idle(touch);
  addEventListener("pointerup", idle(() => {
    if (touched.size > 1) erase([...touched]);
    touched.clear();
  }));
  document.querySelector(".modes").onchange = () => { $("board").className = mode(); };
  form.onsubmit = event => event.preventDefault();
  form.oninput = idle(event => {
    if (event.target.name === "digit") {
      begin_run(form.digit.value && CELLS.map(p => [p, DATA.digits[form.digit.value][p]]) || []);
      ask_all();
      return say("A handwritten digit is known. Erase some of it.");
    }
    if (["steps", "order", "schedule"].includes(event.target.name)) return show();
    if (run.steps.length) begin_run(known());
    if (event.target.name === "label") ask_all(); else show();
    if (event.type === "input") say("");
  });
  $("all").onclick = () => { if (drawing) stop = true; else if (doubts.size) draw_all(); };
  $("undo").onclick = idle(() => { if (run.steps.pop()) { ask_all(); say("The last step was undone."); } });
  $("clear").onclick = idle(() => { begin_run([]); ask_all(); say("Everything was erased."); });
  $("lower").onclick = idle(() => erase(CELLS.filter(p => p >= CELLS.length / 2)));
  $("right").onclick = idle(() => erase(CELLS.filter(p => p % SIDE >= SIDE / 2)));
}
function open_weights() {
  const bytes = id => Uint8Array.from(atob($(id).textContent), letter => letter.charCodeAt(0));
  [model, decode] = [arpg(load(bytes("arpg-mnist"))), decoder(load(bytes("vq-mnist")))];
  lay_out();
  listen();
  ask_all();
  say("");
  document.documentElement.dataset.ready = "yes";
}
setTimeout(open_weights);
