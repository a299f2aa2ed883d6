// A panel of buttons and keys. The page's own script defines `pressed` (a button) and `keyed` (a key; true if the page
// uses it), which push events to the server.
let spent = {}, since = performance.now(), shown = null;
const LONGEST_PAUSE = 60000; // ms

const panel = () => element.querySelector('[data-serial]');

// Time spent on what is in view, while the page is in view; a long pause counts as one minute.
function settle(counts = !document.hidden) {
  const now = performance.now();
  if (shown !== null && counts) spent[shown] = (spent[shown] || 0) + Math.min(now - since, LONGEST_PAUSE);
  since = now;
}
document.addEventListener('visibilitychange', () => settle(document.hidden)); // it was in view until now
function seconds() {
  settle();
  const taken = (spent[shown] || 0) / 1000;
  spent[shown] = 0;
  return Math.round(taken * 100) / 100;
}
// Press one of several buttons, or release it if it was pressed. This shows at once; the server's answer decides.
function toggled(button) {
  const now = button.getAttribute('aria-pressed') !== 'true';
  for (const other of button.parentElement.querySelectorAll('button')) other.setAttribute('aria-pressed', 'false');
  button.setAttribute('aria-pressed', String(now));
  return now;
}
function answered() {
  const now = panel();
  if (!now) return;
  if ('reload' in now.dataset) {
    location.reload();
    return;
  }
  const place = now.dataset.set + ' ' + now.dataset.at;
  if (place !== shown) {
    settle();
    if (shown === null || !place.startsWith(shown.split(' ')[0])) spent = {};
    shown = place;
  }
  say(now.dataset.say);
  received(Number(now.dataset.serial));
}

element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-do]');
  if (button && panel() && button.getAttribute('aria-disabled') !== 'true') pressed(button);
});
// A click with the mouse leaves the focus where it was, so that Space is not a second click.
element.addEventListener('mousedown', (event) => event.target.closest('button') && event.preventDefault());

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.defaultPrevented || !panel()) return;
  const on = document.querySelector('#keys input');
  if (on && !on.checked) return;
  const target = event.target;
  if (target.closest('input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable], #result')) return;
  if (event.code === 'Space' && target.closest('button, a, summary, input, [role=button], [role=tab]')) return; // these elements use Space themselves
  if (keyed(event)) event.preventDefault();
});
// The same for buttons in the rest of the page.
document.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (event.detail > 0 && button && !element.contains(button)) button.blur();
});

// A new panel replaces the old one; the button that had the focus gets it back.
let focused = null;
element.addEventListener('focusin', (event) => { focused = event.target.dataset.id || null; });
element.addEventListener('focusout', (event) => { if (event.relatedTarget) focused = null; });
new MutationObserver(() => {
  answered();
  if (focused && !element.contains(document.activeElement))
    (element.querySelector(`[data-id="${focused}"]`) || element.querySelector('[data-id=next]'))?.focus();
}).observe(element, {childList: true, subtree: true, attributes: true, attributeFilter: ['data-serial']});
answered();
