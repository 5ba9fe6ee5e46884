// A stack as the lines that people read; the same rules as cgoleak/render/stacklines.py, which a
// test compares. Made here, since of thousands of sites few are opened.

const PLUMBING = new Set(["bridge", "runtime"]);
const LIBRARY_RUN = 3;
const LONGEST = 24;
const HEAD = 14;
const TAIL = 8;

const isPlumbing = (frame) => PLUMBING.has(frame.lang[2]);
const joint = (name) => ({ lang: DATA.languages.find((one) => one[2] === "bridge"), name, place: "" });

// Neighbours with the same key, together.
function runsOf(frames, keyOf) {
  const runs = [];
  let before;
  for (const frame of frames) {
    const key = keyOf(frame);
    if (runs.length && key === before) runs.at(-1).push(frame);
    else runs.push([frame]);
    before = key;
  }
  return runs;
}

function stackLines(stack) {
  const lines = [...foldedLines(stack.map(frameAt))];
  if (lines.length <= LONGEST) return lines;
  const more = joint(T("… {count} more frames …", { count: lines.length - HEAD - TAIL }));
  return [...lines.slice(0, HEAD), more, ...lines.slice(-TAIL)];
}

function* foldedLines(frames) {
  const runs = runsOf(frames, isPlumbing);
  let inner = "C";
  for (const [index, run] of runs.entries()) {
    if (!isPlumbing(run[0])) {
      inner = run.at(-1).lang[2];
      yield* withoutLibrary(run);
    } else if (runs.length === 1) {
      yield* countedLines(run);
    } else if (index < runs.length - 1) {
      const joins = crossing(inner, runs[index + 1][0].lang[2]);
      const called = index === 0 ? run.filter((frame) => frame.call).at(-1)?.call : "";
      yield joint(called ? `${called} ${joins}` : joins);
    }
  }
}

function crossing(inner, outer) {
  if (inner !== "Go") return T("… cgo call …");
  return outer === "C" || outer === "C++" ? T("… callback from C …") : T("… Go runtime …");
}

function* withoutLibrary(frames) {
  if (frames.filter((frame) => frame.library).length < LIBRARY_RUN) {
    yield* countedLines(frames);
    return;
  }
  for (const run of runsOf(frames, (frame) => frame.library !== "")) {
    if (!run[0].library || run.length < LIBRARY_RUN) {
      yield* countedLines(run);
      continue;
    }
    const packages = [...new Set(run.map((frame) => frame.library))];
    const named = packages.slice(0, 3).join(", ") + (packages.length > 3 ? ", …" : "");
    const folded = T("… {count} frames in {packages} …", { count: run.length, packages: named });
    yield { lang: run[0].lang, name: folded, place: "" };
  }
}

function* countedLines(frames) {
  for (const run of runsOf(frames, (frame) => frame.at)) {
    const [frame] = run;
    const notes = run.length > 1 ? [T("{count} times", { count: run.length })] : [];
    yield { lang: frame.lang, name: noted(frame, notes), place: frame.brief };
  }
}

function noted(frame, notes = []) {
  const all = frame.inlined ? [...notes, T("inlined")] : notes;
  return all.length ? `${frame.name} (${all.join(", ")})` : frame.name;
}
