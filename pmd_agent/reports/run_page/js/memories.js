// What was remembered, what it was made from, and what became of it.

const here = (memory) => memory.went === null;
const titleOf = (memory) => (memory.kind === "behavior" ? memory.name : memory.kind);

/** One memory in short, with the way to all of it. */
function memoryCard(memory) {
  return h("div", { class: "card" }, h("p", { class: "small soft" }, `${memory.kind} · ${when(memory.came).toLowerCase()}${here(memory) ? "" : `, gone since step ${memory.went + 1}`} · `, link("memory", memory.id, titleOf(memory) === memory.kind ? memory.id : titleOf(memory))), h("p", {}, memory.text));
}

class MemoryView extends Browser {
  constructor() {
    const note = h("p", { class: "soft small" });
    super({
      view: "memory",
      label: "memories",
      none: "Nothing is remembered yet.",
      head: () => note,
      filters: [
        { value: "live", label: "Live", test: (entry) => entry.memory && here(entry.memory) },
        { value: "behavior", label: "Behaviors", test: (entry) => entry.memory?.kind === "behavior" },
        { value: "strategy", label: "Strategies", test: (entry) => entry.memory?.kind === "strategy" },
        { value: "lesson", label: "Lessons", test: (entry) => entry.memory?.kind === "lesson" },
        { value: "gone", label: "Gone", test: (entry) => entry.memory && !here(entry.memory) },
        { value: "events", label: "What changed", test: (entry) => Boolean(entry.event) },
      ],
      orders: [
        { value: "new", label: "newest first", compare: (a, b) => stepOf(b) - stepOf(a) },
        { value: "old", label: "oldest first", compare: (a, b) => stepOf(a) - stepOf(b) },
        { value: "read", label: "read most", compare: (a, b) => (b.memory?.read ?? 0) - (a.memory?.read ?? 0) },
      ],
      entries: () => this.all || [],
      id: (entry) => (entry.event ? `${entry.event[0]} ${entry.event[1]} ${entry.event[2]}` : entry.memory.id),
      textOf: (entry) => (entry.event ? `${entry.event.join(" ")} ${run.byMemory.get(entry.event[2]).text}` : `${entry.memory.id} ${titleOf(entry.memory)} ${entry.memory.text}`),
      row: memoryRow,
      detail: (entry) => memoryDetail(entry.event ? run.byMemory.get(entry.event[2]) : entry.memory),
    });
    this.note = note;
  }

  refresh() {
    const found = run.memories;
    if (found) {
      if (this.of !== found) this.all = [...found.entries.map((memory) => ({ memory })), ...found.events.map((event) => ({ event }))];
      this.of = found;
      this.note.textContent = found.none || `As of step ${found.step}. Attempts are under Rollouts.${found.more ? ` ${plural(found.more, "older entry").replace("entrys", "entries")} are not shown.` : ""}`;
    }
    super.refresh();
    const entries = this.all || [];
    if (this.found.length < entries.length) this.count.textContent = this.found.length.toLocaleString("en");
  }
}

const when = (step) => (step < 0 ? "Before the first step" : `Step ${step + 1}`);
const stepOf = (entry) => (entry.event ? entry.event[0] : entry.memory.last);

function memoryRow(entry) {
  if (entry.event) {
    const [step, what, id, why] = entry.event;
    const tint = { came: "right", went: "wrong", quarantined: "wrong" }[what] || "";
    return [h("div", { class: "small" }, h("span", { class: tint }, what), h("span", { class: "soft" }, ` · ${when(step).toLowerCase()} · ${why}`)), h("div", {}, flat(run.byMemory.get(id).text))];
  }
  const { memory } = entry;
  const facts = [memory.kind === "behavior" ? memory.name : "", here(memory) ? (memory.state === "live" ? "" : memory.state) : `gone since step ${memory.went + 1}`, memory.support, memory.read ? `read ${memory.read} times` : ""];
  return [h("div", { class: "small" }, memory.kind, h("span", { class: "soft" }, ` · ${when(memory.came).toLowerCase()} · ${facts.filter(Boolean).join(" · ")}`)), h("div", {}, flat(memory.text))];
}

function memoryDetail(memory) {
  const events = run.memories.events.filter((event) => event[2] === memory.id).reverse();
  const facts = [memory.kind, memory.support, memory.read ? `read by the teachers of ${plural(memory.read, "attempt")}` : "never read", memory.state, memory.alone ? `alone it makes right attempts ${memory.alone}` : ""];
  const source = (id) => {
    const below = run.byMemory.get(id);
    if (below) return memoryCard(below);
    const attempt = attempts.byId.get(id);
    if (!attempt) return h("div", { class: "card soft" }, h("code", {}, id));
    return h("div", { class: "card" }, h("p", { class: "small" }, mark(of(attempt, "right")), " ", link("rollouts", id, id)), h("p", {}, flat(of(attempt, "text").slice(0, 300))));
  };
  const above = [...run.byMemory.values()].filter((other) => other.sources.includes(memory.id));
  const readers = attempts.all.filter((entry) => of(entry, "read").some((at) => entry.columns.names[at] === memory.id)).slice(0, 6);
  return [
    h("h2", {}, titleOf(memory)),
    h("p", {}, memory.text),
    h("div", { class: "marks" }, facts.filter(Boolean).map((text) => h("span", {}, text))),
    memory.why ? h("p", { class: "small" }, memory.why) : null,
    memory.problem ? [h("h3", {}, "About the problem"), h("pre", {}, promptOf(memory.problem) || memory.problem)] : null,
    h("h3", {}, "What became of it"),
    h("ul", {}, events.map(([step, what, , why]) => h("li", {}, `${when(step)}: ${what}${why ? `, ${why}` : ""}`))),
    h("h3", {}, "What it was made from"),
    ...(memory.sources.length ? memory.sources.slice(0, 12).map(source) : [h("p", { class: "soft" }, "Nothing is cited.")]),
    memory.sources.length > 12 ? h("p", { class: "soft" }, `and ${memory.sources.length - 12} more`) : null,
    ...(above.length ? [h("h3", {}, "What was made from it"), ...above.slice(0, 8).map(memoryCard)] : []),
    ...(readers.length ? [h("h3", {}, "Whose teachers read it, the newest"), ...readers.map((entry) => h("p", { class: "small" }, mark(of(entry, "right")), " ", link("rollouts", of(entry, "id"), of(entry, "id"))))] : []),
    h("p", { class: "soft small" }, h("code", {}, memory.id), memory.program ? ` · written by ${memory.program}` : "", ` · its prompt: pmd memory show ${run.overview.path} ${memory.id} --prompt`),
  ].flat();
}
