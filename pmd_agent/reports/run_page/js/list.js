// A list of any length, of which only what is in sight is in the page, and the view made of it: filters, list, one entry.

const ROW = 58; // pixels, as in page.css

/** A listbox over `count` rows. `row(i)` makes one; `open(i)` shows it beside the list. */
class LongList {
  constructor(label, row, open) {
    this.row = row;
    this.open = open;
    this.count = 0;
    this.at = -1;
    this.space = h("div", { role: "presentation" });
    this.element = h("div", { class: "list", role: "listbox", tabindex: "0", "aria-label": label }, this.space);
    this.element.addEventListener("scroll", () => this.draw(), { passive: true });
    this.element.addEventListener("keydown", (event) => this.key(event));
    this.element.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) this.select(Number(row.dataset.at), true);
    });
    new ResizeObserver(() => this.draw()).observe(this.element);
  }

  /** Other rows: `at` is the one that is selected, -1 for none. */
  fill(count, at) {
    this.count = count;
    this.at = at;
    this.space.style.height = `${count * ROW}px`;
    this.draw();
  }

  draw() {
    const first = Math.max(0, Math.floor(this.element.scrollTop / ROW) - 4);
    const last = Math.min(this.count, first + Math.ceil((this.element.clientHeight || 600) / ROW) + 8);
    const rows = [];
    for (let i = first; i < last; i++) {
      const row = h("div", { class: "row", role: "option", id: `row-${i}`, "aria-selected": String(i === this.at), "aria-setsize": String(this.count), "aria-posinset": String(i + 1) }, this.row(i));
      row.dataset.at = String(i);
      row.style.top = `${i * ROW}px`;
      rows.push(row);
    }
    this.space.replaceChildren(...rows);
    if (this.at >= first && this.at < last) this.element.setAttribute("aria-activedescendant", `row-${this.at}`);
    else this.element.removeAttribute("aria-activedescendant");
  }

  key(event) {
    const page = Math.max(1, Math.floor(this.element.clientHeight / ROW) - 1);
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -this.count, End: this.count };
    if (event.key in moves) {
      event.preventDefault();
      this.select(Math.max(0, Math.min(this.count - 1, this.at + moves[event.key])), false);
    } else if (event.key === "Enter" && this.at >= 0) this.select(this.at, true);
  }

  /** `enter`: the reader wants to go to the entry, not only to have it beside the list. */
  select(at, enter) {
    if (at < 0 || at >= this.count) return;
    this.at = at;
    this.show(at);
    this.draw();
    this.open(at, enter);
  }

  show(at) {
    const { scrollTop, clientHeight } = this.element;
    if (at * ROW < scrollTop) this.element.scrollTop = at * ROW;
    else if ((at + 1) * ROW > scrollTop + clientHeight) this.element.scrollTop = (at + 1) * ROW - clientHeight;
  }
}

/**
 * Filters above a list above (beside) one entry.
 * `what`: {view, label, filters: [{value, label, test(entry)}], orders: [{value, label, compare}], entries(), id(entry),
 * textOf(entry), row(entry), detail(entry)}
 */
class Browser {
  constructor(what) {
    this.what = what;
    this.found = [];
    this.opened = null;
    this.count = h("span", { class: "soft small", role: "status" });
    this.search = h("input", { type: "search", placeholder: "Search", "aria-label": `Search ${what.label}` });
    this.filter = what.filters[0].value;
    this.order = what.orders[0].value;
    this.list = new LongList(what.label, (i) => what.row(this.found[i]), (i, enter) => this.choose(this.found[i], enter));
    this.detail = h("div", { class: "detail", tabindex: "-1", role: "region", "aria-label": "Chosen entry" });
    this.tools = h("div", { class: "tools" }, this.search, this.chips(), this.orders(), what.more || null, this.count);
    this.browse = h("div", { class: "browse" }, this.list.element, this.detail);
    this.element = h("section", {}, what.head ? what.head() : null, this.tools, this.browse);
    let waiting = 0;
    this.search.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => this.refresh(), 150);
    });
  }

  chips() {
    const name = `filter-${this.what.view}`;
    const choice = (filter, i) =>
      h("label", { class: "chip" }, h("input", { type: "radio", name, value: filter.value, checked: i === 0, onchange: () => this.set({ filter: filter.value }) }), h("span", {}, filter.label));
    return h("fieldset", {}, h("legend", {}, "Show"), this.what.filters.map(choice));
  }

  orders() {
    if (this.what.orders.length < 2) return null;
    const options = this.what.orders.map((order) => h("option", { value: order.value }, order.label));
    return h("select", { "aria-label": "Order", onchange: (event) => this.set({ order: event.target.value }) }, options);
  }

  set(change) {
    Object.assign(this, change);
    this.refresh();
  }

  /** Filter, search and sort anew; what is open stays open. */
  refresh() {
    const { filters, orders, entries, textOf, id } = this.what;
    const test = filters.find((filter) => filter.value === this.filter).test;
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const has = (entry) => {
      const text = textOf(entry).toLowerCase();
      return words.every((word) => text.includes(word));
    };
    const all = entries();
    this.found = all.filter((entry) => test(entry) && (!words.length || has(entry)));
    const compare = orders.find((order) => order.value === this.order).compare;
    if (compare) this.found.sort(compare);
    this.count.textContent = this.found.length === all.length ? plural(all.length, "entry").replace("entrys", "entries") : `${this.found.length.toLocaleString("en")} of ${all.length.toLocaleString("en")}`;
    this.list.fill(this.found.length, this.opened === null ? -1 : this.found.findIndex((entry) => id(entry) === this.opened));
    if (this.opened === null && this.found.length && innerWidth > 720) this.render(this.found[0]);
    if (!this.found.length && this.opened === null) this.detail.replaceChildren(h("p", { class: "soft" }, all.length ? "Nothing is like that." : this.what.none || "Nothing yet."));
  }

  choose(entry, enter) {
    this.opened = this.what.id(entry);
    history.replaceState(null, "", `#${this.what.view}/${encodeURIComponent(this.opened)}`);
    this.render(entry);
    if (enter || innerWidth <= 720) this.enter();
  }

  /** On a phone the entry takes the place of the list. */
  enter() {
    this.browse.classList.add("open");
    this.tools.classList.add("away");
    this.detail.focus({ preventScroll: true });
    if (innerWidth <= 720) scrollTo(0, 0);
  }

  leave() {
    this.browse.classList.remove("open");
    this.tools.classList.remove("away");
    this.list.draw();
    this.list.element.focus();
  }

  render(entry) {
    const back = h("button", { class: "back", type: "button", onclick: () => this.leave() }, "← Back to the list");
    this.detail.replaceChildren(back, ...this.what.detail(entry).filter(Boolean));
    this.detail.scrollTop = 0;
  }

  /** Show the entry of that id, wherever the filters stand; false where there is none. */
  go(wanted) {
    const entry = this.what.entries().find((each) => this.what.id(each) === wanted);
    if (!entry) return false;
    this.opened = wanted;
    this.refresh();
    const at = this.found.indexOf(entry);
    if (at >= 0) this.list.show(at);
    this.list.draw();
    this.render(entry);
    this.enter();
    return true;
  }
}
