// Which part is shown, and what is read again while the run goes on.

const EVERY = 2000; // milliseconds between two looks at a run that goes on; a finished one is looked at five times less
const main = document.getElementById("main");
const views = { curves: null, rollouts: null, answers: null, memory: null };
const makers = { curves: () => new Curves(), rollouts: rolloutView, answers: answerView, memory: () => new MemoryView() };
let shown = null;
let asked = false; // for the memory, which may take a while

/** A part of the address; one that is malformed is itself. */
function unescaped(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Show the part that the address names, and the entry in it. */
function route() {
  const [view, id] = location.hash.slice(1).split("/", 2).map(unescaped);
  const name = view in makers ? view : "curves";
  views[name] ??= makers[name]();
  for (const anchor of document.querySelectorAll("#nav a")) {
    if (anchor.hash === `#${name}`) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  }
  if (shown !== name) {
    main.replaceChildren(views[name].element);
    shown = name;
    scrollTo(0, 0);
  }
  refresh();
  if (id && views[name].go) views[name].go(id);
  else if (views[name].browse?.classList.contains("open")) views[name].leave();
}

function refresh() {
  if (!shown || !run.overview) return;
  views[shown].refresh();
  const measured = document.getElementById("measured");
  if (measured) showMeasured(measured);
}

function trouble(error) {
  const place = document.getElementById("trouble");
  place.hidden = !error;
  place.textContent = error ? `The page may be behind: ${error.message}` : "";
}

/** Name, state and progress of the run. */
function showHead({ name, state, steps, step, committed }) {
  document.getElementById("name").textContent = name;
  const badge = document.getElementById("state");
  if (badge.textContent !== state) badge.textContent = state;
  badge.className = `badge ${state}`;
  const done = step.length ? step[step.length - 1] + 1 : 0;
  const behind = done > committed ? `, ${committed} of them committed` : "";
  document.getElementById("progress").textContent = `${done}${steps ? ` of ${steps}` : ""} steps${behind}`;
}

/** Read what differs from what the page has. A step that was taken back goes; one that was made anew is read anew. */
async function look() {
  const found = await load("overview", run.overview ? `?${run.overview.version}` : "");
  if (found === null) return void readMemories();
  const before = run.overview;
  run.overview = found;
  showHead(found);
  const now = new Map(found.step.map((step, i) => [step, found.stamp[i]]));
  const gone = [...run.rollouts.keys()].filter((step) => now.get(step) !== run.stamps.get(step));
  for (const step of gone) run.rollouts.delete(step);
  const missing = [...now.keys()].filter((step) => !run.rollouts.has(step)).sort((a, b) => b - a);
  refresh();
  for (const [place, step] of missing.entries()) {
    const columns = await load(`rollouts-${step}`);
    if (!columns) continue;
    run.rollouts.set(step, columns);
    run.stamps.set(step, now.get(step));
    if (place % 50 === 49) attempts.build();
  }
  if (missing.length || gone.length) attempts.build();
  if (JSON.stringify(before?.measured) !== JSON.stringify(found.measured)) run.answers = (await load("answers")) || [];
  if (!before) readProblems(); // their source may be slow, or away
  refresh();
  readMemories();
  if (!before) route();
}

async function readProblems() {
  run.problems = (await load("problems").catch(() => null)) || {};
  refresh();
}

/** The memory as of the last commit. The server may give an earlier one: copying it takes time that the run needs. */
async function readMemories() {
  if (asked || run.memories?.step === run.overview.committed || (run.memories && alone)) return;
  asked = true;
  try {
    const found = await load("memories");
    if (!found || found.step === run.memories?.step) return;
    run.memories = found;
    run.byMemory = new Map(found.entries.map((memory) => [memory.id, memory]));
    refresh();
  } catch (error) {
    trouble(error);
  } finally {
    asked = false;
  }
}

async function watch() {
  try {
    if (!document.hidden || !run.overview) await look();
    trouble(null);
  } catch (error) {
    trouble(error);
  }
  if (!alone) setTimeout(watch, run.overview?.state === "finished" ? 5 * EVERY : EVERY);
}

addEventListener("hashchange", () => run.overview && route());
route();
watch();
