// The colours and patterns of patches, on the slide and on the map of patches beside it.
const map = element.querySelector('#seed-map'), CELL = 8;
const RAMP = [[0, 34, 78], [87, 93, 109], [165, 156, 116], [254, 232, 56]]; // cividis
const PATTERNS = [ // each class has a pattern too, for people who do not see its colour
  () => false,
  (x, y) => (x + y) % 8 < 2,
  (x, y) => x % 4 < 2 && y % 4 < 2,
  (x, y) => y % 4 < 1,
  (x, y) => (x - y + 8) % 8 < 2,
  (x) => x % 4 < 1,
];
function ramp(share) {
  const place = Math.min(share * (RAMP.length - 1), RAMP.length - 1.001), low = Math.floor(place);
  return RAMP[low].map((value, index) => Math.round(value + (place - low) * (RAMP[low + 1][index] - value)));
}
// The colour of a patch in a view: [red, green, blue], or null.
function colourOf(patch, show, step, classes) {
  if (show === 'colours') return slide.colours.subarray(3 * patch, 3 * patch + 3);
  if (!step) return null;
  if (show === 'confidence') return ramp(step.confidence[patch] / 255);
  return show === 'classes' ? rgbOf(classes[step.labels[patch]].colour) : null;
}
const mixed = (colour) => colour.map((value) => Math.round(value + 0.45 * ((inkOnRgb(colour) ? 0 : 255) - value)));
const inkOnRgb = ([red, green, blue]) => 0.3 * red + 0.59 * green + 0.11 * blue > 110;

function drawSheet(show, step, classes) {
  const side = slide.rows * slide.columns > 40000 ? 4 : CELL;
  sheet.width = slide.columns * side;
  sheet.height = slide.rows * side;
  sheet.dataset.show = step || show === 'colours' ? show : 'none';
  const pixels = new ImageData(sheet.width, sheet.height), tones = new Map();
  for (let patch = 0; patch < slide.count; patch += 1) {
    const colour = colourOf(patch, show, step, classes);
    if (!colour) continue;
    const pattern = show === 'classes' ? PATTERNS[step.labels[patch]] : PATTERNS[0];
    if (!tones.has(colour.join())) tones.set(colour.join(), mixed([...colour]));
    const other = tones.get(colour.join()), top = slide.row(patch) * side, left = slide.column(patch) * side;
    for (let y = 0; y < side; y += 1) for (let x = 0; x < side; x += 1) {
      const tone = pattern(x, y) ? other : colour;
      pixels.data.set([tone[0], tone[1], tone[2], 255], 4 * ((top + y) * sheet.width + left + x));
    }
  }
  sheet.getContext('2d').putImageData(pixels, 0, 0);
}
function swatch(name, colour) {
  const made = document.createElement('canvas'), tone = rgbOf(colour), other = mixed(tone);
  made.width = made.height = 16;
  made.className = 'swatch';
  made.setAttribute('aria-hidden', 'true');
  const pixels = new ImageData(16, 16);
  for (let y = 0; y < 16; y += 1) for (let x = 0; x < 16; x += 1)
    pixels.data.set([...(PATTERNS[name](x, y) ? other : tone), 255], 4 * (16 * y + x));
  made.getContext('2d').putImageData(pixels, 0, 0);
  return made;
}

// The map of patches.
const MARGIN = 14;
function mapPoint(patch) {
  const [wide, high] = slide.reach, width = map.clientWidth, height = map.clientHeight;
  const scale = Math.min((width - 2 * MARGIN) / wide, (height - 2 * MARGIN) / high);
  return [width / 2 + (slide.map[2 * patch] - wide / 2) * scale, height / 2 - (slide.map[2 * patch + 1] - high / 2) * scale];
}
function drawMap(show, step, classes, seeds, marked) {
  const ratio = devicePixelRatio || 1, width = map.clientWidth, height = map.clientHeight;
  if (!slide || !width) return;
  map.width = width * ratio;
  map.height = height * ratio;
  const pen = map.getContext('2d');
  pen.scale(ratio, ratio);
  for (let patch = 0; patch < slide.count; patch += 1) {
    const colour = colourOf(patch, show, step, classes), [x, y] = mapPoint(patch);
    pen.fillStyle = colour && inkOnRgb(colour) ? 'rgb(0 0 0 / .4)' : 'rgb(255 255 255 / .7)'; // seen on light and on dark
    pen.fillRect(x - 1.75, y - 1.75, 3.5, 3.5);
    pen.fillStyle = colour ? `rgb(${colour[0]} ${colour[1]} ${colour[2]})` : '#8b93a1';
    pen.fillRect(x - 1.25, y - 1.25, 2.5, 2.5);
  }
  pen.font = '700 11px system-ui, sans-serif';
  pen.textAlign = 'center';
  pen.textBaseline = 'middle';
  for (const [patch, name] of seeds) {
    const [x, y] = mapPoint(patch);
    dot(pen, x, y, 8, classes[name].colour);
    pen.fillStyle = inkOn(classes[name].colour);
    pen.fillText(name + 1, x, y + 0.5);
  }
  for (const patch of marked) if (patch !== null) {
    const [x, y] = mapPoint(patch);
    for (const [wide, colour] of [[5, '#fff'], [2.5, '#111']]) {
      pen.lineWidth = wide;
      pen.strokeStyle = colour;
      pen.beginPath();
      pen.arc(x, y, 9, 0, 7);
      pen.stroke();
    }
  }
}
function dot(pen, x, y, radius, colour) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 7);
  pen.fillStyle = colour;
  pen.fill();
  pen.lineWidth = 1.5;
  pen.strokeStyle = '#fff';
  pen.stroke();
}
function patchOnMap(event) {
  if (!slide) return null;
  const {left, top} = map.getBoundingClientRect();
  let best = null, nearest = 14 ** 2;
  for (let patch = 0; patch < slide.count; patch += 1) {
    const [x, y] = mapPoint(patch), far = (x - event.clientX + left) ** 2 + (y - event.clientY + top) ** 2;
    if (far < nearest) [best, nearest] = [patch, far];
  }
  return best;
}
