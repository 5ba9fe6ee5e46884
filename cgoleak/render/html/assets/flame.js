// The flame view: callers above, callees below, as a tree of boxes that keys and screen readers walk.
// Of a difference, width is how much changed; colour, hatching and a sign say in which direction.

const ROW = 22;
const NARROWEST = 0.0012;
const SIGNED = DATA.signed === true;

// In a narrow box the path of a Go package hides the function.
const SIGN = 7.3;
const fitted = (name, language, room) => (language === "Go" && (name.length + 4) * SIGN > room ? name.replace(/^[^[(]*\//, "") : name);

const flame = {
  start() {
    if (!COUNT) return;
    this.view = $("flame-view");
    $("flame-metric").addEventListener("change", () => { state.write({ metric: this.metric() === "bytes" ? "" : this.metric() }); this.rebuild(); });
    $("flame-plumbing").addEventListener("change", () => this.rebuild());
    $("flame-find").addEventListener("input", later(() => this.draw()));
    $("flame-reset").addEventListener("click", () => this.zoom(this.root));
    this.view.addEventListener("click", (event) => { const node = this.nodeOf(event.target); if (node) { this.select(node, false); this.zoom(node); } });
    // A page that scrolls under a pointer at rest is no pointing.
    this.view.addEventListener("pointermove", (event) => { const node = this.nodeOf(event.target); if (node && (event.movementX || event.movementY)) this.tell(node); });
    this.view.addEventListener("focusin", (event) => { const node = this.nodeOf(event.target); if (node) { this.current = node; this.tell(node); } });
    this.view.addEventListener("keydown", (event) => this.key(event));
    addEventListener("resize", later(() => this.draw()));
    this.rebuild();
  },

  metric: () => $("flame-metric").value,
  nodeOf: (target) => target.closest(".box")?.node,

  // Frames are told apart by language and name; lines and addresses differ within one function.
  rebuild() {
    const values = SITES[this.metric()];
    const all = $("flame-plumbing").checked;
    const [langs, names] = DATA.frames;
    const isPlumbing = DATA.languages.map(([name]) => name === "bridge" || name === "runtime");
    this.root = { parent: null, frame: -1, value: 0, change: 0, children: new Map(), sites: [], depth: 0 };
    for (let site = 0; site < COUNT; site++) {
      const change = values[site];
      const value = SIGNED ? Math.abs(change) : Math.max(0, change);
      if (!value) continue;
      let node = this.root;
      node.value += value;
      node.change += change;
      const stack = SITES.stack[site];
      let last = -1;
      for (let place = stack.length - 1; place >= 0; place--) {
        const frame = stack[place];
        if (!all && isPlumbing[langs[frame]]) continue;
        const key = names[frame] * 8 + langs[frame];
        if (!all && key === last) continue;
        last = key;
        let child = node.children.get(key);
        if (!child) {
          child = { parent: node, frame, value: 0, change: 0, children: new Map(), sites: [], depth: node.depth + 1 };
          node.children.set(key, child);
        }
        node = child;
        node.value += value;
        node.change += change;
      }
      node.sites.push(site);
    }
    this.top = this.root;
    this.current = this.root;
    this.draw();
  },

  name(node) {
    return node === this.root ? T("all sites") : string(DATA.frames[1][node.frame]);
  },

  amount(value) {
    const metric = this.metric();
    return metric === "bytes" ? formatBytes(value) : metric === "blocks" ? T("{count} blocks", { count: formatCount(Math.round(value)) }) : formatRate(value);
  },

  told(node) {
    return SIGNED ? `${node.change > 0 ? "+" : ""}${this.amount(node.change)}` : this.amount(node.value);
  },

  // Not by colour alone: the sign stands before the name, and what shrank is hatched.
  direction: (node) => !SIGNED ? ["", ""] : node.change > 0 ? ["grown", "+ "] : node.change < 0 ? ["shrunk", "- "] : ["even", "± "],

  children: (node) => [...node.children.values()].sort((one, other) => other.value - one.value || one.frame - other.frame),

  draw() {
    if (!this.root) return;
    const words = $("flame-find").value.trim().toLowerCase();
    const hits = words ? DATA.strings.map((text) => text.toLowerCase().includes(words)) : null;
    const boxes = [];
    let deepest = 0;
    let found = 0;
    const total = this.top.value || 1;
    const isHit = (node) => node !== this.root && hits[DATA.frames[1][node.frame]];
    const place = (node, left, width, inHit) => {
      deepest = Math.max(deepest, node.depth);
      const hit = hits !== null && isHit(node);
      if (hit && !inHit) found += node.value;
      boxes.push(this.box(node, left, width, hits !== null && !hit, hit));
      let at = left;
      for (const child of this.children(node)) {
        const share = width * child.value / (node.value || 1);
        if (share >= NARROWEST) place(child, at, share, inHit || hit);
        else if (hits !== null && !inHit && !hit) found += this.hidden(child, isHit);
        at += share;
      }
    };
    const path = [];
    for (let node = this.top.parent; node; node = node.parent) path.unshift(node);
    for (const node of path) boxes.push(this.box(node, 0, 1, false, false, true));
    place(this.top, 0, 1, false);
    this.view.replaceChildren(...boxes);
    this.view.style.height = `${(deepest + 1) * ROW + 2}px`;
    $("flame-found").textContent = hits ? T("{size}, {share} of what is shown", { size: this.amount(found), share: formatShare(found / total) }) : "";
    $("flame-reset").disabled = this.top === this.root;
    if (!this.current.box?.isConnected) this.current = this.top;
    this.current.box.tabIndex = 0;
  },

  // What is too narrow to be drawn still counts as found.
  hidden(node, isHit) {
    if (isHit(node)) return node.value;
    let sum = 0;
    for (const child of node.children.values()) sum += this.hidden(child, isHit);
    return sum;
  },

  box(node, left, width, dim, hit, past = false) {
    const [lang, letter, language] = node === this.root ? ["unknown", "", ""] : DATA.languages[DATA.frames[0][node.frame]];
    const leaks = node.sites.some((site) => SITES.verdict[site] === "native-leak");
    const [direction, sign] = this.direction(node);
    const classes = ["box", node === this.root ? "root" : `lang-${lang}`, direction, leaks ? "leak" : "", dim ? "dim" : "", hit ? "hit" : "", past ? "past" : ""];
    const name = this.name(node);
    const made = element("div", {
      class: classes.filter(Boolean).join(" "), role: "treeitem", tabindex: "-1", "aria-level": node.depth + 1,
      "aria-label": `${name}${language ? `, ${language}` : ""}, ${this.told(node)}, ${formatShare(node.value / (this.root.value || 1))}`,
    });
    if (node.children.size) made.setAttribute("aria-expanded", "true");
    made.style.left = `${100 * left}%`;
    made.style.width = `${100 * width}%`;
    made.style.top = `${node.depth * ROW}px`;
    const room = width * this.view.clientWidth;
    if (room > 22) made.textContent = letter ? `${sign}${letter} ${fitted(name, language, room)}` : `${name} · ${this.told(node)}`;
    made.node = node;
    node.box = made;
    return made;
  },

  zoom(node) {
    this.top = node;
    if (this.current.depth < node.depth) this.current = node;
    this.draw();
    this.current.box.focus({ preventScroll: true });
    this.tell(node);
  },

  select(node, focus = true) {
    if (this.current.box) this.current.box.tabIndex = -1;
    this.current = node;
    node.box.tabIndex = 0;
    if (focus) node.box.focus();
  },

  tell(node) {
    const info = [element("b", {}, foreign(this.name(node))), " "];
    if (node !== this.root) {
      const { place, lang } = frameAt(node.frame);
      info.push(element("code", {}, foreign(place)), ` ${lang[2]} · `);
    }
    info.push(`${this.told(node)} · ${formatShare(node.value / (this.root.value || 1))}`);
    for (const site of node.sites.slice(0, 6)) {
      info.push(" · ", element("a", { href: `#site=${encodeURIComponent(siteKeys[site])}` }, `${DATA.verdicts[SITES.verdict[site]]} ${siteKeys[site]}`));
    }
    $("flame-info").replaceChildren(...info);
  },

  key(event) {
    const node = this.nodeOf(event.target);
    if (!node || event.ctrlKey || event.metaKey || event.altKey) return;
    const siblings = node.parent && node !== this.top ? this.children(node.parent).filter((one) => one.box?.isConnected) : [node];
    const at = siblings.indexOf(node);
    const drawn = this.children(node).filter((one) => one.box?.isConnected);
    const to = {
      ArrowDown: drawn[0], ArrowUp: node.parent, ArrowRight: siblings[at + 1], ArrowLeft: siblings[at - 1], Home: this.top,
    }[event.key];
    if (to) this.select(to);
    else if (event.key === "Enter" || event.key === " ") this.zoom(node);
    else if (event.key === "Escape") this.zoom(this.root);
    else if (!["ArrowDown", "ArrowUp", "ArrowRight", "ArrowLeft", "Home"].includes(event.key)) return;
    event.preventDefault();
  },

  showSite(site) {
    const find = (node) => {
      if (node.sites.includes(site)) return node;
      for (const child of node.children.values()) {
        const found = find(child);
        if (found) return found;
      }
      return null;
    };
    const node = find(this.root);
    $("flame").scrollIntoView({ block: "start" });
    if (!node) return;
    let top = node;
    while (top.parent && top.parent !== this.root && top.parent.children.size === 1) top = top.parent;
    this.zoom(top.parent ?? top);
    if (node.box?.isConnected) this.select(node);
    this.tell(node);
  },
};
