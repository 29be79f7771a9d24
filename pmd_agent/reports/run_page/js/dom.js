// Elements, numbers as text, and the data: in the page, or asked from where the page came from.

/** An element. Whatever a model wrote goes in as text: nothing here is ever parsed as HTML. */
function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && typeof value !== "string") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

const percent = (share) => (share === null || share === undefined ? "–" : `${(100 * share).toFixed(1)}%`);
const signed = (value, digits = 2) => (value > 0 ? "+" : value < 0 ? "−" : "") + Math.abs(value).toFixed(digits);
const plural = (count, what) => `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;
const number = (value) =>
  value === null || value === undefined ? "–" : Math.abs(value) >= 1000 ? Math.round(value).toLocaleString("en") : String(+value.toPrecision(4));

/** A text on one line. */
const flat = (text) => text.replace(/\s+/g, " ").trim();

const alone = document.getElementById("data-overview") !== null;

/** JSON of that name; null where the server says that nothing has changed. Throws with what the server says. */
async function load(name, query = "") {
  if (alone) {
    const found = document.getElementById(`data-${name}`);
    return found === null ? null : JSON.parse(found.textContent);
  }
  const answer = await fetch(`${name}.json${query}`, { cache: "no-store" });
  if (answer.status === 204) return null;
  if (answer.ok) return answer.json();
  const said = await answer.json().catch(() => ({}));
  throw new Error(said.error || `the server answers ${answer.status}`);
}

/** All that is known of the run. Views read it; main.js fills it. */
const run = {
  overview: null,
  rollouts: new Map(), // step -> its columns
  stamps: new Map(), // step -> which making of it these are
  answers: [],
  problems: {},
  memories: null,
  byMemory: new Map(), // memory id -> entry
};

const promptOf = (problem) => (run.problems[problem] || [null])[0];
const answerOf = (problem) => (run.problems[problem] || [null, null])[1];

/** A link to a part of the page. */
const link = (view, id, ...children) => h("a", { href: `#${view}/${encodeURIComponent(id)}` }, ...children);

const mark = (right) =>
  right === null ? h("span", { class: "soft" }, "? not checked") : right ? h("span", { class: "right" }, "✓ right") : h("span", { class: "wrong" }, "✗ wrong");
