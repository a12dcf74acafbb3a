document.addEventListener("DOMContentLoaded", () => {
  for (const e of document.querySelectorAll(".arithmatex")) {
    const display = e.tagName === "DIV";
    katex.render(e.textContent.trim().replace(/^\\[([]|\\[)\]]$/g, ""), e, { displayMode: display, throwOnError: false });
  }
});
