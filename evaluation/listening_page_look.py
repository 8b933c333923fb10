"""The style sheet and the script of the listening page."""

from __future__ import annotations

from singsong.evaluation.spectrogram import palette

COLOUR_BAR = (
    '<i class="colours" aria-hidden="true" style="background:linear-gradient(90deg,'
    + ",".join(f"rgb({red},{green},{blue})" for red, green, blue in palette()[::15])
    + ')"></i>'
)

STYLE = """
:root { color-scheme: light dark; --ground: #f6f5f2; --card: #fff; --ink: #1d1c22;
  --quiet: #66636e; --line: #dedbd4; --accent: #8a2a80; }
@media (prefers-color-scheme: dark) { :root { --ground: #131217; --card: #1d1b22;
  --ink: #eceaf0; --quiet: #a29eac; --line: #34313c; --accent: #f08bd9; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 84rem; padding: 2rem clamp(1rem, 4vw, 3rem) 4rem;
  background: var(--ground); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { margin: 0 0 1.25rem; font-size: clamp(1.5rem, 4vw, 2.1rem); line-height: 1.2;
  letter-spacing: -0.015em; text-wrap: balance; }
h2 { margin: 0; font-size: 1.15rem; line-height: 1.35; }
h1, h2, li, dd, td, figcaption { overflow-wrap: anywhere; }
a { color: var(--accent); text-underline-offset: 0.2em; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
table { border-collapse: collapse; margin: 0 0 1.25rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.35rem 1.5rem 0.35rem 0; border-bottom: 1px solid var(--line);
  text-align: left; vertical-align: top; }
th { font-weight: 400; color: var(--quiet); }
.legend { display: flex; flex-wrap: wrap; align-items: center; gap: 0.3rem 0.6rem;
  color: var(--quiet); font-size: 0.85rem; }
.colours { display: inline-block; width: 8rem; height: 0.7rem; border-radius: 3px; }
nav ul { display: flex; flex-wrap: wrap; gap: 0.3rem 1.25rem; margin: 1rem 0 0; padding: 0;
  list-style: none; font-size: 0.95rem; }
section { margin-top: 1.75rem; padding: 1.25rem clamp(1rem, 2vw, 1.5rem) 1.5rem;
  background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
.figures { display: flex; flex-wrap: wrap; gap: 0.5rem 2rem; margin: 0.75rem 0 1.25rem; }
.figures dt { color: var(--quiet); font-size: 0.8rem; }
.figures dd { margin: 0; font-variant-numeric: tabular-nums; }
.sounds { display: grid; gap: 1.5rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); }
.sound { margin: 0; min-width: 0; display: flex; flex-direction: column; }
figcaption { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 1rem;
  margin-bottom: 0.4rem; }
figcaption span { color: var(--quiet); font-size: 0.8rem; font-variant-numeric: tabular-nums; }
.picture { position: relative; margin-top: auto; overflow: hidden; border-radius: 6px;
  background: #060614; }
.picture.seekable { cursor: pointer; }
.picture img { display: block; width: 100%; height: 9.5rem; }
.tick { position: absolute; left: 0; padding-left: 0.35rem; color: #fff; font-weight: 400;
  font-size: 0.65rem; line-height: 1; transform: translateY(50%); opacity: 0.85;
  text-shadow: 0 0 3px #000, 0 0 3px #000; pointer-events: none; }
.playhead { position: absolute; top: 0; bottom: 0; width: 2px; background: #fff;
  box-shadow: 0 0 4px #000; pointer-events: none; }
audio { display: block; width: 100%; height: 2.5rem; margin-top: 0.5rem; }
@media print { audio, nav { display: none; } section { break-inside: avoid; } }
"""

# Only one sound plays at a time, and the next sound of a clip continues at the position of the last
# one, to compare versions. A click on a spectrogram plays from there.
SCRIPT = """
for (const section of document.querySelectorAll("section")) {
  let seconds = 0;
  for (const sound of section.querySelectorAll(".sound")) {
    const audio = sound.querySelector("audio");
    const picture = sound.querySelector(".picture");
    const playhead = sound.querySelector(".playhead");
    const playFrom = (start) => { seconds = start; audio.play().catch(() => {}); };
    let from = null;
    audio.addEventListener("play", () => {
      for (const other of document.querySelectorAll("audio")) {
        if (other !== audio) other.pause();
      }
      if (from === null && Math.abs(audio.currentTime - seconds) > 0.1) from = seconds;
      if (from !== null && audio.readyState > 0) { audio.currentTime = from; from = null; }
    });
    audio.addEventListener("loadedmetadata", () => {
      if (from !== null) { audio.currentTime = from; from = null; }
    });
    audio.addEventListener("seeked", () => { seconds = audio.currentTime; });
    audio.addEventListener("ended", () => { seconds = 0; });
    const follow = () => {
      if (!audio.paused) seconds = audio.currentTime;
      playhead.hidden = !audio.currentTime;
      playhead.style.left = 100 * audio.currentTime / (audio.duration || 1) + "%";
      if (!audio.paused) requestAnimationFrame(follow);
    };
    audio.addEventListener("playing", follow);
    audio.addEventListener("timeupdate", follow);
    picture.classList.add("seekable");
    picture.addEventListener("click", (event) => {
      const box = picture.getBoundingClientRect();
      const part = (event.clientX - box.left) / box.width;
      const seek = () => {
        audio.currentTime = part * audio.duration;
        playFrom(audio.currentTime);
      };
      if (audio.readyState > 0) { seek(); return; }
      audio.addEventListener("loadedmetadata", seek, { once: true });
      audio.load();
    });
  }
}
"""
