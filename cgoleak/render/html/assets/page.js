// The data block, and small ways to make elements. Foreign text goes in as text, never as HTML.

const DATA = JSON.parse(document.getElementById("report-data").textContent);

function T(english, values = {}) {
  const text = DATA.words[english] ?? english;
  return text.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
}

const $ = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

function svg(name, attributes = {}) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// A name from outside, kept apart so that its writing direction stays its own.
// Its lines may end behind a slash or a scope, rather than amid a word; as page.py has it.
const foreign = (text) => element("bdi", {}, ...text.split(/(?<=\/)|(?<=::)(?<!std::)/).flatMap((part, at) => (at ? [element("wbr"), part] : [part])));

// A sentence in which a number keeps its unit, and an option its dashes; as page.py has it.
const TOGETHER = /([+-]?(?<![\d.])\d[\d.]* (?:(?:[KMGTPE]i)?B(?:\/s)?|[µm]?s|min|h|d|%)(?![\w/])|--[a-z]\S*)/;
const sentence = (text) => element("bdi", {}, ...text.split(TOGETHER).map((part, at) => (at % 2 ? element("span", { class: "bound" }, part) : part)));

// What the address holds: #site=KEY&metric=blocks; plain anchors are left to the browser.
const state = {
  read() {
    const text = location.hash.slice(1);
    return text.includes("=") ? new URLSearchParams(text) : new URLSearchParams();
  },
  write(changes) {
    const all = this.read();
    for (const [key, value] of Object.entries(changes)) {
      if (value) all.set(key, value);
      else all.delete(key);
    }
    const text = all.toString();
    history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
  },
};

function later(work, milliseconds = 120) {
  let timer = 0;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...values), milliseconds);
  };
}

async function copy(text, button) {
  let done = false;
  try {
    await navigator.clipboard.writeText(text);
    done = true;
  } catch {
    // No clipboard for files from disk in some browsers: the old way still works there.
    const area = element("textarea", { "aria-hidden": "true", readonly: "" });
    area.value = text;
    document.body.append(area);
    area.select();
    done = document.execCommand("copy");
    area.remove();
    button.focus();
  }
  const before = button.dataset.label ?? button.textContent;
  button.dataset.label = before;
  button.textContent = done ? T("Copied") : T("Not copied");
  setTimeout(() => { button.textContent = before; }, 1500);
}
