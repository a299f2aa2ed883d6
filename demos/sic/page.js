// The visitor's clicks and keys, and the server's answers.
let now = null, told = null, opening = null; // the state in view, the last one received, the slide being opened
let later = []; // keys that wait for the answer to the keys before them
let chosen = 0, cursor = null, hovered = null, show = 'classes', step = 0;
const find = (what) => element.querySelector(what);
abandoned = () => { later = []; };

function tell(...event) {
  if (!now) return;
  stage.setAttribute('aria-busy', true);
  push(...event);
}
function inTurn(action) {
  later.push(action);
  goOn();
}
function goOn() {
  while (later.length && !sent) later.shift()();
}

// The slide and the state arrive separately, and are shown once they belong together.
function watch(id, heard) {
  const host = document.getElementById(id);
  if (!host) return void requestAnimationFrame(() => watch(id, heard));
  let last = null;
  const look = () => {
    const holder = host.querySelector('[data-json]');
    if (!holder || holder.dataset.json === last) return;
    if ('reload' in holder.dataset) return location.reload();
    last = holder.dataset.json;
    heard(JSON.parse(last));
  };
  new MutationObserver(look).observe(host, {childList: true, subtree: true, attributes: true});
  look();
}
watch('seed-data', (data) => {
  if (opening === data.layout.token) return;
  opening = data.layout.token;
  [now, cursor, hovered, later] = [null, null, null, []];
  const first = slide === null;
  openSlide(data, () => {
    warning.hidden = true;
    settle();
    if (!first) stage.scrollIntoView({block: 'nearest'});
  });
});
watch('seed-state', (state) => {
  told = state;
  settle();
});
function settle() {
  if (!told || !slide || told.key !== slide.key || !viewer?.isOpen()) return;
  const steps = told.steps.map((one) => ({...one, labels: unpack(one.labels, Uint8Array), confidence: unpack(one.confidence, Uint8Array)}));
  const first = now === null;
  now = {...told, steps, lost: new Set(told.lost)};
  step = now.answer;
  chosen = Math.min(chosen, now.classes.length - 1);
  received(now.serial);
  panel();
  drawSeeds(now.seeds, now.classes, now.lost);
  paint();
  place(cursorBox, cursor);
  place(hoverBox, hovered);
  if (first) requestAnimationFrame(() => viewer.viewport.goHome(true)); // the panel has its height now
  else say(now.say);
  stage.dataset.ready = now.key;
  stage.setAttribute('aria-busy', sent !== null);
  goOn();
}

// The panel.
function panel() {
  const list = find('.classes > div'), names = now.classes.map((one) => one.name).join();
  if (list.dataset.names !== names) {
    list.dataset.names = names;
    list.replaceChildren(...now.classes.map((one, index) => {
      const label = document.createElement('label'), input = document.createElement('input'), key = document.createElement('kbd');
      [input.type, input.name, input.value] = ['radio', 'seed-class', index];
      key.textContent = index + 1;
      const name = document.createElement('span'), count = document.createElement('span');
      [name.className, name.textContent, count.className] = ['name', one.name, 'count'];
      label.append(input, swatch(index, one.colour), key, name, count);
      return label;
    }));
  }
  list.querySelectorAll('label').forEach((label, index) => {
    const {seeds} = now.classes[index];
    label.querySelector('.count').textContent = `${seeds} seed${seeds === 1 ? '' : 's'}`;
    label.querySelector('input').checked = index === chosen;
  });
  find('[data-do=undo]').setAttribute('aria-disabled', !now.undo);
  find('[data-do=clear]').setAttribute('aria-disabled', !now.seeds.length);
  find('[data-do=next]').setAttribute('aria-disabled', now.next === null);
  find('#seed-hold').checked = now.held;
  find('.result').textContent = now.say;
  find('.steps-of').hidden = !now.steps.length;
  const slider = find('#seed-step');
  slider.max = Math.max(0, now.steps.length - 1);
  slider.disabled = now.steps.length < 2;
  slider.value = step;
}
function paint() {
  if (!now) return;
  const shown = now.steps[step];
  if (shown) {
    const text = `${step + 1} of ${now.steps.length}${step === now.answer ? ', the answer' : ''}`;
    find('.steps-of output').textContent = text;
    find('#seed-step').setAttribute('aria-valuetext', `${text}: ${shown.text}`);
    find('.steps-of p').textContent = shown.text;
  }
  find('.ramp-of').hidden = show !== 'confidence';
  sheet.style.opacity = find('#seed-opacity').value / 100;
  drawSheet(show, shown, now.classes);
  paintMap();
}
let awaited = 0;
function paintMap() {
  if (awaited) return;
  awaited = requestAnimationFrame(() => {
    awaited = 0;
    if (now) drawMap(show, now.steps[step], now.classes, now.seeds, [cursor, hovered]);
  });
}
new ResizeObserver(paintMap).observe(map);

// Actions.
function drop(patch, name) {
  if (now && name < now.classes.length) tell('seed', patch, name);
}
function moveTo(patch, speak = true, closer = false) {
  cursor = patch;
  place(cursorBox, cursor);
  bringIntoView(patch, closer);
  paintMap();
  if (speak) say(about(patch));
}
function choose(name) {
  chosen = name;
  element.querySelectorAll('[name=seed-class]').forEach((input, index) => { input.checked = index === name; });
}
function about(patch) {
  const found = now.steps[step], seed = now.seeds.find(([seeded]) => seeded === patch);
  const text = `Row ${slide.row(patch) + 1}, column ${slide.column(patch) + 1}`;
  const kind = found ? `: ${now.classes[found.labels[patch]].name}, confidence ${Math.round(found.confidence[patch] / 2.55)} %` : '';
  return `${text}${kind}.${seed ? ` A seed of ${now.classes[seed[1]].name}.` : ''}`;
}
function hover(patch) {
  if (patch === hovered) return;
  hovered = patch;
  place(hoverBox, patch);
  paintMap();
}
// Go to the nearest patch in a direction; rows and columns may have gaps.
function walk(down, right) {
  if (cursor === null) return moveTo(now.next ?? 0);
  let best = null, nearest = Infinity;
  for (let patch = 0; patch < slide.count; patch += 1) {
    const y = slide.row(patch) - slide.row(cursor), x = slide.column(patch) - slide.column(cursor);
    const along = down ? y * down : x * right, aside = Math.abs(down ? x : y);
    if (along > 0 && aside <= along && along + 3 * aside < nearest) [best, nearest] = [patch, along + 3 * aside];
  }
  if (best === null) say('No more patches in this direction.');
  else moveTo(best);
}
function act(what) {
  if (!now) return;
  if (what === 'undo' && now.undo) tell('undo');
  else if (what === 'clear' && now.seeds.length) tell('clear');
  else if (what === 'next' && now.next !== null) {
    stage.focus({preventScroll: true});
    moveTo(now.next, false, true);
    say(`A seed helps most here. ${about(now.next)}`);
  }
  else if (['in', 'out', 'whole'].includes(what)) zoom(what);
}
const ARROWS = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]};
const ZOOMS = {'+': 'in', '=': 'in', '-': 'out', '0': 'whole'};
stage.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !now) return;
  const inButton = event.target.closest('button');
  const digit = /^(?:Digit|Numpad)([1-6])$/.exec(event.code);
  if (event.key in ARROWS) inTurn(() => walk(...ARROWS[event.key]));
  else if (event.key in ZOOMS) zoom(ZOOMS[event.key]);
  else if (digit && !event.repeat) {
    const name = Number(digit[1]) - 1;
    if (name >= now.classes.length) return;
    inTurn(() => {
      if (cursor === null) moveTo(now.next ?? 0);
      choose(name);
      drop(cursor, name);
    });
  }
  else if ((event.key === 'Enter' || event.key === ' ') && !inButton && cursor !== null) inTurn(() => drop(cursor, chosen));
  else if (event.key === 'Backspace') inTurn(() => act('undo'));
  else if (event.key === 'n' || event.key === 'N') inTurn(() => act('next'));
  else return;
  event.preventDefault();
  event.stopPropagation();
});
stage.addEventListener('focus', () => { if (now && cursor === null && stage.matches(':focus-visible')) moveTo(now.next ?? 0); });
stage.addEventListener('pointermove', (event) => {
  if (!now || event.pointerType === 'touch') return;
  const {left, top} = viewer.element.getBoundingClientRect();
  hover(patchAt(new OpenSeadragon.Point(event.clientX - left, event.clientY - top)));
});
stage.addEventListener('pointerleave', () => hover(null));
map.addEventListener('pointermove', (event) => now && event.pointerType !== 'touch' && hover(patchOnMap(event)));
map.addEventListener('pointerleave', () => hover(null));
map.addEventListener('click', (event) => {
  const patch = now && patchOnMap(event);
  if (patch === null || !now) return;
  moveTo(patch, false);
  drop(patch, chosen);
});
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-do]');
  if (button && button.getAttribute('aria-disabled') !== 'true') act(button.dataset.do);
});
element.addEventListener('change', ({target}) => {
  if (target.name === 'seed-class') chosen = Number(target.value);
  if (target.name === 'seed-show') [show] = [target.value], paint();
  if (target.id === 'seed-hold') tell('hold', target.checked);
});
element.addEventListener('input', ({target}) => {
  if (target.id === 'seed-opacity') sheet.style.opacity = target.value / 100;
  if (target.id === 'seed-step' && now) {
    step = Number(target.value);
    paint();
  }
});
