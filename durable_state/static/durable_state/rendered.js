// Notes how the server rendered the live parts above this script. It runs while the page is parsed,
// before deferred scripts (Alpine, modules) change anything: what they do is then known as theirs.
"use strict";
{
  /** @type {WeakMap<Node, Node>} what morph.js compares with */
  const rendered = (globalThis[Symbol.for("durable-state.rendered")] ??= new WeakMap());
  const inert = document.createElement("template").content.ownerDocument;
  const remember = (live, copy) => {
    rendered.set(live, copy);
    const copies = copy.childNodes;
    live.childNodes.forEach((child, place) => remember(child, copies[place]));
  };
  for (const part of document.querySelectorAll("[data-live]")) {
    const complete = !part.contains(document.currentScript);
    if (complete && !rendered.has(part)) remember(part, inert.importNode(part, true));
  }
}
