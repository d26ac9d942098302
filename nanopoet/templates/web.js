// The request: read from the form and from a link, sent, and answered.
const find = id => document.getElementById(id);
const form = find("request"), poems = find("poems");
const WISHES = ["author", "title", "opening", "rhyme", "rhyme_characters", "rhyme_from", "acrostic", "draft"];
const SAMPLING = ["temperature", "top_p", "top_k", "count"];
let reading = null; // aborts the current request

function make(tag, text, attributes = {}) {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function both(english, chinese) {
  return [make("span", english, { class: "en", lang: "en" }), make("span", chinese, { class: "zh", lang: "zh-Hans" })];
}

function report(english, chinese) {
  find("status").replaceChildren(...both(english, chinese));
}

// An error that has no Chinese sentence is none that the page can cause.
function reportError(answer) {
  report(answer.error, answer.error_zh ?? "无法写诗：" + answer.error);
}

function setLanguage(language) {
  document.documentElement.lang = language;
  for (const button of document.querySelectorAll("[data-language]"))
    button.setAttribute("aria-pressed", String(button.dataset.language === language));
}

const newSeed = () => crypto.getRandomValues(new Uint32Array(1))[0];

// Leaves out what is empty or as by default, so that a link is short.
function readForm() {
  const field = form.elements, request = {};
  const style = field.form.value === "tune" ? field.tune.value.trim() : field.form.value;
  if (style) request.form = style;
  for (const name of WISHES)
    if (!field[name].disabled && field[name].value.trim()) request[name] = field[name].value.trim();
  const words = field.keywords.value.split(/[\s,，、;；]+/).filter(word => word);
  if (words.length) request.keywords = words;
  if (field.keep_rules.checked) request.keep_rules = true;
  for (const name of SAMPLING)
    if (Number(field[name].value) !== Number(field[name].defaultValue)) request[name] = Number(field[name].value);
  request.seed = field.seed.value === "" ? newSeed() : Number(field.seed.value);
  return request;
}

function linkOf(request) {
  const link = new URLSearchParams();
  for (const [name, value] of Object.entries(request)) link.set(name, name === "keywords" ? value.join(" ") : value);
  return `?${link}`;
}

function fillForm(link) {
  for (const [name, value] of link) {
    if (name === "form") {
      const choice = [...form.elements.form].find(radio => radio.value === value && value !== "tune");
      (choice ?? find("by-tune")).checked = true;
      if (!choice) form.elements.tune.value = value;
    } else if (name === "keep_rules") form.elements.keep_rules.checked = value === "true";
    else if ([...WISHES, ...SAMPLING, "keywords"].includes(name)) form.elements[name].value = value;
  }
  for (const more of form.querySelectorAll("details"))
    more.open = [...more.querySelectorAll("input")].some(input => input.value !== input.defaultValue);
  showTune();
}

function showTune() {
  find("tune-field").hidden = form.elements.form.value !== "tune";
}

async function* eventsOf(request, signal) {
  const answer = await fetch("poems", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(request),
    signal,
  });
  if (!answer.ok) {
    yield { event: "error", ...await answer.json() };
    return;
  }
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = "", part; !(part = await reader.read()).done;) {
    const lines = (rest + part.value).split("\n");
    rest = lines.pop();
    for (const line of lines) yield JSON.parse(line);
  }
}

function stopReading() {
  reading?.abort();
  reading = null;
  for (const busy of poems.querySelectorAll("[aria-busy]")) busy.removeAttribute("aria-busy");
  for (const waiting of poems.querySelectorAll(".pending")) waiting.classList.remove("pending");
}

// Ends what is being written, and begins with something else.
async function instead(work) {
  stopReading();
  const mine = reading = new AbortController();
  find("notes").replaceChildren();
  try {
    await work(mine.signal);
  } catch (error) {
    if (mine.signal.aborted) return;
    report("The server does not answer: is nanopoet still running?", "服务器没有回应：nanopoet 还在运行吗？");
  } finally {
    if (reading === mine) stopReading();
  }
}

function addNote(note) {
  const row = make("p", "", { class: "quiet" });
  row.append(...both(note.text, `“${note.given}”按“${note.understood}”理解。`));
  find("notes").append(row);
}

async function write(request, signal) {
  poems.replaceChildren();
  report("Writing …", "正在写……");
  // On a phone the poems are below the form.
  if (find("status").getBoundingClientRect().bottom > innerHeight) find("poems-title").scrollIntoView();
  let current = null, done = 0;
  for await (const event of eventsOf(request, signal)) {
    if (event.event === "error") return reportError(event);
    if (event.event === "note") {
      addNote(event);
      continue;
    }
    current ??= newArticle();
    if (event.event === "draft") showDraft(current, event.text);
    else {
      showPoem(current, event, request);
      current = null;
      report(`Done: ${done += 1}, seed ${request.seed}`, `写完 ${done} 首，随机种子 ${request.seed}`);
    }
  }
}

function submit(seed) {
  const request = readForm();
  if (seed !== undefined) request.seed = seed;
  if (form.elements.form.value === "tune" && !request.form) {
    form.elements.tune.focus();
    return report("Give the name of a tune.", "请填词牌名。");
  }
  history.replaceState(null, "", linkOf(request));
  find("copy").hidden = false;
  return instead(signal => write(request, signal));
}

async function copyLink() {
  try {
    await navigator.clipboard.writeText(location.href);
    report("The link is copied.", "链接已复制。");
  } catch {
    report("This browser does not let the page copy: take the link from the address bar.", "浏览器不允许复制，请从地址栏复制链接。");
  }
}

function start() {
  form.addEventListener("submit", event => {
    event.preventDefault();
    submit();
  });
  form.addEventListener("change", showTune);
  // Enter ends the composition of a character by an input method, and nothing else.
  form.addEventListener("keydown", event => {
    if (event.key === "Enter" && isComposing(event)) event.preventDefault();
  }, true);
  // The browser points at a value that is not allowed, which has to be visible for that.
  form.addEventListener("invalid", event => { event.target.closest("details").open = true; }, true);
  find("stop").addEventListener("click", () => {
    stopReading();
    report("Stopped.", "已停止。");
  });
  find("copy").addEventListener("click", copyLink);
  for (const button of document.querySelectorAll("[data-language]")) button.addEventListener("click", () => setLanguage(button.dataset.language));
  if (navigator.language.startsWith("zh")) setLanguage("zh-Hans");
  followCells();
  searchNames(form.elements.author, "authors");
  searchNames(form.elements.tune, "tunes");
  const link = new URLSearchParams(location.search);
  if (![...link].length) return showTune();
  fillForm(link);
  // The seed stays out of the form, so that the button writes another poem.
  const seed = Number(link.get("seed") ?? newSeed());
  if (form.reportValidity()) submit(seed);
}
