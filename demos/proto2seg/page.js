// Buttons and keys of the page `proto2seg`, for `panel.js`.
const MIXTURE = -1;

function pressed(button) {
  const {do: what, index, value} = button.dataset, cluster = Number(panel().dataset.at);
  if (what === 'name') {
    toggled(button);
    push('name', cluster, Number(value), seconds());
  } else if (what === 'go') push('go', Number(index));
  else push(what, seconds());
}

function keyed(event) {
  const digit = /^(?:Digit|Numpad)([0-9])$/.exec(event.code);
  const arrows = !event.shiftKey && !event.target.closest('input, [role=radiogroup], [role=slider], [role=tab]');
  if (digit || event.code === 'KeyM') {
    const name = Number(digit ? digit[1] : 0) - 1; // 0 and M are MIXTURE
    if (name > MIXTURE && !element.querySelector(`[data-do=name][data-value="${name}"]`)) return false;
    push('key', name, seconds());
  } else if (event.code === 'Space' || (arrows && event.code === 'ArrowRight')) push('next', seconds());
  else if (arrows && event.code === 'ArrowLeft') push('back', seconds());
  else if (event.code === 'Backspace') push('undo', seconds());
  else return false;
  return true;
}

// A click on a cluster's dots goes to it. Its numbered button does the same for the keyboard.
document.addEventListener('click', (event) => {
  const dots = event.target.closest('#plane [data-go]');
  if (dots && panel()) push('go', Number(dots.dataset.go));
});

setInterval(() => {
  const shown_for = element.querySelector('.running');
  if (!shown_for || document.hidden) return;
  const since_then = Math.min(performance.now() - since, LONGEST_PAUSE) + (spent[shown] || 0);
  shown_for.textContent = `${Math.floor(Number(shown_for.dataset.spent) + since_then / 1000)} s`;
}, 1000);
