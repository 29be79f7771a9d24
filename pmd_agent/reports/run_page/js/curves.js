// The run at a glance: the last step in words, alarms, and curves.

const MAIN = {
  accuracy: ["Accuracy on unseen problems", "Validation while it goes, test problems before (left) and after (right); 95 % intervals over problems.", { share: true }],
  reward: ["Attempts", "Of the problems that are practised, sampled without memory.", { share: true }],
  gain: ["Teacher gain", "Nats a token by which the teacher believes in right attempts more than in wrong ones. Above 0: what it reads tells them apart.", { zero: true }],
  loss: ["Loss", "Nats a token between teacher and student.", { zero: true }],
  length: ["Length", "Tokens of an answer.", { zero: true }],
  time: ["Where a step's time goes", "Share of its seconds by stage.", { share: true, stacked: true }],
  memory: ["Memory", "Live entries after each step, as of the last commit.", { zero: true }],
  any: ["Any other metric", "As in metrics.jsonl; docs/method.md says what each is.", {}],
};

class Curves {
  constructor() {
    this.charts = Object.fromEntries(Object.entries(MAIN).map(([name, [title, note, options]]) => [name, new Chart(title, note, options)]));
    this.facts = h("ul", { class: "facts" });
    this.words = h("div", { class: "words", role: "region", "aria-label": "The last step in words" });
    this.alarms = h("div");
    this.choice = h("select", { "aria-label": "Metric", onchange: () => this.any() });
    this.charts.any.figure.querySelector("figcaption").append(this.choice);
    this.element = h("section", {}, this.facts, this.words, this.alarms, h("div", { class: "plots" }, Object.values(this.charts).map((chart) => chart.figure)));
  }

  refresh() {
    const { overview } = run;
    this.facts.replaceChildren(...overview.facts.map((fact) => h("li", {}, fact)));
    this.words.replaceChildren(...(overview.words.length ? overview.words : [waiting(overview)]).map((text) => h("p", {}, text)));
    const alarms = overview.alarms.slice().reverse();
    const list = (some) => h("ul", { class: "alarms", "aria-label": "Alarms" }, some.map(({ step, text }) => h("li", {}, `Step ${step + 1}: ${text}`)));
    this.alarms.replaceChildren(...(alarms.length ? [list(alarms.slice(0, 12))] : []));
    this.draw(overview);
  }

  draw({ metrics, stages, step, measured }) {
    const steps = step.map((value) => value + 1);
    const line = (label, key, tint, more = {}) => ({ label, values: metrics[key] || [], colour: tint, ...more });
    const { charts } = this;
    charts.accuracy.update(...accuracies(steps, metrics, measured));
    charts.reward.update(steps, [line("reward", "reward", "--c1"), line("right", "correct", "--c3", { dash: [6, 4] }), line("problems solved", "solved_groups", "--c8", { dash: [2, 3] })]);
    const tiers = [["by experience", "experience", "--c2"], ["by insights", "insight", "--c3"], ["by behaviors", "behavior", "--c4"], ["another's memory", "shuffled", "--c8"], ["no problem", "reference_only", "--c5"]];
    charts.gain.update(steps, [line("all of it", "teacher_gain", "--c1"), ...tiers.map(([label, key, tint], i) => line(label, `teacher_gain_${key}`, tint, { dash: [6, 2 + i] }))]);
    charts.loss.update(steps, [line("loss", "loss", "--c1")]);
    charts.length.update(steps, [line("tokens", "response_tokens", "--c1")]);
    charts.time.update(steps, shares(stages, steps.length));
    const tints = [["behaviors", "behavior", "--c4"], ["insights", "insight", "--c3"], ["attempts", "experience", "--c8"]];
    const sizes = run.memories?.sizes || {};
    charts.memory.update((sizes.behavior || []).map((_, i) => i + 1), tints.map(([label, tier, tint]) => ({ label, values: sizes[tier] || [], colour: tint })));
    const known = Object.keys(metrics);
    if (this.choice.options.length !== known.length) {
      const chosen = this.choice.value || (known.includes("surprisal") ? "surprisal" : known[0]);
      this.choice.replaceChildren(...known.map((name) => h("option", { value: name, selected: name === chosen }, name)));
    }
    this.any();
  }

  any() {
    const { metrics, step } = run.overview;
    const name = this.choice.value;
    this.charts.any.update(step.map((value) => value + 1), name ? [{ label: name, values: metrics[name], colour: "--c4" }] : []);
  }
}

const waiting = ({ state }) => (state === "running" ? "No step is done yet: the run is measuring where it starts, or practises its first problems." : "No step was done.");

/** Validation with its interval, and the test problems as points before the first step and after the last. */
function accuracies(steps, metrics, measured) {
  const last = steps.length ? steps[steps.length - 1] : 0;
  const at = [0, ...steps];
  const spread = (key) => [null, ...(metrics[key] || steps.map(() => null))];
  const lines = [["validation", "validation", "--c1"], ["with memory in the prompt", "validation_with_memory", "--c2"]].map(([label, key, tint]) => {
    const line = { label, values: spread(key), colour: tint };
    return metrics[`${key}_low`] ? { ...line, low: spread(`${key}_low`), high: spread(`${key}_high`) } : line;
  });
  const point = (name, part) => {
    const found = measured.find((each) => each.name === name);
    return found ? found[part] : null;
  };
  for (const [label, suffix, tint] of [["test problems", "", "--c3"], ["test, with memory", "_with_memory", "--c4"]]) {
    const values = (part) => at.map((step) => (step === 0 ? point(`base${suffix}`, part) : step === last ? point(`final${suffix}`, part) : null));
    lines.push({ label, values: values("mean"), low: values("low"), high: values("high"), colour: tint, dots: true });
  }
  return [at, lines];
}

/** Each stage's share of the seconds of a step, the longest first; what is short is put together. */
function shares(stages, count) {
  const total = Array.from({ length: count }, (_, i) => Object.values(stages).reduce((sum, values) => sum + (values[i] ?? 0), 0));
  const whole = total.reduce((sum, value) => sum + value, 0) || 1;
  const sums = Object.entries(stages).map(([name, values]) => [name, values, values.reduce((sum, value) => sum + (value ?? 0), 0)]);
  sums.sort((a, b) => b[2] - a[2]);
  const long = sums.filter(([, , sum], i) => sum / whole > 0.01 && i < 9);
  const rest = sums.filter((each) => !long.includes(each));
  const share = (value, i) => (total[i] ? value / total[i] : 0);
  const lines = long.map(([name, values], i) => ({ label: name, values: values.map((value, at) => share(value ?? 0, at)), colour: `--c${i + 1}` }));
  if (rest.length) lines.push({ label: "others", values: total.map((_, at) => share(rest.reduce((sum, [, values]) => sum + (values[at] ?? 0), 0), at)), colour: "--c10" });
  return lines;
}
