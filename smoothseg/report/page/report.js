"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const root = document.documentElement;
  root.classList.add("js");

  const made = (tag, properties = {}, ...children) => {
    const node = Object.assign(document.createElement(tag), properties);
    node.append(...children);
    return node;
  };
  const percent = (share) => (100 * share).toFixed(1) + "%";
  // Three significant figures, never above the value.
  const figures = (value) => {
    let shown = Number(value.toPrecision(3));
    if (shown > value) {
      const step = 10 ** (Math.floor(Math.log10(value)) - 2);
      for (let n = Math.floor(value / step); shown > value; n -= 1) shown = Number((n * step).toPrecision(3));
    }
    return String(shown);
  };
  // A radius in 8-bit levels, never above 255 times the radius: near - 256 r + r is exactly how much it was rounded up.
  const levels = (radius) => {
    const near = 256 * radius - radius;
    return near - 256 * radius + radius > 0 ? near * (1 - 2 ** -53) : near;
  };

  // Colours: as the system has them, light, dark.

  const themes = ["auto", "light", "dark"];
  const names = { auto: "as the system has them", light: "light", dark: "dark" };
  const stored = () => { try { return localStorage.getItem("smoothseg-theme"); } catch { return null; } };
  let theme = themes.includes(stored()) ? stored() : "auto";
  const paint = () => {
    if (theme === "auto") delete root.dataset.theme; else root.dataset.theme = theme;
    at("theme").setAttribute("aria-label", `Colours: ${names[theme]}`);
    at("theme").querySelector("span").textContent = theme[0].toUpperCase() + theme.slice(1);
  };
  at("theme").hidden = false;
  at("theme").addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    try { localStorage.setItem("smoothseg-theme", theme); } catch { /* not kept, then */ }
    paint();
  });
  paint();

  // By class: one method at a time.

  const tables = [...document.querySelectorAll(".by-class")];
  const choose = (which) => tables.forEach((table) => { table.hidden = table.dataset.method !== which; });
  document.querySelectorAll("[name=class-method]").forEach((radio) => {
    radio.addEventListener("change", () => choose(radio.value));
    if (radio.checked) choose(radio.value);
  });

  // Images.

  if (!at("data")) return;
  const data = JSON.parse(at("data").textContent);
  const ABSTAINED = [255, 255, 255], IGNORED = [0, 0, 0], NO_RADIUS = 65535;
  const state = {
    image: 0, method: data.methods.length - 1, sigma: 0, left: "image", right: "certified", cut: 50, only: null, cross: null,
  };

  const inflated = async (text) => {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream).arrayBuffer();
  };
  const numbers = async (text) => {
    const buffer = await inflated(text.slice(2));
    return text[0] === "1" ? new Uint8Array(buffer) : new Uint16Array(buffer);
  };
  const bits = async (text, count) => {
    const packed = new Uint8Array(await inflated(text));
    return Uint8Array.from({ length: count }, (_, i) => (packed[i >> 3] >> (7 - (i & 7))) & 1);
  };
  const kept = new Map();
  const once = (name, make) => {
    if (!kept.has(name)) {
      if (kept.size > 60) kept.delete(kept.keys().next().value);
      kept.set(name, make());
    }
    return kept.get(name);
  };
  const photo = (source) => new Promise((done, failed) => {
    const picture = new Image();
    picture.onload = () => done(picture);
    picture.onerror = () => failed(new Error("a picture cannot be shown"));
    picture.src = source;
  });

  /** Everything of the chosen image, method and sigma, unpacked. */
  const unpacked = async () => {
    const image = data.images[state.image];
    const view = image.views[state.method][state.sigma];
    const count = image.shown[0] * image.shown[1];
    const here = `${state.image}/${state.method}/${state.sigma}/`;
    const get = (name, text) => text ? once(name, () => numbers(text)) : null;
    const [labels, clean, prediction, hits, radii, certified] = await Promise.all([
      get(`${state.image}/labels`, image.labels),
      get(`${state.image}/${state.method}/clean`, image.clean[state.method]),
      get(here + "prediction", view && view.prediction),
      get(here + "hits", view && view.hits),
      get(here + "radii", view && view.radii),
      view ? once(here + "certified", () => bits(view.certified, count)) : null,
    ]);
    return { image, view, labels, clean, prediction, hits, radii, certified };
  };

  const radiusAt = (all, i) => {
    if (!all.certified[i]) return null;
    if (!all.radii) return all.view.radius;
    return all.radii[i] === NO_RADIUS ? null : all.radii[i] / (NO_RADIUS - 1) * all.view.reaches;
  };

  // A sequential scale that grows lighter: dark blue, teal, green, yellow.
  const stops = [[38, 32, 84], [47, 89, 130], [38, 134, 133], [98, 183, 106], [236, 220, 80]];
  const ramp = (share) => {
    const place = Math.min(1, Math.max(0, share)) * (stops.length - 1), low = Math.min(stops.length - 2, Math.floor(place));
    return stops[low].map((c, k) => Math.round(c + (stops[low + 1][k] - c) * (place - low)));
  };

  const layers = {
    image: { name: "input", photo: (all) => all.image.image },
    noisy: { name: "noisy", photo: (all) => all.image.noisy[state.sigma], sharp: true },
    denoised: { name: "denoised", photo: (all) => all.view && all.view.denoised },
    labels: { name: "ground truth", map: (all) => all.labels, colour: (all, i) => all.labels[i] === data.ignore ? IGNORED : labelled(all.labels[i]) },
    clean: { name: "clean prediction", map: (all) => all.clean, colour: (all, i) => labelled(all.clean[i]) },
    certified: {
      name: "certified", map: (all) => all.prediction,
      colour: (all, i) => all.certified[i] ? labelled(all.prediction[i]) : ABSTAINED,
    },
    radius: {
      name: "radius map", map: (all) => all.prediction, scale: () => ["radius", data.furthest],
      colour: (all, i) => {
        const radius = radiusAt(all, i);
        return radius === null ? ABSTAINED : ramp(radius / data.furthest);
      },
    },
    hits: {
      name: "hits", map: (all) => all.hits, scale: (all) => ["hits", all.view.trials],
      colour: (all, i) => ramp(all.hits[i] / all.view.trials),
    },
  };
  const classes = () => data.methods[state.method].classes;
  const labelled = (label) => {
    const known = classes()[label];
    const colour = known ? known[1] : IGNORED;
    if (state.only === null || state.only === label) return colour;
    const grey = 0.3 * colour[0] + 0.59 * colour[1] + 0.11 * colour[2];
    return [0, 1, 2].map(() => Math.round(40 + grey * 0.25));
  };
  const available = (all) => Object.keys(layers).filter((id) => (layers[id].photo || layers[id].map)(all));

  const draw = async (canvas, id, all) => {
    const layer = layers[id];
    const [height, width] = all.image.shown;
    const context = canvas.getContext("2d");
    canvas.classList.toggle("sharp", !layer.photo || Boolean(layer.sharp) || Math.max(height, width) < 100);
    if (layer.photo) {
      const source = layer.photo(all);
      const picture = await photo(source);
      canvas.width = picture.naturalWidth;
      canvas.height = picture.naturalHeight;
      context.drawImage(picture, 0, 0);
      return;
    }
    canvas.width = width;
    canvas.height = height;
    const pixels = context.createImageData(width, height);
    for (let i = 0; i < width * height; i++) {
      const colour = layer.colour(all, i);
      pixels.data.set([colour[0], colour[1], colour[2], 255], 4 * i);
    }
    context.putImageData(pixels, 0, 0);
  };

  let shown = null, turn = 0;
  /** Draw what the state says; a call that was overtaken by a later one draws nothing. */
  const show = async () => {
    const mine = ++turn;
    const all = await unpacked();
    if (mine !== turn) return;
    const there = available(all);
    for (const [side, other] of [["left", "image"], ["right", "certified"]]) {
      if (!there.includes(state[side])) state[side] = there.includes(other) ? other : there[0];
      at(side).replaceChildren(...there.map((id) => made("option", { value: id, textContent: layers[id].name, selected: id === state[side] })));
      at(`${side}-tag`).textContent = layers[state[side]].name;
    }
    const [height, width] = all.image.shown;
    at("stage").style.aspectRatio = `${width} / ${height}`;
    at("stage").style.maxWidth = `min(78vh * ${width / height}, ${Math.max(520, 4 * width)}px)`;
    await Promise.all([draw(at("under"), state.right, all), draw(at("over"), state.left, all)]);
    if (mine !== turn) return;
    shown = all;
    cut();
    at("key").textContent = all.image.key;
    listed(all);
    const scale = [state.right, state.left].map((id) => layers[id].scale).find(Boolean);
    at("scale").hidden = !scale;
    if (scale) {
      const [name, end] = scale(all);
      at("scale-name").textContent = name;
      at("scale-end").textContent = name === "radius" ? `${figures(end)} (${figures(levels(end))} levels)` : String(end);
      at("scale").querySelector("i").style.background = `linear-gradient(to right, ${stops.map((c) => `rgb(${c})`).join(", ")})`;
    }
    read(state.cross);
    at("stage").dataset.ready = String(mine);
  };

  const cut = () => {
    at("over").style.clipPath = `inset(0 ${100 - state.cut}% 0 0)`;
    at("divider").style.left = `${state.cut}%`;
    at("slider").value = state.cut;
    at("slider").setAttribute("aria-valuetext", `${Math.round(state.cut)}% ${layers[state.left].name}, the rest ${layers[state.right].name}`);
  };

  // The legend holds the classes that occur in the image.

  const listed = (all) => {
    const seen = new Set();
    let held = false, ignored = false;
    for (let i = 0; i < all.image.shown[0] * all.image.shown[1]; i++) {
      if (all.labels) { if (all.labels[i] === data.ignore) ignored = true; else seen.add(all.labels[i]); }
      if (all.certified) { if (all.certified[i]) seen.add(all.prediction[i]); else held = true; }
    }
    const items = [...seen].sort((a, b) => a - b).filter((c) => classes()[c]).map((c) => {
      const [name, colour] = classes()[c];
      const swatch = made("span", { className: "swatch" });
      swatch.style.background = `rgb(${colour})`;
      const button = made("button", { type: "button", title: "Show this class alone" }, swatch, name);
      button.dataset.label = c;
      button.setAttribute("aria-pressed", String(state.only === c));
      button.addEventListener("click", () => { state.only = state.only === c ? null : c; show().then(() => focused(c)); });
      return made("li", {}, button);
    });
    const plain = (kind, text) => made("li", { className: "plain" }, made("span", { className: `swatch ${kind}` }), text);
    if (held) items.push(plain("held", "abstained"));
    if (ignored) items.push(plain("void", "ignored"));
    at("legend").replaceChildren(...items);
  };
  const focused = (label) => {
    const button = at("legend").querySelector(`[data-label="${label}"]`);
    if (button) button.focus();
  };

  // What a pixel is: under the pointer, or under the cross that the arrow keys move.

  const nameOf = (label) => classes()[label] ? classes()[label][0] : "ignored";
  // A class is a name and a colour; a group of classes also has their labels.
  const holds = (found, label) => found === label || Boolean(classes()[found] && classes()[found][2] && classes()[found][2].includes(label));
  const bold = (text) => made("b", { textContent: text });
  const read = (place) => {
    const out = at("readout");
    at("cross").hidden = !place;
    if (!place || !shown) {
      out.replaceChildren(summary());
      return;
    }
    const { image, view, labels, clean, prediction, hits, certified } = shown;
    const [height, width] = image.shown;
    const column = Math.min(width - 1, Math.max(0, place[0])), row = Math.min(height - 1, Math.max(0, place[1]));
    const i = row * width + column;
    at("cross").style.left = `${100 * (column + 0.5) / width}%`;
    at("cross").style.top = `${100 * (row + 0.5) / height}%`;
    const full = [Math.floor((2 * row + 1) * image.size[0] / (2 * height)), Math.floor((2 * column + 1) * image.size[1] / (2 * width))];
    const parts = [`row ${full[0]}, column ${full[1]}: `];
    if (view) {
      const radius = radiusAt(shown, i);
      parts.push(bold(certified[i] ? `certified ${nameOf(prediction[i])}` : "abstained"));
      parts.push(certified[i] ? "" : `, most votes for ${nameOf(prediction[i])}`);
      parts.push(`, ${hits[i]} of ${view.trials} hits`);
      if (radius !== null) parts.push(`, radius ${figures(radius)} (${figures(levels(radius))} levels)`);
    }
    if (labels) {
      const right = view && certified[i] && labels[i] !== data.ignore ? (holds(prediction[i], labels[i]) ? " (correct)" : " (wrong)") : "";
      parts.push("; label ", bold(labels[i] === data.ignore ? "ignored" : nameOf(labels[i])), right);
    }
    if (clean) parts.push(`; clean prediction ${nameOf(clean[i])}`);
    out.replaceChildren(...parts);
  };
  const summary = () => {
    if (!shown || !shown.view) return "Nothing is certified yet with this method and σ.";
    const { view } = shown;
    const parts = view.correct === null ? [] : [
      `${percent(view.correct)} certified correct, ${percent(view.wrong)} certified wrong, ${percent(view.held_back)} abstained (of labelled pixels). `,
    ];
    if (view.correct === null) parts.push(`${percent(view.abstained)} of the pixels abstain. `);
    parts.push(view.radius === null ? "" : `Radius ${figures(view.radius)} (${figures(levels(view.radius))} levels). `);
    return parts.join("") + "Point at a pixel, or focus the image and use the arrow keys.";
  };

  const stage = at("stage");
  const share = (event) => {
    const box = stage.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  let dragging = false;
  stage.addEventListener("pointerdown", (event) => {
    dragging = true;
    stage.setPointerCapture(event.pointerId);
    state.cut = Math.min(100, Math.max(0, 100 * share(event)[0]));
    cut();
  });
  stage.addEventListener("pointermove", (event) => {
    if (!shown) return;
    const [x, y] = share(event);
    if (dragging) {
      state.cut = Math.min(100, Math.max(0, 100 * x));
      cut();
      return;
    }
    at("readout").setAttribute("aria-live", "off");
    read([Math.floor(x * shown.image.shown[1]), Math.floor(y * shown.image.shown[0])]);
    at("cross").hidden = !state.cross;
  });
  for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, () => { dragging = false; });
  stage.addEventListener("pointerleave", () => read(state.cross));
  stage.addEventListener("keydown", (event) => {
    if (!shown) return;
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.key === "Escape") {
      state.cross = null;
    } else if (moves[event.key]) {
      event.preventDefault();
      const [height, width] = shown.image.shown;
      const step = event.shiftKey ? Math.max(1, Math.round(width / 20)) : 1;
      const [x, y] = state.cross || [Math.floor(width / 2), Math.floor(height / 2)];
      const moved = state.cross ? moves[event.key] : [0, 0];
      state.cross = [
        Math.min(width - 1, Math.max(0, x + step * moved[0])),
        Math.min(height - 1, Math.max(0, y + step * moved[1])),
      ];
    } else {
      return;
    }
    at("readout").setAttribute("aria-live", "polite");
    read(state.cross);
  });
  at("slider").addEventListener("input", () => { state.cut = Number(at("slider").value); cut(); });
  for (const side of ["left", "right"]) {
    at(side).addEventListener("change", () => { state[side] = at(side).value; show(); });
  }

  // Which image, method and sigma.

  const radios = (id, texts, chosen, change) => {
    at(id).hidden = texts.length < 2;
    texts.forEach((text, i) => {
      const radio = made("input", { type: "radio", name: id, value: i, checked: i === chosen });
      radio.addEventListener("change", () => { change(i); order(); show(); });
      at(id).append(made("label", {}, radio, made("span", { textContent: text })));
    });
  };
  radios("methods", data.methods.map((method) => method.name), state.method, (i) => { state.method = i; state.only = null; });
  radios("sigmas", data.sigmas.map((sigma) => `${sigma}`), state.sigma, (i) => { state.sigma = i; });

  const viewOf = (image) => image.views[state.method][state.sigma];
  const score = (image, name, missing) => { const view = viewOf(image); return view && view[name] !== null ? view[name] : missing; };
  const sorts = {
    worst: ["worst accuracy", (a, b) => score(a, "correct", 2) - score(b, "correct", 2)],
    best: ["best accuracy", (a, b) => score(b, "correct", -1) - score(a, "correct", -1)],
    wrong: ["most certified wrong", (a, b) => score(b, "wrong", -1) - score(a, "wrong", -1)],
    abstained: ["most abstained", (a, b) => score(b, "abstained", -1) - score(a, "abstained", -1)],
    run: ["order of the run", () => 0],
  };
  const withLabels = data.images.some((image) => image.labels !== null);
  const offered = Object.keys(sorts).filter((id) => withLabels || id === "abstained" || id === "run");
  at("sort").append(...offered.map((id) => made("option", { value: id, textContent: sorts[id][0] })));
  at("sort").addEventListener("change", () => order());

  let sequence = data.images.map((_, i) => i);
  const thumbs = data.images.map((image, i) => {
    const bar = made("span", { className: "bar" }), text = made("span");
    bar.setAttribute("aria-hidden", "true");
    const picture = image.image ? made("img", { className: "photo", src: image.image, alt: "", loading: "lazy" }) : made("span", { className: "photo" });
    const button = made("button", { type: "button" }, picture, bar, made("small", {}, made("b", { textContent: image.key, title: image.key }), text));
    button.addEventListener("click", () => { go(i); at("viewer").scrollIntoView({ block: "nearest" }); });
    return { item: made("li", {}, button), button, bar, text };
  });
  const order = () => {
    const compare = sorts[at("sort").value][1];
    sequence = data.images.map((_, i) => i).sort((a, b) => compare(data.images[a], data.images[b]) || a - b);
    at("thumbs").replaceChildren(...sequence.map((i) => thumbs[i].item));
    data.images.forEach((image, i) => {
      const view = viewOf(image), { bar, text, button } = thumbs[i];
      bar.replaceChildren();
      text.textContent = "–";
      if (view) {
        const shares = view.correct === null
          ? [["correct", 1 - view.abstained], ["abstained", view.abstained]]
          : [["correct", view.correct], ["wrong", view.wrong], ["abstained", view.held_back]];
        for (const [kind, width] of shares) {
          const part = made("i", { className: kind });
          part.style.width = `${100 * width}%`;
          bar.append(part);
        }
        text.textContent = view.correct === null ? `${percent(view.abstained)} abst` : percent(view.correct);
        button.setAttribute("aria-label", view.correct === null
          ? `${image.key}: ${percent(view.abstained)} abstained`
          : `${image.key}: ${percent(view.correct)} certified correct, ${percent(view.wrong)} certified wrong, ${percent(view.held_back)} abstained`);
      } else {
        button.setAttribute("aria-label", `${image.key}: nothing yet`);
      }
    });
    marked();
  };
  const marked = () => thumbs.forEach(({ button }, i) => button.setAttribute("aria-current", String(i === state.image)));
  const go = (i) => { state.image = i; state.cross = null; state.only = null; marked(); show(); };
  const step = (by) => go(sequence[(sequence.indexOf(state.image) + by + sequence.length) % sequence.length]);
  at("previous").addEventListener("click", () => step(-1));
  at("next").addEventListener("click", () => step(1));
  if (data.images.length < 2) for (const id of ["previous", "next"]) at(id).hidden = true;

  at("viewer").hidden = false;
  order();
  go(sequence[0]);
})();
