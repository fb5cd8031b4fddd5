// Keeps what carries data-poll moving: asks for its state every second, and reloads the page when it has ended.
// What carries data-live is told whole parts of the page, which are put where data-part names them.
(() => {
  const SECONDS = 1;
  const known = new Map(); // part of the page -> what it shows
  let leaving = false; // a form was sent: to reload now would take away the message that its answer brings
  document.addEventListener("submit", (event) => { leaving = !event.defaultPrevented; });

  async function follow(element) {
    for (;;) {
      await new Promise((wake) => setTimeout(wake, SECONDS * 1000));
      if (document.hidden) continue;
      let job;
      try {
        const answer = await fetch(element.dataset.live || element.dataset.poll, { headers: { Accept: "application/json" } });
        if (answer.status >= 500) continue; // it is being restarted, or has too much to do
        if (!answer.ok) return;
        job = await answer.json();
      } catch {
        continue; // the server is away for a moment
      }
      for (const [name, content] of Object.entries(job.parts || {})) {
        const place = document.querySelector(`[data-part="${name}"]`);
        if (place && known.get(place) !== content) {
          place.innerHTML = content; // made by the hub, which escapes what it quotes
          known.set(place, content);
        }
      }
      const bar = element.querySelector(".hub-bar i");
      if (bar) bar.style.width = `${job.progress}%`;
      const percent = element.querySelector(".hub-percent");
      if (percent) percent.textContent = `${job.progress}%`;
      const moved = element.dataset.status && element.dataset.status !== job.status;
      if (leaving) return;
      if (job.finished || moved) {
        window.location.reload();
        return;
      }
    }
  }

  const begin = () => document.querySelectorAll('[data-poll], [data-live]:not([data-live=""])').forEach(follow);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
