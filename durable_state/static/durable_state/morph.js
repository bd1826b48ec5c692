// Makes an element on the page what the server renders now, with as few changes as possible.
//
// Three versions are compared: what the server rendered before, what it renders now, and what is on
// the page. Only what differs between the first two is changed in the third. So what a person has
// typed, opened, scrolled to or focused stays, and so does what other scripts have done. Elements
// are recognized by `data-key` or `id`, the others by their content and order.

/**
 * What the server rendered for each node on the page: an inert copy. @type {WeakMap<Node, Node>}
 */
const rendered = new WeakMap();

/** Remembers a node of the page, with all inside it, as what the server rendered. */
export function remember(live, copy = live.cloneNode(true)) {
  rendered.set(live, copy);
  const copies = copy.childNodes;
  live.childNodes.forEach((child, place) => remember(child, copies[place]));
}

/**
 * Makes an element on the page equal to `fresh`, an inert element. Returns the elements with a key
 * or an id that were added or changed.
 */
export function morph(live, fresh) {
  const touched = [];
  morphNode(live, fresh, touched);
  return touched.filter((element) => element !== live);
}

/**
 * Remembers that nodes inside a remembered element were rendered by the server too, although
 * another script has put them there.
 */
export function adopt(...nodes) {
  for (const node of nodes) {
    if (rendered.has(node) || !rendered.has(node.parentNode)) continue;
    remember(node);
    outdate(node);
  }
}

/**
 * Notes that what is inside an element was changed without what is around it, which is then no
 * longer taken to be as it was rendered.
 */
export function outdate(live) {
  for (let around = live.parentNode; rendered.has(around); around = around.parentNode)
    rendered.set(around, rendered.get(around).cloneNode(false));
}

// Returns whether it has changed anything on the page.
function morphNode(live, fresh, touched) {
  const before = rendered.get(live);
  if (before.isEqualNode(fresh)) return false;
  rendered.set(live, fresh);
  if (live.nodeType !== Node.ELEMENT_NODE) {
    live.nodeValue = fresh.nodeValue;
    return true;
  }
  if (live.hasAttribute("data-live-keep")) return false;
  const chosen = isTouched(live) ? choiceOf(live) : null;
  let changed = morphAttributes(live, before, fresh);
  if (live.localName === "template")
    live.content.replaceChildren(document.importNode(fresh.content, true));
  else if (live.localName === "textarea") changed = morphText(live, before, fresh) || changed;
  else changed = morphChildren(live, fresh, touched) || changed;
  if (chosen === null) follow(live);
  else choose(live, chosen);
  if (changed && keyOf(fresh)) touched.push(live);
  return changed;
}

function morphAttributes(live, before, fresh) {
  let changed = false;
  for (const name of new Set([...before.getAttributeNames(), ...fresh.getAttributeNames()])) {
    const [old, now] = [before.getAttribute(name), fresh.getAttribute(name)];
    if (old === now) continue;
    if (name === "class") mergeClasses(live, before, fresh);
    else if (now === null) live.removeAttribute(name);
    else live.setAttribute(name, now);
    // Django masks its token anew each time; nobody has to be told.
    changed ||= !(name === "value" && live.name === "csrfmiddlewaretoken") && name !== "data-live";
  }
  return changed;
}

function mergeClasses(live, before, fresh) {
  if (live.className === before.className) {
    live.className = fresh.className;
    return;
  }
  for (const each of before.classList)
    if (!fresh.classList.contains(each)) live.classList.remove(each);
  for (const each of fresh.classList)
    if (!before.classList.contains(each)) live.classList.add(each);
}

function morphText(live, before, fresh) {
  if (before.textContent === fresh.textContent) return false;
  live.defaultValue = fresh.textContent; // shown only where nothing was typed
  return true;
}

// Whether a person or a script has changed what is in a field.
function isTouched(field) {
  switch (field.localName) {
    case "textarea":
      return field.value !== field.defaultValue;
    case "select":
      return !isDefault(field);
    case "input":
      if (field.type === "radio") return groupOf(field).some(isSwitched);
      if (field.type === "checkbox") return isSwitched(field);
      if (field.type === "file") return field.value !== "";
      return field.type !== "hidden" && field.value !== field.defaultValue;
    default:
      return false;
  }
}

const isSwitched = (field) => field.checked !== field.defaultChecked;

// All radio buttons that exclude each other.
function groupOf(radio) {
  const around = radio.form ?? radio.getRootNode();
  const all = [...around.querySelectorAll("input[type=radio]")];
  return all.filter((each) => each.name === radio.name && each.form === radio.form);
}

// What was chosen in a field whose markup would choose otherwise.
function choiceOf(field) {
  if (field.localName === "select") return [...field.selectedOptions].map(({ value }) => value);
  if (field.type === "radio") return groupOf(field).find((each) => each.checked);
  return field.checked;
}

function choose(field, chosen) {
  if (field.localName === "select") {
    for (const option of field.options) option.selected = chosen.includes(option.value);
  } else if (field.type === "checkbox") field.checked = chosen;
  else if (field.type === "radio" && chosen) chosen.checked = true;
}

function isDefault(select) {
  const options = [...select.options];
  if (options.every((option) => option.selected === option.defaultSelected)) return true;
  // With none selected by the server, the first one is.
  return (
    !select.multiple &&
    !options.some((option) => option.defaultSelected) &&
    select.selectedIndex === options.findIndex((option) => !option.disabled)
  );
}

// A field that was once typed into no longer follows its attributes, so its value is set.
function follow(field) {
  if (field.localName === "input" && ["checkbox", "radio"].includes(field.type)) {
    if (field.checked !== field.defaultChecked) field.checked = field.defaultChecked;
  } else if (
    (field.localName === "input" && field.type !== "file") ||
    field.localName === "textarea"
  ) {
    if (field.value !== field.defaultValue) field.value = field.defaultValue;
  } else if (field.localName === "select" && !isDefault(field)) {
    for (const option of field.options) option.selected = option.defaultSelected;
  }
}

// ---- children ---------------------------------------------------------------------------------

function morphChildren(parent, source, touched) {
  // What other scripts have added is theirs.
  const wanted = [...source.childNodes];
  recognize(parent, wanted);
  const old = [...parent.childNodes].filter((child) => rendered.has(child));
  const pairs = match(old, wanted);
  const found = new Set(pairs.values());
  let changed = false;

  for (const child of old) {
    if (found.has(child)) continue;
    changed = true;
    if (
      child.nodeType === Node.ELEMENT_NODE &&
      [child, ...child.querySelectorAll("input, textarea")].some(holdsText)
    )
      child.setAttribute("data-live-gone", "");
    else child.remove();
  }

  const staying = stay(pairs, wanted, old);
  let next = null;
  for (const child of wanted.reverse()) {
    let node = pairs.get(child);
    if (node === undefined) {
      node = document.importNode(child, true);
      remember(node, child);
      parent.insertBefore(node, next);
      note(node, touched);
      changed = true;
    } else {
      if (!staying.has(node) && node.nextSibling !== next) {
        move(parent, node, next);
        changed = true;
      }
      changed = morphNode(node, child, touched) || changed;
      if (node.nodeType === Node.ELEMENT_NODE) node.removeAttribute("data-live-gone");
    }
    next = node;
  }
  return changed;
}

// An element that a script has put in place of the server's has its key. It is taken for the
// server's, or there would be two.
function recognize(parent, wanted) {
  const byKey = (nodes) => new Map(nodes.filter(keyOf).map((node) => [keyedNameOf(node), node]));
  const nodes = [...parent.childNodes];
  const known = byKey(nodes.filter((child) => rendered.has(child)));
  const others = byKey(nodes.filter((child) => !rendered.has(child)));
  for (const name of byKey(wanted).keys())
    if (others.has(name) && !known.has(name)) remember(others.get(name));
}

// A row that the server no longer has stays for as long as it holds what somebody has typed.
const BUTTONS = ["checkbox", "radio", "submit", "button", "reset", "image"];
const holdsText = (field) =>
  (field.localName === "textarea" ||
    (field.localName === "input" && !BUTTONS.includes(field.type))) &&
  (field === document.activeElement || isTouched(field));

function note(node, touched) {
  if (node.nodeType !== Node.ELEMENT_NODE) return;
  if (keyOf(node)) touched.push(node);
  for (const each of node.children) note(each, touched);
}

function move(parent, node, next) {
  if (parent.moveBefore && node.isConnected)
    parent.moveBefore(node, next); // keeps frames, animations and what is scrolled
  else parent.insertBefore(node, next);
}

const keyOf = (node) =>
  node.nodeType === Node.ELEMENT_NODE ? (node.getAttribute("data-key") ?? (node.id || null)) : null;
const keyedNameOf = (node) => `${node.nodeName}/${keyOf(node)}`;
const kindOf = (node) => `${node.nodeName}/${node.type ?? ""}/${node.name ?? ""}`;
const contentOf = (node) =>
  node.nodeType === Node.ELEMENT_NODE ? node.outerHTML : `${node.nodeName}/${node.nodeValue}`;

// Which node on the page becomes which wanted one: by key, then by equal content, then in order
// among nodes of the same kind.
function match(old, wanted) {
  const pairs = new Map();
  const taken = new Set();
  const pass = (nameOf) => {
    const places = new Map();
    for (const node of old) {
      if (taken.has(node)) continue;
      const name = nameOf(rendered.get(node));
      if (name === null) continue;
      places.has(name) ? places.get(name).push(node) : places.set(name, [node]);
    }
    for (const child of wanted) {
      if (pairs.has(child)) continue;
      const node = places.get(nameOf(child))?.shift();
      if (node === undefined) continue;
      pairs.set(child, node);
      taken.add(node);
    }
  };
  const unkeyed = (nameOf) => (node) => (keyOf(node) === null ? nameOf(node) : null);
  pass((node) => (keyOf(node) === null ? null : keyedNameOf(node)));
  pass(unkeyed(contentOf));
  pass(unkeyed(kindOf));
  return pairs;
}

// The nodes that need not be moved: the focused one in any case, and as many others as possible
// that are already in order.
function stay(pairs, wanted, old) {
  const places = new Map(old.map((node, place) => [node, place]));
  let nodes = wanted.map((child) => pairs.get(child)).filter((node) => node !== undefined);
  const focused = nodes.findIndex((node) => node.contains(document.activeElement));
  if (focused >= 0) {
    const place = places.get(nodes[focused]);
    nodes = nodes.filter(
      (node, index) => index === focused || index < focused === places.get(node) < place,
    );
  }

  // The longest increasing subsequence of places: for each length, the lowest possible end.
  const ends = [];
  const before = new Map();
  for (const node of nodes) {
    let [low, high] = [0, ends.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (places.get(ends[middle]) < places.get(node)) low = middle + 1;
      else high = middle;
    }
    before.set(node, ends[low - 1]);
    ends[low] = node;
  }
  const staying = new Set();
  for (let node = ends.at(-1); node !== undefined; node = before.get(node)) staying.add(node);
  return staying;
}
