document.addEventListener("DOMContentLoaded", () => {
  for (const e of document.querySelectorAll(".arithmatex")) {
    const display = e.tagName === "DIV";
    katex.render(e.textContent.trim().replace(/^\\[([]|\\[)\]]$/g, ""), e, { displayMode: display, throwOnError: false });
  }
  // No column so narrow that it has one word per line: a wide table scrolls.
  for (const e of document.querySelectorAll(".md-typeset td, .md-typeset th")) {
    const text = e.textContent.trim(), longest = Math.max(...text.split(/\s+/).map((word) => word.length));
    e.style.minWidth = `${Math.min(text.length, 2 * longest + 2) + 4}ch`;
  }
});
