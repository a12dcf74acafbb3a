// What a machine sees of a page: clipped text, overflow without a cue, tables of one word per line. Answers with a list.
const done = arguments[arguments.length - 1];
const flaws = new Set();
const short = (s) => JSON.stringify(s.trim().replace(/\s+/g, " ").slice(0, 60));
const scrolls = (style) => ["auto", "scroll"].includes(style.overflowX);
// A scroll container shows that there is more by shadows at its edges, an ellipsis by itself.
const cue = (style) => style.backgroundAttachment.includes("local") || style.textOverflow === "ellipsis";
const look = () => {
  const wide = document.documentElement.scrollWidth - innerWidth;
  if (wide > 0) flaws.add(`the page is ${wide} px wider than the screen`);
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, parent = node.parentElement;
    if (!node.data.trim() || parent.closest("script, style, noscript, .katex-mathml") || !parent.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const box = range.getBoundingClientRect();
    if (box.width < 2 || box.right < 0 || box.bottom + scrollY < 0) continue; // for screen readers, or in a drawer
    let inside = false;
    for (let e = parent; e !== document.body; e = e.parentElement) {
      const style = getComputedStyle(e), own = e.getBoundingClientRect();
      if (style.overflowX === "visible" || style.display === "inline") continue;
      if (box.right <= own.right + 1 && box.left >= own.left - 1) continue;
      if (!cue(style)) flaws.add(`${scrolls(style) ? "scrolls without a cue" : "clipped"}: ${short(node.data)} in ${e.tagName}.${e.className}`);
      inside = true;
      break;
    }
    if (!inside && box.right > innerWidth + 1) flaws.add(`beyond the screen: ${short(node.data)}`);
  }
  for (const svg of document.querySelectorAll("svg[role=img]")) {
    const own = svg.getBoundingClientRect();
    for (const word of svg.querySelectorAll("text, [id*='-text_']")) {
      const box = word.getBoundingClientRect();
      if (box.width && (box.left < own.left - 1 || box.right > own.right + 1 || box.top < own.top - 1 || box.bottom > own.bottom + 1))
        flaws.add(`clipped in a figure: ${word.id || word.textContent} of ${svg.getAttribute("aria-label")}`);
    }
  }
  for (const cell of document.querySelectorAll("td, th")) {
    const words = cell.textContent.trim().split(/\s+/).length, lines = new Set();
    const range = document.createRange();
    range.selectNodeContents(cell);
    for (const box of range.getClientRects()) if (box.width > 1 && box.height < 40) lines.add(Math.round(box.bottom / 6));
    if (words > 2 && lines.size >= words) flaws.add(`one word per line: ${short(cell.textContent)}`);
  }
  done([...flaws]);
};
document.fonts.ready.then(() => setTimeout(look, 100));
