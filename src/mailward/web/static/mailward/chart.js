// The values of a day beside its bar: by pointer, or with the arrow keys while the chart has the focus.
"use strict";
for (const plot of document.querySelectorAll(".chart-plot")) {
  const picture = plot.querySelector("svg");
  const tip = plot.querySelector(".chart-tip");
  const days = [...plot.querySelectorAll(".chart-day")];
  for (const day of days) {
    // without script the browser shows the title; with it ours is quicker, and both would be one too many
    const title = day.querySelector("title");
    day.dataset.values = title.textContent;
    title.remove();
  }
  let now = -1;

  const show = (index) => {
    days[now]?.classList.remove("chart-now");
    now = index;
    const day = days[index];
    tip.hidden = !day;
    if (!day) return;
    day.classList.add("chart-now");
    tip.textContent = day.dataset.values;
    const frame = plot.getBoundingClientRect();
    const bar = day.getBoundingClientRect();
    const middle = bar.left + bar.width / 2 - frame.left;
    const left = Math.min(Math.max(middle - tip.offsetWidth / 2, 0), frame.width - tip.offsetWidth);
    tip.style.left = `${left}px`;
  };

  picture.addEventListener("pointermove", (event) => show(days.indexOf(event.target.closest(".chart-day"))));
  picture.addEventListener("pointerleave", () => show(-1));
  picture.addEventListener("blur", () => show(-1));
  picture.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || !days.length) return;
    event.preventDefault();
    show(now < 0 ? days.length - 1 : Math.min(Math.max(now + step, 0), days.length - 1));
  });
}
