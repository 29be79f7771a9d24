// Answers to the test problems, before and after.

const MEASURED = [
  ["base", "Before"],
  ["final", "After, without memory"],
  ["final_with_memory", "After, with memory in the prompt"],
];
const rate = (entry, name) => (entry[name] && entry[name][1] ? entry[name][0] / entry[name][1] : null);
const change = (entry) => (rate(entry, "base") === null || rate(entry, "final") === null ? 0 : rate(entry, "final") - rate(entry, "base"));

const answerView = () =>
  new Browser({
    view: "answers",
    label: "test problems",
    none: "The test problems were not answered yet.",
    head: () => h("div", { class: "words", id: "measured" }),
    filters: [
      { value: "all", label: "All", test: () => true },
      { value: "gained", label: "Gained", test: (entry) => change(entry) > 0 },
      { value: "lost", label: "Lost", test: (entry) => change(entry) < 0 },
      { value: "right", label: "Right both times", test: (entry) => change(entry) === 0 && rate(entry, "final") > 0 },
      { value: "wrong", label: "Wrong both times", test: (entry) => change(entry) === 0 && rate(entry, "final") === 0 },
    ],
    orders: [
      { value: "file", label: "in their order", compare: null },
      { value: "gain", label: "gained most", compare: (a, b) => change(b) - change(a) },
      { value: "loss", label: "lost most", compare: (a, b) => change(a) - change(b) },
    ],
    entries: () => run.answers,
    id: (entry) => entry.problem,
    textOf: (entry) => `${entry.problem} ${entry.kind} ${promptOf(entry.problem) || ""} ${MEASURED.map(([name]) => (entry[name] ? entry[name][2].map((answer) => answer[0]).join(" ") : "")).join(" ")}`,
    row: answerRow,
    detail: answerDetail,
  });

function answerRow(entry) {
  const moved = change(entry);
  const sign = moved > 0 ? h("span", { class: "right" }, "↑ gained") : moved < 0 ? h("span", { class: "wrong" }, "↓ lost") : h("span", { class: "soft" }, "=");
  const rates = MEASURED.filter(([name]) => entry[name]).map(([name]) => `${entry[name][0]}/${entry[name][1]}`).join(" → ");
  return [h("div", { class: "small" }, sign, h("span", { class: "soft" }, ` · ${rates} · ${entry.problem}`)), h("div", {}, flat((promptOf(entry.problem) || entry.problem).slice(0, 240)))];
}

function answerDetail(entry) {
  const gold = answerOf(entry.problem);
  const columns = MEASURED.filter(([name]) => entry[name]).map(([name, title]) => {
    const [correct, checked, answers] = entry[name];
    const shown = answers.map(([text, right, parsed]) => [h("p", { class: "small" }, mark(right), parsed === null ? "" : ` · ${parsed}`), h("pre", {}, text || "(nothing)")]);
    return h("div", {}, h("h3", {}, title), h("p", { class: "soft small" }, `${correct} of ${checked} right`), shown.flat());
  });
  return [
    h("h2", {}, entry.problem),
    h("div", { class: "marks" }, entry.kind ? h("span", {}, entry.kind) : null, gold ? h("span", {}, `expected ${gold}`) : null),
    promptOf(entry.problem) ? h("pre", {}, promptOf(entry.problem)) : null,
    h("div", { class: "columns" }, columns),
  ];
}

/** The accuracies over it, with their intervals. */
function showMeasured(place) {
  const lines = run.overview.measured.map(({ title, mean, low, high, problems }) => h("p", {}, h("strong", {}, percent(mean)), low === null ? "" : ` [${percent(low)}, ${percent(high)}]`, ` ${title}, ${plural(problems, "problem")}`));
  place.replaceChildren(...(lines.length ? lines : [h("p", { class: "soft" }, "Nothing was measured yet.")]));
}
