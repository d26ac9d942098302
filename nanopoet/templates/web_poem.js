// Poems as they are shown, and characters and lines that are written anew.
const TONES = { level: "平", oblique: "仄", either: "两读", unknown: "？" };
const KEPT = ["form", "author", "title", "rhyme", "keep_rules", "temperature", "top_p", "top_k"];
// A character that is chosen may become another than was asked for; those of a line may not.
const KEPT_IN_LINE = [...KEPT, "acrostic", "keywords", "rhyme_characters", "rhyme_from"];
const ENDS = {{ line_ends | tojson }}, LEFT_OUT = {{ left_out | tojson }}; // of a line, and of a draft
const TIMES = 10; // attempts to write something else than what is there
const written = new WeakMap(); // article → its request and its text

function newArticle() {
  const element = make("article", "", { "aria-busy": "true" });
  element.append(make("div", "", { class: "poem", lang: "zh-Hant" }));
  poems.append(element);
  return element;
}

function ruby(c) {
  const element = make("ruby", c.text);
  element.append(make("rt", c.mark, { "aria-hidden": "true" }));
  if (c.rhyme) {
    element.className = c.held ? "rhyme" : "rhyme broken";
    element.title = c.rhyme;
  }
  return element;
}

function showDraft(element, text) {
  const lines = [...text].map(c => ENDS.includes(c) ? "\n" : c).join("").split("\n").filter(line => line);
  element.firstChild.replaceChildren(...lines.map(line => {
    const row = make("p", "");
    row.append(...[...line].map(character => ruby({ text: character, mark: "\u00a0" })));
    return row;
  }));
}

function showPoem(element, event, request) {
  written.set(element, { request, event });
  const poem = make("div", "", { class: "poem", lang: "zh-Hant", role: "grid", "aria-describedby": "rewrite-help" });
  poem.setAttribute("aria-label", document.documentElement.lang === "en" ? "Characters of the poem" : "诗中各字");
  poem.append(...event.lines.map((line, number) => {
    const row = make("p", "", { role: "row" });
    row.append(...line.map(cell), lineButton(number));
    return row;
  }));
  const spoken = make("div", "", { class: "hidden", lang: "zh-Hant" });
  spoken.append(...event.lines.map(line => make("p", line.map(c => c.text).join("") + "（" + line.map(c => TONES[c.tone]).join("") + "）")));
  element.replaceChildren(spoken, poem, summary(event));
  element.removeAttribute("aria-busy");
  const first = poem.querySelector("[tabindex]");
  if (first) first.tabIndex = 0;
}

function cell(c) {
  const element = ruby(c);
  for (const [name, value] of Object.entries({ role: "gridcell", tabindex: -1, "aria-label": `${c.text} ${TONES[c.tone]}` })) element.setAttribute(name, value);
  return element;
}

function lineButton(number) {
  const holder = make("span", "", { role: "gridcell" }), button = make("button", "", { type: "button", tabindex: -1 });
  const name = make("span", "", { class: "hidden" });
  name.append(...both(`Write line ${number + 1} anew`, `重写第 ${number + 1} 句`));
  button.append(make("span", "↻", { "aria-hidden": "true" }), name);
  holder.append(button);
  return holder;
}

function summary(event) {
  const row = make("p", "", { class: "quiet" });
  const rhymes = [...new Set(event.lines.flat().filter(c => c.rhyme).map(c => c.rhyme))].join("；");
  const answer = (value, yes, no) => value === null ? both("?", "未详") : value ? both(...yes) : both(...no);
  if (event.tune) row.append(make("span", event.tune, { lang: "zh-Hans" }));
  else if (event.form) {
    row.append(make("span", event.form, { lang: "zh-Hans" }), " · ");
    row.append(...answer(event.rhyme, ["rhymes", "押韵"], ["does not rhyme", "不押韵"]), " · ");
    row.append(...answer(event.regulated, ["tones regular", "平仄合律"], ["tones irregular", "平仄不合"]));
    row.append(" · ", make("span", rhymes, { lang: "zh-Hant" }));
  } else row.append(...both("in none of the four regular forms", "既非绝句，也非律诗"));
  return row;
}

// Places of the characters that are shown, line by line, in the text with its marks.
function placesOf(event) {
  const characters = [...event.text];
  let place = -1;
  return event.lines.map(line => line.map(c => place = characters.indexOf(c.text, place + 1)));
}

// The text with ■ in some places. A draft with ■ is taken as it is, and ？ is a mark in it.
function draftOf(event, blank) {
  return [...event.text].map((character, place) => blank.includes(place) ? "■" : LEFT_OUT.includes(character) ? "" : character).join("");
}

async function rewrite(element, line, place, signal) {
  const { request, event } = written.get(element), whole = place === null;
  const old = event.lines[line].map(c => c.text), places = placesOf(event)[line];
  const where = whole ? [`line ${line + 1}`, `第 ${line + 1} 句`] : [`line ${line + 1}, character ${place + 1}`, `第 ${line + 1} 句第 ${place + 1} 字`];
  const row = element.querySelectorAll("[role=row]")[line];
  for (const each of whole ? row.querySelectorAll("ruby") : [row.children[place]]) each.classList.add("pending");
  report(`Writing ${where[0]} anew …`, `正在重写${where[1]}……`);
  const kept = (whole ? KEPT_IN_LINE : KEPT).filter(name => name in request);
  const wishes = Object.fromEntries(kept.map(name => [name, request[name]]));
  const draft = draftOf(event, whole ? places : [places[place]]);
  for await (const answer of eventsOf({ ...wishes, draft, seed: newSeed(), count: TIMES }, signal)) {
    if (answer.event === "error") return reportError(answer);
    if (answer.event !== "poem" || answer.text === event.text) continue;
    showPoem(element, answer, request);
    const now = answer.lines[line].map(c => c.text);
    const [before, after] = whole ? [old.join(""), now.join("")] : [old[place], now[place]];
    report(`Rewrote ${where[0]}: ${before} → ${after}`, `已重写${where[1]}：${before} → ${after}`);
    moveTo(element, line, whole ? now.length : place);
    return;
  }
  report(`The model wrote the same again (${where[0]}).`, `写出来还是一样（${where[1]}）。`);
}

const stopsOf = row => [...row.querySelectorAll("[tabindex]")];

// Moves the one place where Tab enters the poem (a roving tabindex).
function moveTo(element, line, place) {
  const rows = [...element.querySelectorAll("[role=row]")];
  const stops = stopsOf(rows[Math.max(0, Math.min(line, rows.length - 1))]);
  for (const other of element.querySelectorAll("[tabindex]")) other.tabIndex = -1;
  const stop = stops[Math.max(0, Math.min(place, stops.length - 1))];
  stop.tabIndex = 0;
  stop.focus();
}

function followCells() {
  const whereIs = target => {
    const stop = target.closest("[role=row] [tabindex]"), row = stop?.closest("[role=row]");
    if (!stop) return null;
    return { element: row.closest("article"), line: [...row.parentNode.children].indexOf(row), place: stopsOf(row).indexOf(stop), last: stopsOf(row).length - 1 };
  };
  const choose = ({ element, line, place, last }) => {
    moveTo(element, line, place);
    instead(signal => rewrite(element, line, place === last ? null : place, signal));
  };
  poems.addEventListener("click", event => {
    const at = whereIs(event.target);
    if (at) choose(at);
  });
  poems.addEventListener("keydown", event => {
    const at = whereIs(event.target), { key } = event;
    if (!at || event.ctrlKey || event.altKey || event.metaKey) return;
    const { element, line, place, last } = at;
    if (key === "ArrowLeft") moveTo(element, line, place - 1);
    else if (key === "ArrowRight") moveTo(element, line, place + 1);
    else if (key === "ArrowUp") moveTo(element, line - 1, place);
    else if (key === "ArrowDown") moveTo(element, line + 1, place);
    else if (key === "Home") moveTo(element, line, 0);
    else if (key === "End") moveTo(element, line, last);
    else if (key === "Enter" || key === " ") choose(at);
    else return;
    event.preventDefault();
  });
}
