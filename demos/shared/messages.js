// Messages to the server, in order: events that happen while an answer is awaited go with the next message. Each message
// has a number, so that one that is sent twice counts once. The page's own script calls `push`, and `received` with the
// number of the last message that the server has seen; `abandoned` is called when the server does not answer at all.
let pending = [], sent = null, tries = 0, timer = null, serial = 0, abandoned = () => {};
const PATIENCE = 6000; // ms
const SILENT = 'The server does not answer, so your last step is not saved yet. If this message stays, reload the page.';

const live = document.createElement('p');
live.className = 'unseen';
live.setAttribute('aria-live', 'polite');
const warning = document.createElement('p');
warning.className = 'notice silent';
warning.setAttribute('role', 'alert');
warning.hidden = true;
document.body.append(live, warning);
function say(text) { if (live.textContent !== text) live.textContent = text; }
function complain(text) { [warning.textContent, warning.hidden] = [text, false]; }

function push(...event) {
  pending.push(event);
  send();
}
function send() {
  if (sent || !pending.length) return;
  serial += 1;
  sent = JSON.stringify({serial, events: pending.splice(0)});
  post();
}
function post() {
  if (++tries > 1) complain(SILENT);
  if (tries > 3) { // the server is gone, or the page shows an error
    [pending, sent, tries] = [[], null, 0];
    abandoned();
    return;
  }
  trigger('select', {index: 0, value: sent});
  timer = setTimeout(post, PATIENCE);
}
function received(number) {
  if (sent && number >= serial) {
    clearTimeout(timer);
    if (tries > 1) warning.hidden = true;
    [sent, tries] = [null, 0];
  }
  serial = Math.max(serial, number);
  send();
}
