// The list of sites: those that the page came with, and all others made when they are asked for.

const sites = {
  made: new Map(),
  order: [],
  shown: 0,

  start() {
    if (!COUNT) return;
    this.list = $("site-list");
    for (const node of this.list.children) {
      const site = siteOf.get(node.dataset.site);
      if (site !== undefined) {
        this.made.set(site, node);
        this.equip(node, site);
      }
    }
    this.first = Math.max(50, this.made.size);
    $("find").addEventListener("input", later(() => this.choose()));
    for (const id of ["pick-verdict", "pick-language", "order"]) $(id).addEventListener("change", () => this.choose());
    $("more").addEventListener("click", () => this.show(this.shown + 200));
    this.choose();
  },

  choose() {
    const words = $("find").value.trim().toLowerCase();
    const verdict = $("pick-verdict").value;
    const language = $("pick-language").value;
    const matching = words ? DATA.strings.map((text) => text.toLowerCase().includes(words)) : null;
    const frames = matching && DATA.frames[1].map((name, place) => matching[name] || matching[DATA.frames[2][place]]);
    this.order = [];
    let bytes = 0;
    for (let site = 0; site < COUNT; site++) {
      if (verdict && SITES.verdict[site] !== verdict) continue;
      const stack = SITES.stack[site];
      if (matching && !matching[SITES.key[site]] && !matching[SITES.name[site]] && !stack.some((place) => frames[place])) continue;
      if (language && !stack.some((place) => DATA.languages[DATA.frames[0][place]][2] === language)) continue;
      this.order.push(site);
      bytes += SITES.bytes[site];
    }
    const by = $("order").value;
    if (by !== "worst") this.order.sort((one, other) => SITES[by][other] - SITES[by][one]);
    $("found").textContent = T("{count} of {all}, {size}", {
      count: formatCount(this.order.length), all: formatCount(COUNT), size: formatBytes(bytes),
    });
    this.show(this.first);
  },

  show(count) {
    this.shown = Math.min(count, this.order.length);
    this.list.replaceChildren(...this.order.slice(0, this.shown).map((site) => this.node(site)));
    const left = this.order.length - this.shown;
    $("more").hidden = !left;
    $("more").textContent = T("Show {count} more", { count: formatCount(Math.min(200, left)) });
  },

  node(site) {
    let node = this.made.get(site);
    if (!node) {
      node = makeSite(site);
      this.made.set(site, node);
      this.equip(node, site);
    }
    return node;
  },

  // What only works with scripts: copying, other stacks, the way to the flame view.
  equip(node, site) {
    node.addEventListener("toggle", () => {
      if (!node.open) return;
      if (!node.querySelector(".body")) node.append(makeBody(site));
      if (!node.dataset.equipped) addButtons(node, site);
    });
    if (node.open && !node.dataset.equipped) addButtons(node, site);
  },

  reveal(key, focus = true) {
    const site = siteOf.get(key);
    if (site === undefined) return false;
    if (!this.order.includes(site)) {
      for (const id of ["find", "pick-verdict", "pick-language"]) $(id).value = "";
      this.choose();
    }
    const place = this.order.indexOf(site);
    if (place >= this.shown) this.show(place + 1);
    const node = this.node(site);
    for (const other of this.list.querySelectorAll(".target")) other.classList.remove("target");
    node.classList.add("target");
    node.open = true;
    node.scrollIntoView({ block: "start" });
    if (focus) node.querySelector("summary").focus({ preventScroll: true });
    return true;
  },
};

function makeSite(site) {
  const key = siteKeys[site];
  const verdict = SITES.verdict[site];
  const labelled = (name, label, text, more = null) => element("span", { class: `num ${name}` }, element("span", { class: "sr" }, `${label} `), text, more);
  const range = (ends) => ends && element("small", { class: "range" }, T("{low} to {high}", { low: formatBytes(ends[0]), high: formatBytes(ends[1]) }));
  const blocks = element("span", { class: "num blocks" }, formatCount(SITES.blocks[site]), element("span", { class: "unit" }, ` ${T("blocks")}`));
  const trend = element("span", { class: "trend" });
  const values = SITES.history[site];
  if (values.length > 1) {
    const top = Math.max(1, ...values);
    const points = values.map((value, place) => `${(place * 100 / (values.length - 1)).toFixed(1)} ${(23 - 22 * Math.max(0, value) / top).toFixed(1)}`);
    const drawing = svg("svg", { viewBox: "0 0 100 24", preserveAspectRatio: "none", width: 80, height: 20, "aria-hidden": "true" });
    drawing.append(svg("path", { d: `M${points.join("L")}` }));
    trend.append(drawing);
  }
  const summary = element("summary", {},
    element("span", { class: "verdict" }, DATA.verdicts[verdict]),
    labelled("size", T("outstanding"), formatBytes(SITES.bytes[site]), range(SITES.range[site])),
    blocks,
    labelled("growth", T("growth"), formatRate(SITES.growth[site])),
    labelled("oldest", T("oldest"), formatSeconds(SITES.oldest[site])),
    trend,
    element("span", { class: "name" }, foreign(string(SITES.name[site]))),
  );
  return element("details", { class: `site verdict-${verdict}`, id: `site=${key}`, "data-site": key }, summary);
}

function makeStack(lines) {
  const rows = lines.map(({ lang: [name, letter, title], name: text, place }) =>
    element("li", { class: `lang-${name}` }, element("abbr", { title }, letter), element("code", {}, foreign(text)), element("span", { class: "place" }, foreign(place))));
  return element("ol", { class: "frames", "aria-label": T("Stack, the allocating function first") }, ...rows);
}

function makeBody(site) {
  const key = siteKeys[site];
  const why = SITES.evidence[site].map((place) => element("li", {}, sentence(string(place))));
  const advice = string(SITES.advice[site]);
  const mute = string(SITES.mute[site]);
  return element("div", { class: "body" },
    makeStack(stackLines(SITES.stack[site])),
    element("div", { class: "why" }, element("h3", {}, T("Why")), element("ul", {}, ...why)),
    advice ? element("div", { class: "do" }, element("h3", {}, T("What to do")), element("p", {}, sentence(advice))) : null,
    element("p", { class: "site-foot" },
      mute ? element("span", {}, `${T("Suppression")} `, element("code", { class: "mute" }, mute)) : null,
      element("span", {}, `${T("Site")} `, element("a", { href: `#site=${encodeURIComponent(key)}` }, key))),
  );
}

function addButtons(node, site) {
  node.dataset.equipped = "yes";
  const foot = node.querySelector(".site-foot");
  const button = (text, work) => {
    const made = element("button", { type: "button" }, text);
    made.addEventListener("click", () => work(made));
    return made;
  };
  const mute = string(SITES.mute[site]);
  if (mute) foot.firstElementChild.append(" ", button(T("Copy suppression"), (made) => copy(mute, made)));
  foot.append(
    button(T("Copy as text"), (made) => copy(siteText(site), made)),
    button(T("All frames"), (made) => {
      const full = made.getAttribute("aria-pressed") !== "true";
      made.setAttribute("aria-pressed", String(full));
      const lines = full
        ? SITES.stack[site].map(frameAt).map((one) => ({ ...one, name: noted(one) }))
        : stackLines(SITES.stack[site]);
      node.querySelector(".frames").replaceWith(makeStack(lines));
    }),
    button(T("Show in flame view"), () => flame.showSite(site)),
  );
}

function siteText(site) {
  const lines = stackLines(SITES.stack[site]).map(({ lang, name, place }) => `  ${lang[1]}  ${name}${place ? `  ${place}` : ""}`);
  const why = SITES.evidence[site].map((place) => `  - ${string(place)}`);
  const head = `${DATA.verdicts[SITES.verdict[site]]}  ${formatBytes(SITES.bytes[site])} / ${formatCount(SITES.blocks[site])}  ${formatRate(SITES.growth[site])}  ${siteKeys[site]}`;
  return [head, ...lines, ...why, string(SITES.advice[site])].filter(Boolean).join("\n");
}
