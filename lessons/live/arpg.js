"use strict";
/* ARPG and its tokenizer's decoder, from the weights that minigen ships. Functions bear minigen's names:
minigen/models/arpg.py and pyramid.py say why they are as they are. Arrays are flat: of a shape (n d),
feature k of row r is x[r * d + k]. They are stored in float32, as in NumPy, and summed in float64. */
const row = (x, r, d) => x.subarray(r * d, r * d + d);
const embed = (table, ids, d) => Float32Array.from(ids.flatMap(id => [...row(table, id, d)]));
const add = (a, b) => a + b, silu = v => v / (1 + Math.exp(-v));
const f16 = u => (1 - (u >> 14 & 2)) * (u & 1023 | (u & 31744 && 1024)) * 2 ** ((u >> 10 & 31 || 1) - 25);

function load(bytes) {                      // a safetensors file -> its configuration, its arrays by name
  const start = 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true)), w = {};
  const { __metadata__: about, ...entries } = JSON.parse(new TextDecoder().decode(bytes.slice(8, start)));
  for (const [name, { dtype, shape, data_offsets: ends }] of Object.entries(entries)) {
    const words = new Uint16Array(bytes.slice(start + ends[0], start + ends[1]).buffer);
    const whole = Uint32Array.from(words, u => u << 16); // bfloat16 is the upper half of float32
    w[name] = dtype === "BF16" ? new Float32Array(whole.buffer) : Float32Array.from(words, f16);
    w[name].rows = shape[0];
  }
  return { config: JSON.parse(about["minigen.config"]), w };
}

function linear(x, w, bias, residual) {     // (n d), (f d), (f)?, (n f)? -> (n f)
  const f = w.rows, d = w.length / f, n = x.length / d, y = new Float32Array(n * f), last = (n - 1) * d;
  for (let r = 0; r < n; r += 4) for (let k = 0; k < f; k += 2) { // eight independent sums at once
    let a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0, at = r * f + k;
    const r1 = Math.min(r * d + d, last), r2 = Math.min(r1 + d, last), r3 = Math.min(r2 + d, last);
    for (let i = 0, r0 = r * d, ka = k * d, kb = Math.min(k + 1, f - 1) * d; i < d; i++) {
      const a = w[ka + i], b = w[kb + i], x0 = x[r0 + i], x1 = x[r1 + i], x2 = x[r2 + i], x3 = x[r3 + i];
      a0 += a * x0; a1 += a * x1; a2 += a * x2; a3 += a * x3;
      b0 += b * x0; b1 += b * x1; b2 += b * x2; b3 += b * x3;
    }                                       // what would lie past the last row is not kept
    y[at] = a0; y[at + f] = a1; y[at + 2 * f] = a2; y[at + 3 * f] = a3;
    if (k + 1 < f) { y[++at] = b0; y[at + f] = b1; y[at + 2 * f] = b2; y[at + 3 * f] = b3; }
  }
  return bias || residual ? y.map((v, i) => v + (bias ? bias[i % f] : 0) + (residual ? residual[i] : 0)) : y;
}

function softmax(scores) {
  const most = Math.max(...scores), p = scores.map(s => Math.exp(s - most)), sum = p.reduce(add);
  return p.map(v => v / sum);
}

function attention(q, k, v, length, d, heads, causal) { // (m d), (n d), (n d) -> (m d): of `length` keys
  const m = q.length / d, e = d / heads, y = new Float32Array(q.length);
  for (let r = 0; r < m; r++) for (let h = 0; h < d; h += e) { // row r of the queries, in a head from h on
    const p = new Float64Array(causal ? length - m + r + 1 : length);
    for (let j = 0; j < p.length; j++) for (let i = h; i < h + e; i++) p[j] += q[r * d + i] * k[j * d + i];
    const part = softmax(p.map(score => score / Math.sqrt(e)));
    for (let j = 0; j < p.length; j++) for (let i = h; i < h + e; i++) y[r * d + i] += part[j] * v[j * d + i];
  }
  return y;
}

function arpg({ config: c, w }) {           // -> the generator; position -1 is that of the class
  const d = c.width, e = d / c.heads, layers = c.layers >> 1, side = Math.sqrt(c.tokens);
  const rope2d = (x, positions) => x.map((v, i) => { // (n d), (n) -> (n d): turns pairs of neighbours
    const p = positions[i / d | 0], k = i % e >> 1, at = k < e / 4 ? Math.floor(p / side) : p % side;
    const angle = at / c.rope_base ** (4 * (k % (e / 4)) / e), cos = Math.cos(angle), sin = Math.sin(angle);
    return p < 0 ? 0 : i % 2 ? v * cos + x[i - 1] * sin : v * cos - x[i + 1] * sin;
  });
  function rms_norm(x, name) {              // (n d) -> (n d)
    const mean = new Float64Array(x.length / d);
    x.forEach((v, i) => { mean[i / d | 0] += v * v / d; });
    return x.map((v, i) => w[name][i % d] * v / Math.sqrt(mean[i / d | 0] + c.norm_eps));
  }
  function append({ k, v }, a, at, positions, length) { // keys and values behind those of a cache
    k.set(rope2d(linear(a, w[at + "to_k"]), positions), length * d);
    v.set(linear(a, w[at + "to_v"]), length * d);
  }
  function layer(x, at, positions, kv, length, causal) { // attention, then the feed-forward network
    let a = rms_norm(x, at + "attn_norm");
    if (w[at + "to_k"]) append(kv, a, at, positions, length - positions.length); // in the self-decoder
    const q = rope2d(linear(a, w[at + "to_q"]), positions);
    x = linear(attention(q, kv.k, kv.v, length, d, c.heads, causal), w[at + "proj"], null, x);
    a = rms_norm(x, at + "ffn_norm");
    const up = linear(a, w[at + "up"]), h = linear(a, w[at + "gate"]).map((g, i) => silu(g) * up[i]);
    return linear(h, w[at + "down"], null, x);
  }
  function read(cache, positions, ids, causal) { // the self-decoder
    let x = embed(w.embeddings, ids, d), length = cache.length + ids.length;
    for (let i = 0; i < layers; i++) x = layer(x, `self.${i}.`, positions, cache[i], length, causal);
    append(cache[layers], rms_norm(x, "norm"), "", positions, cache.length); // for the whole cross-decoder
    return Object.assign(cache, { length });
  }
  return {
    begin: label => [label, -1].map(n => {  // two caches, with the class (-1: none) and without
      const cache = { length: 0 }, room = () => new Float32Array(d + c.tokens * d);
      for (let i = 0; i <= layers; i++) cache[i] = { k: room(), v: room() };
      return read(cache, [-1], [c.vocabulary + 1 + (n < 0 ? c.classes : n)]);
    }),
    feed: (caches, positions, tokens, causal) => caches.map(cache => read(cache, positions, tokens, causal)),
    ask: (caches, positions) => caches.map(cache => { // the cross-decoder: two arrays of logits (m v)
      let x = embed(w.embeddings, positions.map(() => c.vocabulary), d); // the mask vector for every query
      for (let i = 0; i < layers; i++) x = layer(x, `cross.${i}.`, positions, cache[layers], cache.length);
      return linear(rms_norm(x, "out_norm"), w.head);
    }),
  };
}

function philox(seed, ...counter) {         // four numbers below 2 ** 32 -> four BigInts below 2 ** 32
  let [a, b, c, d] = counter.map(BigInt), k = BigInt(seed) & 0xffffffffn, l = BigInt(seed) >> 32n;
  for (let round = 0; round < 10; round++)
    [a, b, c, d, k, l] = [c * 0xcd9e8d57n >> 32n ^ b ^ k, c * 0xcd9e8d57n, a * 0xd2511f53n >> 32n ^ d ^ l,
      a * 0xd2511f53n, k + 0x9e3779b9n, l + 0xbb67ae85n].map(word => word & 0xffffffffn);
  return [a, b, c, d];
}

// a uniform number is a function of seed, step and position (of image 0), and of nothing else
const uniform = (seed, step, position) =>
  Math.min(Math.fround(Number(philox(seed, 0, step, position, 0)[0] >> 8n) + 0.5), 2 ** 24 - 1) / 2 ** 24;
// what is drawn is the first token at which the running sum exceeds u of the whole
const draw = (p, u, sum = 0) => p.findIndex(share => (sum += share) > u * p.reduce(add));

function step(model, caches, positions, index, { seed, guidance, temperature }) { // ask, guide, draw
  const [c, u] = model.ask(caches, positions), cold = Math.max(temperature, 1e-5);
  const z = Float64Array.from(c, (logit, i) => (u[i] + (logit - u[i]) * guidance) / cold);
  const probabilities = positions.map((_, r) => softmax(row(z, r, z.length / positions.length)));
  const tokens = probabilities.map((p, r) => draw(p, uniform(seed, index, positions[r])));
  return { positions, tokens, probabilities };
}

function decoder({ config: c, w }) {        // -> a function of tokens (y x) that returns bytes (Y X 3)
  const weights = at => [w[at + ".w"], w[at + ".bias"]], swish = (x, at) => group_norm(x, at).map(silu);
  function group_norm(x, at) {              // (n c) -> (n c): 32 groups of channels
    const [scale, shift] = weights(at), c = scale.length, n = x.length / 32, group = i => i % c * 32 / c | 0;
    const mean = new Float64Array(32), squares = new Float64Array(32);
    x.forEach((v, i) => { mean[group(i)] += v / n; squares[group(i)] += v * v / n; });
    const deviation = squares.map((s, g) => Math.sqrt(s - mean[g] ** 2 + 1e-6));
    return x.map((v, i) => (v - mean[group(i)]) / deviation[group(i)] * scale[i % c] + shift[i % c]);
  }
  function conv3x3(x, side, at, residual, up = 0) { // (y x c) -> (y x f): linear in 3 x 3 pixels; up: 2 x
    const c = x.length / (side >> up) ** 2, around = new Float32Array(9 * side ** 2 * c);
    for (let i = 0; i < 9 * side ** 2; i++) { // neighbour i % 9 of pixel floor(i / 9)
      const yy = (i / 9 / side | 0) + (i % 9 / 3 | 0) - 1, xx = (i / 9 | 0) % side + i % 3 - 1;
      if (Math.min(yy, xx) < 0 || Math.max(yy, xx) >= side) continue; // zeros around the image
      around.set(row(x, (yy >> up) * (side >> up) + (xx >> up), c), i * c);
    }
    return linear(around, ...weights(at), residual);
  }
  function residual(x, side, at) {
    const h = conv3x3(swish(x, at + ".norm1"), side, at + ".conv1");
    if (w[at + ".shortcut.w"]) x = linear(x, ...weights(at + ".shortcut"));
    return conv3x3(swish(h, at + ".norm2"), side, at + ".conv2", x);
  }
  function attend(x, at) {                  // one head over all pixels, at the deepest level only
    if (!w[at + ".q.w"]) return x;
    const a = group_norm(x, at + ".norm"), d = w[at + ".q.w"].rows;
    const [q, k, v] = ["q", "k", "v"].map(name => linear(a, ...weights(`${at}.${name}`)));
    return linear(attention(q, k, v, x.length / d, d, 1), ...weights(at + ".proj"), x);
  }
  const d = c.code_size, unit = w.codebook.map((v, i) => v / Math.hypot(...row(w.codebook, i / d | 0, d)));
  return tokens => {
    let side = Math.sqrt(tokens.length), x = linear(embed(unit, tokens, d), ...weights("post_quant_conv"));
    x = residual(conv3x3(x, side, "decoder.conv_in"), side, "decoder.mid.0");
    x = residual(attend(x, "decoder.mid.1"), side, "decoder.mid.2");
    for (let i = 0; i < c.multipliers.length; i++) {
      const at = `decoder.levels.${i}.`;
      for (let j = 0; j < 3; j++) x = attend(residual(x, side, `${at}res.${j}`), `${at}attn.${j}`);
      if (w[at + "up.w"]) x = conv3x3(x, side *= 2, at + "up", null, 1);
    }
    x = conv3x3(swish(x, "decoder.norm_out"), side, "decoder.conv_out");
    return x.map(v => Math.floor(Math.max(0, Math.min(255, 127.5 * v + 128))));
  };
}
