// Finds and filters among the sites that the page came with.

function startDiff() {
  const rows = [...document.querySelectorAll("#site-list > .site")];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const choose = () => {
    const words = $("find").value.trim().toLowerCase();
    const change = $("pick-change").value;
    let shown = 0;
    rows.forEach((row, place) => {
      row.hidden = (change !== "" && row.dataset.change !== change) || !texts[place].includes(words);
      if (!row.hidden) shown += 1;
    });
    $("found").textContent = T("{count} of {all}", { count: formatCount(shown), all: formatCount(rows.length) });
  };
  $("find").addEventListener("input", later(choose));
  $("pick-change").addEventListener("change", choose);
  const follow = () => {
    const node = rows.find((row) => row.dataset.site === state.read().get("site"));
    if (!node) return;
    node.hidden = false;
    node.open = true;
    node.scrollIntoView({ block: "start" });
    node.querySelector("summary").focus({ preventScroll: true });
  };
  for (const row of rows) {
    const mute = row.querySelector(".mute");
    if (!mute) continue;
    const button = element("button", { type: "button" }, T("Copy suppression"));
    button.addEventListener("click", () => copy(mute.textContent, button));
    mute.parentElement.append(" ", button);
  }
  choose();
  addEventListener("hashchange", follow);
  follow();
}

startTheme();
startDiff();
const metric = state.read().get("metric");
if (COUNT && ["bytes", "blocks", "growth"].includes(metric)) $("flame-metric").value = metric;
flame.start();
document.documentElement.dataset.ready = "yes";
