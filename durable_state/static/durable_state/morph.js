// Makes an element on the page what the server renders now, with as few changes as possible.
//
// Three versions are compared: what the server rendered before, what it renders now, and what is on
// the page. Only what differs between the first two is changed in the third. So what a person has
// typed, opened, scrolled to or focused stays, and so does what other scripts have done. Elements
// are recognized by `data-key` or `id`, the others by their content, their fields and their order.

/**
 * What the server rendered for each node on the page: an inert copy. Shared with rendered.js, which
 * fills it while the page is parsed. @type {WeakMap<Node, Node>}
 */
const rendered = (globalThis[Symbol.for("durable-state.rendered")] ??= new WeakMap());
/** Nothing is loaded, played or constructed in it. */
const inert = document.createElement("template").content.ownerDocument;

export const isRemembered = (live) => rendered.has(live);

/** Remembers a node of the page, with all inside it, as what the server rendered. */
export function remember(live, copy = inert.importNode(live, true)) {
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
  // A radio button that is added or changed would take the choice from the others of its group.
  const chosen = live.getRootNode().querySelectorAll("input[type=radio]:checked:not(:default)");
  morphNode(live, fresh, touched);
  for (const radio of chosen) radio.checked = true;
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
  if (isSame(before, fresh)) {
    fresh.replaceWith(before); // so that the copies of all that is inside stay those known here
    return false;
  }
  rendered.set(live, fresh);
  if (live.nodeType !== Node.ELEMENT_NODE) {
    morphData(live, fresh.nodeValue);
    return true;
  }
  if (live.hasAttribute("data-live-keep")) return false;
  const chosen = isTouched(live) ? choiceOf(live) : null;
  const caret = caretOf(live);
  let changed = morphAttributes(live, before, fresh);
  if (live.localName === "template") live.content.replaceChildren(fresh.content.cloneNode(true));
  else if (live.localName === "textarea") changed = morphText(live, before, fresh) || changed;
  else if (!isEdited(live, before))
    changed = morphChildren(live, before, fresh, touched) || changed;
  else if (!isEdited(live, fresh)) {
    // What was written has been saved.
    live.normalize();
    remember(live, fresh);
  }
  if (chosen === null) follow(live);
  else choose(live, chosen);
  if (caret) live.setSelectionRange(...caret);
  if (changed && keyOf(fresh)) touched.push(live);
  return changed;
}

// Unlike isEqualNode, this looks into templates too.
const isSame = (one, other) =>
  one.isEqualNode(other) && (!("outerHTML" in one) || one.outerHTML === other.outerHTML);

// Replaces only the characters that differ, so that a selection around them stays.
function morphData(live, now) {
  const old = live.data;
  const shorter = Math.min(old.length, now.length);
  let start = 0;
  while (start < shorter && old[start] === now[start]) start++;
  let end = 0;
  while (end < shorter - start && old.at(-1 - end) === now.at(-1 - end)) end++;
  live.replaceData(start, old.length - start - end, now.slice(start, now.length - end));
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
      if (field.type === "checkbox") return field.checked !== field.defaultChecked;
      if (field.type === "file") return field.value !== "";
      // A number or date that is only half typed is no value yet.
      if (field.validity.badInput) return true;
      return !UNTYPED.includes(field.type) && field.value !== field.defaultValue;
    default:
      return false;
  }
}
const UNTYPED = ["hidden", "radio"]; // radio buttons are compared by their group

// Whether somebody has written in an element that they may edit.
const isEdited = (live, before) =>
  live.hasAttribute("contenteditable") &&
  live.isContentEditable &&
  live.innerHTML !== before?.innerHTML;

// Where somebody is in a text, because the caret would jump with a new value.
const caretOf = (field) =>
  field.selectionEnd != null && field.matches(":focus")
    ? [field.selectionStart, field.selectionEnd, field.selectionDirection]
    : null;

// What was chosen in a field whose markup would choose otherwise.
const choiceOf = (field) =>
  field.localName === "select"
    ? [...field.selectedOptions].map(({ value }) => value)
    : field.checked;

function choose(field, chosen) {
  if (field.localName === "select") {
    const options = [...field.options];
    if (chosen.length && !options.some(({ value }) => chosen.includes(value))) follow(field);
    else for (const option of options) option.selected = chosen.includes(option.value);
  } else if (field.type === "checkbox") field.checked = chosen;
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

function morphChildren(parent, before, source, touched) {
  // What other scripts have added is theirs.
  const wanted = [...source.childNodes];
  recognize(parent, wanted);
  const old = [...parent.childNodes].filter((child) => rendered.has(child));
  const pairs = match(withRemoved(before, old), wanted);
  const found = new Set(pairs.values());
  let changed = false;

  for (const child of old) {
    if (found.has(child)) continue;
    changed = true;
    if (child.nodeType === Node.ELEMENT_NODE && holdsText(child))
      child.setAttribute("data-live-gone", "");
    else child.remove();
  }

  const staying = stay(pairs, wanted, old);
  let next = null;
  for (const child of wanted.reverse()) {
    let node = pairs.get(child);
    if (isRemoved(node) && (node.nodeType !== Node.ELEMENT_NODE || isSame(node, child))) continue;
    if (node === undefined || isRemoved(node)) {
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

// The nodes on the page that the server rendered, and the copies of those that a script has removed
// since: they are not shown again for being rendered as before. Nor is a text that a script has
// replaced by its own.
function withRemoved(before, old) {
  const byCopy = new Map(old.map((child) => [rendered.get(child), child]));
  const all = [...before.childNodes].map((copy) => byCopy.get(copy) ?? copy);
  return [...new Set([...all, ...old])];
}

const isRemoved = (node) => node !== undefined && !rendered.has(node);

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
function holdsText(row) {
  const focused = document.activeElement;
  // There may be a field in its shadow tree.
  if (row.contains(focused) && focused.localName.includes("-")) return true;
  return [row, ...row.querySelectorAll("input, textarea, [contenteditable]")].some(
    (field) =>
      isText(field) &&
      (field === focused || isTouched(field) || isEdited(field, rendered.get(field))),
  );
}

const BUTTONS = ["checkbox", "radio", "submit", "button", "reset", "image"];
const isText = (field) =>
  field.localName === "input"
    ? !BUTTONS.includes(field.type)
    : field.localName === "textarea" || field.isContentEditable;

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

const isChoice = (node) => node.localName === "input" && ["checkbox", "radio"].includes(node.type);
const keyOf = (node) => {
  if (node.nodeType !== Node.ELEMENT_NODE) return null;
  // Django numbers the ids of choices; which choice it is, its value says.
  return node.getAttribute("data-key") ?? ((!isChoice(node) && node.id) || null);
};
const keyedNameOf = (node) => `${node.nodeName}/${keyOf(node)}`;
const kindOf = (node) => {
  const name = isChoice(node) ? `${node.name || node.id}=${node.value}` : (node.name ?? "");
  return `${node.nodeName}/${node.type ?? ""}/${name}`;
};
const fieldsOf = (node) =>
  [...(node.querySelectorAll?.("input:not([type=hidden]), select, textarea") ?? [])]
    .map(kindOf)
    .join() || null;
const contentOf = (node) =>
  node.nodeType === Node.ELEMENT_NODE ? node.outerHTML : `${node.nodeName}/${node.nodeValue}`;

// Which node on the page becomes which wanted one: by key, then by equal content, then by the fields
// inside (what was typed for one row may not become another's), then in order among nodes of the
// same kind.
function match(old, wanted) {
  const pairs = new Map();
  const taken = new Set();
  const pass = (nameOf) => {
    const places = new Map();
    for (const node of old) {
      if (taken.has(node)) continue;
      const name = nameOf(rendered.get(node) ?? node);
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
  pass(unkeyed(fieldsOf));
  pass(unkeyed(kindOf));
  return pairs;
}

// The nodes that need not be moved: the focused one in any case, and as many others as possible
// that are already in order.
function stay(pairs, wanted, old) {
  const places = new Map(old.map((node, place) => [node, place]));
  let nodes = wanted.map((child) => pairs.get(child)).filter((node) => places.has(node));
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
