// The annotator's keyboard: 1-9 choose, A takes the model's guess, Enter saves, S skips; and the time an answer took.
(() => {
  const shown = performance.now();

  function begin() {
    const form = document.getElementById("annotate");
    if (!form) return;
    const text = form.querySelector("textarea");
    if (text) text.focus();
    form.addEventListener("submit", (event) => {
      if (form.dataset.sent) {
        event.preventDefault(); // a second Enter is not a second answer
        return;
      }
      form.dataset.sent = "1";
      form.elements.lead_time_ms.value = Math.round(performance.now() - shown);
    });
    window.addEventListener("pageshow", () => delete form.dataset.sent); // back in the browser's history

    const press = (name) => form.querySelector(`button[name=${name}]`).click();

    document.addEventListener("keydown", (event) => {
      if (event.altKey || event.metaKey || event.isComposing) return;
      const writing = event.target.matches("textarea, input:not([type=radio]):not([type=checkbox])");
      if (event.key === "Enter" && (event.ctrlKey || !writing)) {
        if (event.target.matches("a, button, summary")) return;
        event.preventDefault();
        press("save");
      } else if (!writing && !event.ctrlKey && /^[1-9]$/.test(event.key)) {
        const choices = form.querySelectorAll("input[name=choice]");
        const choice = choices[Number(event.key) - 1];
        if (choice) choice.click();
      } else if (!writing && !event.ctrlKey && event.key.toLowerCase() === "a") {
        form.querySelectorAll("[data-suggested]").forEach((choice) => {
          if (choice.matches("option")) choice.selected = true;
          else choice.checked = true;
        });
      } else if (!writing && !event.ctrlKey && event.key.toLowerCase() === "s") {
        press("skip");
      }
    });
  }

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
