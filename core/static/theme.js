// Runs before the first paint, so that a remembered choice never flashes the other colours.
(() => {
  "use strict";
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const read = () => {
    try {
      return localStorage.getItem("netops-theme") || "auto";
    } catch {
      return "auto";
    }
  };
  const apply = (choice) => {
    const dark = choice === "dark" || (choice === "auto" && system.matches);
    root.dataset.theme = choice;
    root.setAttribute("data-bs-theme", dark ? "dark" : "light");
    root.dispatchEvent(new Event("netops-theme"));
  };
  apply(read());
  system.addEventListener("change", () => apply(read()));
  const names = { auto: "follow the system", light: "light", dark: "dark" };
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    if (!button) return;
    const say = () => {
      const text = `Colours: ${names[read()]}`;
      button.setAttribute("aria-label", text);
      button.title = text;
    };
    say();
    button.addEventListener("click", () => {
      const next = { auto: "light", light: "dark", dark: "auto" }[read()];
      try {
        localStorage.setItem("netops-theme", next);
      } catch {
        // Without storage the choice lasts for this page.
      }
      apply(next);
      say();
    });
  });
})();
