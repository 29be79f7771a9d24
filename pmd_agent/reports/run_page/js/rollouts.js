// What was attempted: each text in the colours of what the teacher believes, and beside it what the teacher read.

/** All attempts as {columns, i}, newest step first, with whether the problem went otherwise the last time (`changed`). */
const attempts = {
  all: [],
  byId: new Map(),
  build() {
    const steps = [...run.rollouts.keys()].sort((a, b) => a - b);
    const before = new Map(); // problem -> share right when it was practised last
    for (const step of steps) {
      const columns = run.rollouts.get(step);
      const groups = new Map();
      columns.changed = columns.right.map((right, i) => {
        const problem = columns.names[columns.problem[i]];
        if (right === null) return 0;
        const group = groups.get(problem) || [0, 0];
        groups.set(problem, [group[0] + right, group[1] + 1]);
        const was = before.get(problem);
        return was === undefined || (was >= 0.5) === (right === 1) ? 0 : right ? 1 : -1;
      });
      for (const [problem, [right, n]] of groups) before.set(problem, right / n);
    }
    this.all = [];
    this.byId = new Map();
    for (const step of steps.reverse()) {
      const columns = run.rollouts.get(step);
      for (let i = 0; i < columns.id.length; i++) {
        const entry = { columns, i };
        this.all.push(entry);
        this.byId.set(columns.id[i], entry);
      }
    }
  },
};

const of = ({ columns, i }, key) => columns[key][i];
const problemOf = (entry) => entry.columns.names[of(entry, "problem")];
const nothingLast = (entry, sign) => (of(entry, "gain") === null ? Infinity : sign * of(entry, "gain"));
const VISIBLE = 5; // hundredths of a nat
const CLEAR = 25;

const rolloutView = () =>
  new Browser({
    view: "rollouts",
    label: "attempts",
    none: "No step is done yet.",
    filters: [
      { value: "all", label: "All", test: () => true },
      { value: "right", label: "Right", test: (entry) => of(entry, "right") === 1 },
      { value: "wrong", label: "Wrong", test: (entry) => of(entry, "right") === 0 },
      { value: "changed", label: "Changed", test: (entry) => of(entry, "changed") !== 0 },
      { value: "tokens", label: "By token", test: (entry) => entry.i in entry.columns.tokens },
    ],
    orders: [
      { value: "new", label: "newest first", compare: null },
      { value: "old", label: "oldest first", compare: (a, b) => a.columns.step - b.columns.step || a.i - b.i },
      { value: "high", label: "teacher believes most", compare: (a, b) => nothingLast(a, -1) - nothingLast(b, -1) },
      { value: "low", label: "teacher believes least", compare: (a, b) => nothingLast(a, 1) - nothingLast(b, 1) },
      { value: "long", label: "longest first", compare: (a, b) => of(b, "length") - of(a, "length") },
    ],
    entries: () => attempts.all,
    id: (entry) => of(entry, "id"),
    textOf: (entry) => `${of(entry, "id")} ${of(entry, "text")} ${promptOf(problemOf(entry)) || ""}`,
    row: rolloutRow,
    detail: rolloutDetail,
  });

function rolloutRow(entry) {
  const changed = of(entry, "changed");
  const gain = of(entry, "gain");
  const facts = [changed ? (changed > 0 ? "↑ newly right" : "↓ newly wrong") : "", gain === null ? "" : `gain ${signed(gain)}`, entry.i in entry.columns.tokens ? "by token" : ""];
  return [
    h("div", { class: "small" }, mark(of(entry, "right")), h("span", { class: "soft" }, ` · step ${entry.columns.step + 1} · ${[...facts.filter(Boolean), problemOf(entry)].join(" · ")}`)),
    h("div", {}, flat(of(entry, "text").slice(0, 240)) || "(nothing)"),
  ];
}

function rolloutDetail(entry) {
  const id = of(entry, "id");
  const tokens = entry.columns.tokens[entry.i];
  const reward = of(entry, "reward");
  const gain = of(entry, "gain");
  const feedback = of(entry, "feedback");
  const gold = answerOf(problemOf(entry));
  const marks = [mark(of(entry, "right")), `step ${entry.columns.step + 1}`, reward === null ? "" : `reward ${number(reward)}`, of(entry, "answer") === null ? "no answer found" : `answer ${of(entry, "answer")}`, gold ? `expected ${gold}` : "", plural(of(entry, "length"), "token"), of(entry, "cut") ? "cut at the limit" : "", gain === null ? "nothing to read" : `teacher ${signed(gain, 3)} nats a token`];
  return [
    h("h2", {}, problemOf(entry)),
    h("div", { class: "marks" }, marks.filter(Boolean).map((text) => h("span", {}, text))),
    promptOf(problemOf(entry)) ? [h("h3", {}, "Problem"), h("pre", {}, promptOf(problemOf(entry)))] : null,
    h("h3", {}, "What the student wrote"),
    tokens ? coloured(tokens) : h("pre", {}, of(entry, "text") || "(nothing)"),
    feedback === null ? null : [h("h3", {}, "What the verifier said"), h("pre", {}, entry.columns.names[feedback])],
    h("h3", {}, "What the teacher read beside it"),
    ...whatTeacherRead(entry),
    ...madeFrom(id),
    siblings(entry),
    h("p", { class: "soft small" }, h("code", {}, id)),
  ].flat();
}

/** Each token in the colour of what the teacher believes: more than the student, or less. */
function coloured(tokens) {
  const text = h("pre", {});
  for (const [piece, gain] of tokens) {
    if (gain === null || Math.abs(gain) < VISIBLE) {
      text.append(gain === null ? h("span", { class: "soft" }, piece) : piece); // what the policy did not write is soft
      continue;
    }
    const token = h("span", { class: `token ${Math.abs(gain) < CLEAR ? "" : gain > 0 ? "more" : "less"}`, title: `${signed(gain / 100)} nats` }, piece);
    token.style.backgroundColor = `rgba(var(${gain > 0 ? "--more" : "--less"}), ${Math.min(0.42, 0.08 + Math.abs(gain) / 500).toFixed(2)})`;
    text.append(token);
  }
  const strongest = tokens.filter(([, gain]) => gain !== null && Math.abs(gain) >= CLEAR).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1])).slice(0, 6);
  const said = strongest.map(([piece, gain]) => `“${flat(piece) || "space"}” ${signed(gain / 100)}`).join(", ");
  const more = h("span", { class: "token more" }, "more");
  more.style.backgroundColor = "rgba(var(--more), .3)";
  const less = h("span", { class: "token less" }, "less");
  less.style.backgroundColor = "rgba(var(--less), .3)";
  return [text, h("div", { class: "key" }, h("span", {}, "The teacher, having read, believes in a token ", more, " or ", less, " than the student, in nats."), said ? h("span", {}, `Most: ${said}`) : null)];
}

function whatTeacherRead(entry) {
  const ids = of(entry, "read").map((at) => entry.columns.names[at]);
  if (!ids.length) return [h("p", { class: "soft" }, of(entry, "gain") === null ? "Nothing: it was not taught." : "No memory: what its siblings and the verifier said, if anything.")];
  return ids.map((id) => {
    const memory = run.byMemory.get(id);
    if (memory) return memoryCard(memory);
    const other = attempts.byId.get(id);
    if (other) return h("div", { class: "card" }, h("p", { class: "small soft" }, "a correct attempt, ", link("rollouts", id, id)), h("p", {}, flat(of(other, "text").slice(0, 400))));
    return h("div", { class: "card soft" }, h("code", {}, id));
  });
}

/** The memories that cite an attempt. */
function madeFrom(id) {
  const made = [...run.byMemory.values()].filter((memory) => memory.sources.includes(id));
  return made.length ? [h("h3", {}, "What was learnt from it"), ...made.slice(0, 8).map(memoryCard)] : [];
}

/** Ways to the other attempts at the same problem. */
function siblings(entry) {
  const same = attempts.all.filter((each) => problemOf(each) === problemOf(entry));
  const at = same.indexOf(entry);
  const way = (label, other) => h("button", { type: "button", disabled: !other, onclick: () => (location.hash = `#rollouts/${encodeURIComponent(of(other, "id"))}`) }, label);
  return h("div", { class: "steps" }, way("← later attempt", same[at - 1]), way("earlier attempt →", same[at + 1]), h("span", { class: "soft small" }, `${at + 1} of ${same.length} at this problem`));
}
