// Numbers as people read them; the same rules as cgoleak/units.py, which a test compares.

const SIZES = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

function formatBytes(number) {
  const sign = number < 0 ? "-" : "";
  let size = Math.abs(number);
  if (size < 1023.5) {
    const text = (size < 9.95 && !Number.isInteger(size) ? size.toFixed(1) : roundEven(size)).replace(/\.0$/, "");
    return `${text === "0" ? "" : sign}${text} B`;
  }
  let unit = 0;
  for (size /= 1024; size >= 1023.5 && unit < SIZES.length - 1; unit++) size /= 1024;
  return `${sign}${size < 99.95 ? size.toFixed(1) : roundEven(size)} ${SIZES[unit]}`;
}

// Python rounds halves to even, JavaScript up.
function roundEven(number) {
  const low = Math.floor(number);
  const half = number - low === 0.5;
  return String(half ? low + (low % 2) : Math.round(number));
}

function formatRate(rate) {
  if (!Number.isFinite(rate)) return "-";
  return Math.abs(rate) * 3600 >= 1 ? `${formatBytes(rate)}/s` : T("flat");
}

function formatCount(number) {
  return String(number).replace(/\B(?=(\d{3})+$)/g, " ");
}

function formatSeconds(seconds) {
  if (seconds < 0) return `-${formatSeconds(-seconds)}`;
  if (seconds < 0.001) return seconds ? `${roundEven(seconds * 1e6)} µs` : "0 s";
  if (seconds < 0.9995) return `${roundEven(seconds * 1e3)} ms`;
  if (seconds < 119.95) return `${seconds.toFixed(1).replace(/\.0$/, "")} s`;
  const whole = Number(roundEven(seconds));
  for (const [large, small, one, other] of [[86400, 3600, "d", "h"], [3600, 60, "h", "min"], [60, 1, "min", "s"]]) {
    if (whole < large) continue;
    const rest = Math.floor((whole % large) / small);
    return `${Math.floor(whole / large)} ${one}${rest ? ` ${rest} ${other}` : ""}`;
  }
  return "";
}

function formatShare(share) {
  if (share > 0 && share < 0.01) return "< 1 %";
  return `${Math.round(share * 100)} %`;
}
