// Search among names while they are typed: https://www.w3.org/WAI/ARIA/apg/patterns/combobox/
const SOON = 120; // milliseconds without another key before it searches

// Some browsers say so only by the key code, for the Enter that ends the composition.
function isComposing(event) {
  return event.isComposing || event.keyCode === 229;
}

function searchNames(input, address) {
  const list = find(input.getAttribute("aria-controls"));
  let chosen = -1, searches = 0, timer = 0;

  function close() {
    clearTimeout(timer);
    searches += 1; // an answer that comes later is not shown
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    choose(-1);
  }

  function choose(number) {
    list.children[chosen]?.setAttribute("aria-selected", "false");
    chosen = number;
    const option = list.children[chosen];
    if (!option) return input.removeAttribute("aria-activedescendant");
    option.setAttribute("aria-selected", "true");
    option.scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", option.id);
  }

  function take(option) {
    input.value = option.dataset.name;
    close();
  }

  function show(names) {
    choose(-1);
    list.replaceChildren(...names.map(({ name, poems }, number) => {
      const option = make("li", name, { role: "option", id: `${input.id}-${number}`, "aria-selected": "false", "data-name": name });
      const count = make("span", "");
      count.append(...both(poems === 1 ? "1 poem" : `${poems.toLocaleString("en")} poems`, `${poems} 首`));
      option.append(count);
      return option;
    }));
    list.hidden = !names.length;
    input.setAttribute("aria-expanded", String(names.length > 0));
    find("found").replaceChildren(...both(`${names.length} names`, `找到 ${names.length} 个`));
  }

  async function search() {
    const mine = searches += 1;
    let names;
    try {
      names = await (await fetch(`${address}?search=${encodeURIComponent(input.value)}`)).json();
    } catch {
      return report("The server does not answer: is nanopoet still running?", "服务器没有回应：nanopoet 还在运行吗？");
    }
    if (mine === searches) show(names);
  }

  function searchSoon() {
    clearTimeout(timer);
    timer = setTimeout(search, SOON);
  }

  input.addEventListener("input", event => { if (!event.isComposing) searchSoon(); });
  input.addEventListener("compositionend", searchSoon);
  input.addEventListener("blur", close);
  input.addEventListener("keydown", event => {
    if (isComposing(event)) return;
    const { key } = event, count = list.children.length;
    if (key === "ArrowDown" || key === "ArrowUp") {
      if (list.hidden) search();
      else if (key === "ArrowDown") choose((chosen + 1) % count);
      else choose((Math.max(chosen, 0) + count - 1) % count);
    } else if (key === "Enter" && chosen >= 0) take(list.children[chosen]);
    else if (key === "Escape" && !list.hidden) close();
    else {
      if (key === "Enter") close();
      return;
    }
    event.preventDefault();
  });
  // The field keeps the focus while the list is clicked or scrolled.
  list.addEventListener("pointerdown", event => event.preventDefault());
  list.addEventListener("mousedown", event => event.preventDefault());
  list.addEventListener("click", event => {
    const option = event.target.closest("[role=option]");
    if (option) take(option);
  });
}
