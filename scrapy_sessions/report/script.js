"use strict";
// The page is complete without this script, which sorts and filters tables, adds times in the reader's zone, and switches
// between light and dark.
(() => {
  const shownAtFirst = matchMedia("(max-width: 640px)").matches ? 10 : 50;
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  const button = document.getElementById("theme");
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches);
  const setLabel = () => { button.textContent = isDark() ? "Light" : "Dark"; };
  button.hidden = false;
  button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; setLabel(); });
  prefersDark.addEventListener("change", setLabel);
  setLabel();

  const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const local = (seconds) => format.format(new Date(seconds * 1000));
  for (const time of all("time")) {
    time.title = `${format.format(new Date(time.dateTime))} in your time`;
  }
  for (const group of all("g[data-from]")) {
    const { from, to } = group.dataset;
    const until = to === undefined ? "" : ` to ${local(to)}`;
    group.querySelector("title").textContent += `\n${local(from)}${until} in your time`;
  }

  const collator = new Intl.Collator(undefined, { numeric: true });
  for (const table of all("table.sorting")) {
    const name = table.id.slice("table-".length);
    const part = (kind) => document.querySelector(`[data-${kind}="${name}"]`);
    const [filter, chooser, counter, more] = ["filter", "sort", "count", "more"].map(part);
    const heads = all("thead th", table);
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
    let showAll = rows.length <= shownAtFirst;

    const show = () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      let found = 0;
      for (const row of body.rows) {
        const fits = words.every((word) => texts.get(row).includes(word));
        found += fits;
        row.hidden = !fits || (!showAll && found > shownAtFirst);
      }
      more.hidden = showAll || found <= shownAtFirst;
      more.textContent = `Show all ${found}`;
      counter.textContent = `${found} of ${rows.length}`;
    };

    const sortBy = (column, descending) => {
      const isNumber = heads[column].classList.contains("n");
      const value = (row) => row.cells[column].dataset.v;
      const compare = isNumber ? (a, b) => value(a) - value(b) : (a, b) => collator.compare(value(a), value(b));
      body.append(...[...body.rows].sort((a, b) => (descending ? compare(b, a) : compare(a, b))));
      heads.forEach((head, place) => {
        if (place === column) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
        else head.removeAttribute("aria-sort");
      });
      chooser.value = `${column} ${descending}`;
      show();
    };

    chooser.append(new Option("original order", ""));
    heads.forEach((head, column) => {
      const isNumber = head.classList.contains("n");
      const sorter = document.createElement("button");
      sorter.type = "button";
      sorter.textContent = head.textContent;
      sorter.addEventListener("click", () => {
        const before = head.getAttribute("aria-sort");
        sortBy(column, before ? before === "ascending" : isNumber);
      });
      head.replaceChildren(sorter);
      for (const descending of isNumber ? [true, false] : [false, true]) {
        const order = isNumber ? ["lowest first", "highest first"] : ["A to Z", "Z to A"];
        chooser.append(new Option(`${sorter.textContent}, ${order[Number(descending)]}`, `${column} ${descending}`));
      }
    });
    chooser.addEventListener("change", () => {
      if (!chooser.value) {
        body.append(...rows);
        heads.forEach((head) => head.removeAttribute("aria-sort"));
        show();
        return;
      }
      const [column, descending] = chooser.value.split(" ");
      sortBy(Number(column), descending === "true");
    });
    filter.addEventListener("input", show);
    more.addEventListener("click", () => { showAll = true; show(); });
    filter.closest(".tools").hidden = false;
    show();
  }
})();
