// Wires the page up; what is at the top first, so that a large report is readable at once.

function followAddress() {
  const key = state.read().get("site");
  if (key !== null && COUNT) sites.reveal(key);
}

function openForPrint() {
  const closed = [...document.querySelectorAll("#site-list > .site:not([open])")].slice(0, 10);
  for (const node of closed) node.open = true;
  addEventListener("afterprint", () => { for (const node of closed) node.open = false; }, { once: true });
}

startTheme();
sites.start();
startChart();
const metric = state.read().get("metric");
if (COUNT && ["blocks", "growth"].includes(metric)) $("flame-metric").value = metric;
followAddress();
addEventListener("hashchange", followAddress);
addEventListener("beforeprint", openForPrint);
// After the first paint: the tree of thousands of sites takes a while.
requestAnimationFrame(() => setTimeout(() => {
  flame.start();
  document.documentElement.dataset.ready = "yes";
}));
