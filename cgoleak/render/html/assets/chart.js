// The chart: what is drawn stays as it is; zooming is another view box, with marks to fit.

function startChart() {
  const chart = DATA.chart;
  const view = $("chart-view");
  if (!chart || !view) return;
  const plot = view.ownerSVGElement;
  const { seconds, end, top } = chart;
  const off = new Set();
  let from = 0;
  let to = end;
  let instant = seconds.length - 1;

  const columns = () => chart.curves.filter((curve) => !off.has(curve.name));

  function highest() {
    let most = 1;
    for (const curve of columns()) {
      curve.values.forEach((value, place) => {
        if (value !== null && seconds[place] >= from && seconds[place] <= to) most = Math.max(most, value);
      });
    }
    return most;
  }

  function byteStep(size) {
    for (let unit = 1; ; unit *= 1024) {
      for (let base = 1; base < 1024; base *= 2) if (base * unit * 4 >= size) return base * unit;
    }
  }

  function timeStep(length) {
    const steps = [];
    for (let power = 0.001; power < 1; power *= 10) steps.push(power, 2 * power, 5 * power);
    steps.push(1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 21600, 43200);
    for (let days = 86400; days < 1e9; days *= 10) steps.push(days, 2 * days, 5 * days);
    return steps.find((step) => length / step <= (plot.clientWidth < 500 ? 3 : 6)) ?? length;
  }

  function draw() {
    const step = byteStep(highest());
    const size = Math.max(step, Math.ceil(highest() / step) * step);
    const scale = 1000 / top;
    view.setAttribute("viewBox", `${1000 * from / end} ${1000 - size * scale} ${1000 * (to - from) / end} ${size * scale}`);
    const grid = [];
    const labels = [];
    for (let value = step; value <= size; value += step) {
      const y = 230 - 220 * value / size;
      grid.push(svg("line", { class: "grid", x1: 0, x2: "100%", y1: y, y2: y }));
      const text = svg("text", { class: "tick", x: 2, y: y - 4 });
      text.textContent = formatBytes(value);
      labels.push(text);
    }
    grid.push(svg("line", { class: "axis", x1: 0, x2: "100%", y1: 230, y2: 230 }));
    $("chart-y").replaceChildren(...grid);
    $("chart-labels").replaceChildren(...labels);
    const gap = timeStep(to - from);
    const times = [];
    for (let at = Math.ceil(from / gap - 1e-9) * gap; at <= to * (1 + 1e-9); at += gap) {
      const share = (at - from) / (to - from);
      const anchor = share < 0.03 ? "start" : share > 0.96 ? "end" : "middle";
      const text = svg("text", { class: "tick", x: `${100 * share}%`, y: 248, "text-anchor": anchor });
      text.textContent = formatSeconds(Math.round(at * 1000) / 1000);
      times.push(text);
    }
    $("chart-x").replaceChildren(...times);
    plot.dataset.from = from;
    plot.dataset.to = to;
    show(instant, $("chart-cursor").getAttribute("visibility") === "visible");
  }

  function show(place, visible = true) {
    instant = place;
    $("chart-instant").value = place;
    const share = (seconds[place] - from) / (to - from);
    const cursor = $("chart-cursor");
    cursor.setAttribute("visibility", visible && share >= 0 && share <= 1 ? "visible" : "hidden");
    cursor.setAttribute("x1", `${100 * share}%`);
    cursor.setAttribute("x2", `${100 * share}%`);
    const words = columns()
      .filter((curve) => curve.values[place] !== null)
      .map((curve) => `${curve.label} ${formatBytes(curve.values[place])}`);
    const gc = chart.gc[place];
    if (gc !== null && chart.gc[0] !== null) words.push(T("{count} GC", { count: Math.max(0, gc - chart.gc[0]) }));
    const time = element("b", {}, formatSeconds(seconds[place]));
    $("chart-reading").replaceChildren(time, ` ${words.join(" · ")}`);
    $("chart-instant").setAttribute("aria-valuetext", `${formatSeconds(seconds[place])}: ${words.join(", ")}`);
  }

  function nearest(at) {
    let best = 0;
    seconds.forEach((second, place) => {
      if (Math.abs(second - at) < Math.abs(seconds[best] - at)) best = place;
    });
    return best;
  }

  function zoom(begin, finish) {
    if (finish - begin < end / 2000) return;
    [from, to] = [Math.max(0, begin), Math.min(end, finish)];
    draw();
  }

  const timeAt = (event) => {
    const box = plot.getBoundingClientRect();
    return from + (to - from) * Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
  };
  let pressed = null;
  plot.addEventListener("pointerdown", (event) => {
    if (event.button === 0 && event.pointerType !== "touch") {
      pressed = timeAt(event);
      plot.setPointerCapture(event.pointerId);
    }
  });
  plot.addEventListener("pointermove", (event) => {
    show(nearest(timeAt(event)));
    if (pressed === null) return;
    const [low, high] = [pressed, timeAt(event)].sort((one, other) => one - other);
    const brush = $("chart-brush");
    brush.setAttribute("visibility", "visible");
    brush.setAttribute("x", `${100 * (low - from) / (to - from)}%`);
    brush.setAttribute("width", `${100 * (high - low) / (to - from)}%`);
  });
  const release = (event) => {
    $("chart-brush").setAttribute("visibility", "hidden");
    if (pressed === null) return;
    const [low, high] = [pressed, timeAt(event)].sort((one, other) => one - other);
    pressed = null;
    if (high - low > (to - from) / 100) zoom(low, high);
  };
  plot.addEventListener("pointerup", release);
  plot.addEventListener("pointercancel", () => { pressed = null; $("chart-brush").setAttribute("visibility", "hidden"); });
  plot.addEventListener("pointerleave", () => { if (pressed === null) show(seconds.length - 1, false); });
  plot.addEventListener("dblclick", () => zoom(0, end));
  $("chart-instant").max = seconds.length - 1;
  $("chart-instant").addEventListener("input", (event) => show(Number(event.target.value)));
  $("chart-all").addEventListener("click", () => zoom(0, end));
  $("chart-in").addEventListener("click", () => {
    const middle = Math.min(Math.max(seconds[instant], from), to);
    const reach = (to - from) / 4;
    const begin = Math.min(Math.max(0, middle - reach), end - 2 * reach);
    zoom(begin, begin + 2 * reach);
  });
  for (const key of document.querySelectorAll("#chart-legend [data-curve]")) {
    const name = key.dataset.curve;
    const button = element("button", { type: "button", class: `key line-${name}`, "aria-pressed": "true", "data-curve": name });
    button.append(...key.childNodes);
    key.replaceWith(button);
    button.addEventListener("click", () => {
      if (off.has(name)) off.delete(name);
      else off.add(name);
      button.setAttribute("aria-pressed", String(!off.has(name)));
      for (const path of view.querySelectorAll(`.line-${name}`)) path.classList.toggle("off", off.has(name));
      draw();
    });
  }
  addEventListener("resize", later(draw));
  draw();
  show(seconds.length - 1, false);
}
