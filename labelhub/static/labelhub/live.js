// Keeps what carries data-poll moving: asks the job's state every second, and reloads the page when it has ended.
(() => {
  const SECONDS = 1;

  async function follow(element) {
    for (;;) {
      await new Promise((wake) => setTimeout(wake, SECONDS * 1000));
      if (document.hidden) continue;
      let job;
      try {
        const answer = await fetch(element.dataset.poll, { headers: { Accept: "application/json" } });
        if (!answer.ok) return;
        job = await answer.json();
      } catch {
        continue; // the server is away for a moment
      }
      const bar = element.querySelector(".hub-bar i");
      if (bar) bar.style.width = `${job.progress}%`;
      const percent = element.querySelector(".hub-percent");
      if (percent) percent.textContent = `${job.progress}%`;
      if (job.finished) {
        window.location.reload();
        return;
      }
    }
  }

  const begin = () => document.querySelectorAll("[data-poll]").forEach(follow);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", begin);
  else begin();
})();
