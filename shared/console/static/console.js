// Tells the page that there are news, keeps opened parts open, and logs in by the link that `chorus console` prints.
(() => {
  const token = /^#token=(.+)$/.exec(location.hash);
  const login = document.getElementById("login");
  if (login && token) {
    history.replaceState(null, "", location.pathname);
    document.getElementById("token").value = decodeURIComponent(token[1]);
    login.submit();
    return;
  }

  const live = document.body.dataset.live;
  const pulse = document.getElementById("pulse");
  const pause = document.getElementById("pause");
  if (!live) return;
  let paused = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    if (!paused) htmx.trigger(document.body, "news");
  });
  const source = new EventSource(live);
  let first = true;
  source.addEventListener("news", (event) => {
    const said = JSON.parse(event.data);
    pulse.textContent = `${said.per_s} events/s`;
    if (!first && !paused && !document.hidden) htmx.trigger(document.body, "news");
    first = false;
  });
  source.addEventListener("error", () => { pulse.textContent = "not connected"; });

  let open = new Set();
  document.body.addEventListener("htmx:beforeSwap", () => {
    open = new Set([...document.querySelectorAll("details[open]")].map((one) => one.id));
  });
  document.body.addEventListener("htmx:afterSwap", () => {
    for (const one of document.querySelectorAll("details")) if (open.has(one.id)) one.open = true;
  });
})();
