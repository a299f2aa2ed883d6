// The buttons and keys for tagging; `panel.js` calls these functions.
function pressed(button) {
  const {do: what, index, value} = button.dataset, patch = Number(panel().dataset.patch);
  if (what === 'set') {
    toggled(button);
    push('set', patch, Number(index), value === 'true', seconds());
  } else if (what === 'go') push('go', Number(index));
  else push(what, seconds());
}

function keyed(event) {
  const digit = /^(?:Digit|Numpad)([1-9])$/.exec(event.code);
  if (digit) {
    const index = Number(digit[1]) - 1;
    if (index >= element.querySelectorAll('.tag').length) return false;
    push('toggle', index, seconds());
  } else if (event.code === 'Space') push('next', seconds());
  else if (event.code === 'Backspace') push('undo', seconds());
  else return false;
  return true;
}
