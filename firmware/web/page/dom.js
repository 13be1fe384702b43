// Elements made of plain data. Text is always text: nothing here takes markup.

const SVG = "http://www.w3.org/2000/svg";

/** Makes an element: `quiet({ title: "…" }, children)`; attributes may be left out, `.name` sets a property, `onclick` listens. */
export const h = (tag, ...rest) => dress((name) => document.createElement(name), tag, rest);

/** The same within SVG. */
export const s = (tag, ...rest) => dress((name) => document.createElementNS(SVG, name), tag, rest);

function dress(make, tag, children) {
  const [name, ...classes] = tag.split(".");
  const node = make(name);
  const attributes = children[0]?.constructor === Object ? children.shift() : {};
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key.startsWith(".")) node[key.slice(1)] = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.classList.add(...classes);
  add(node, children);
  return node;
}

/** Words of less weight. */
export const quiet = (...words) => h("p.quiet", ...words);

/** An identity, an address, a line of code: broken anywhere. */
export const mono = (...words) => h("span.mono.wrap", ...words);

/** What names a row. */
export const strong = (...words) => h("strong", ...words);

function add(node, children) {
  for (const child of children) {
    if (child === undefined || child === null || child === false) continue;
    if (Array.isArray(child)) add(node, child);
    else node.append(child instanceof Node ? child : String(child));
  }
}

/** Replaces what a node holds. */
export function fill(node, ...children) {
  const held = document.createDocumentFragment();
  add(held, children);
  node.replaceChildren(held);
  return node;
}

/** Sets text only where it differs, so that a screen reader and the layout are left alone. */
export function text(node, value) {
  const wanted = String(value);
  if (node.textContent !== wanted) node.textContent = wanted;
}

/** Sets or removes an attribute only where it differs. */
export function attribute(node, name, value) {
  if (value === undefined || value === null || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, String(value));
}

/** A picture of the sheet in index.html. */
export function icon(name) {
  return s(`svg.icon.i-${name}`, { "aria-hidden": "true" }, s("use", { href: `#i-${name}` }));
}

/**
 * Keeps children of `parent` in step with `items`: makes what is new, updates what stays, moves only what is out of place.
 * Long lists are dealt with a slice at a time, so that typing and scrolling never wait.
 */
export class Keyed {
  constructor(parent, key, make, update) {
    Object.assign(this, { parent, key, make, update, nodes: new Map(), run: 0 });
  }

  set(items) {
    const run = ++this.run;
    const wanted = new Set(items.map(this.key));
    for (const [key, held] of this.nodes) {
      if (!wanted.has(key)) {
        held.node.remove();
        this.nodes.delete(key);
      }
    }
    let at = 0;
    let place = this.parent.firstChild;
    const slice = () => {
      if (run !== this.run) return;
      const until = performance.now() + 8;
      while (at < items.length && performance.now() < until) {
        const item = items[at++];
        const key = this.key(item);
        let held = this.nodes.get(key);
        if (!held) {
          held = this.make(item);
          this.nodes.set(key, held);
        }
        this.update(held, item);
        if (held.node === place) place = place.nextSibling;
        else this.parent.insertBefore(held.node, place);
      }
      if (at < items.length) setTimeout(slice);
    };
    slice();
  }
}

/** Says something to a screen reader alone. */
export function say(words) {
  const place = document.getElementById("said");
  place.textContent = "";
  setTimeout(() => { place.textContent = words; }, 50);
}

/** Shows a sentence for a few seconds. */
export function toast(words, kind = "good") {
  const note = h(`p.toast.${kind}`, icon(kind), " ", words);
  document.getElementById("toasts").append(note);
  setTimeout(() => note.remove(), 7000);
}

let counted = 0;

/** An id that no other element has. */
export function fresh(prefix) {
  counted += 1;
  return `${prefix}-${counted}`;
}
