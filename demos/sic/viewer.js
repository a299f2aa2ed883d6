// The slide: OpenSeadragon with DeepZoom tiles and overlays. A patch is its number here.
const stage = element.querySelector('#seed-stage'), TILES = '../slides/';
const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
let viewer = null, slide = null; // slide: see readSlide
const sheet = document.createElement('canvas'), cursorBox = box('cursor'), hoverBox = box('hover');
sheet.className = 'sheet';
let markers = [];

function box(name) {
  const made = document.createElement('div');
  made.className = name;
  return made;
}
function unpack(text, Kind) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Kind(bytes.buffer);
}
function readSlide(told) {
  const cells = unpack(told.cells, Uint16Array), [rows, columns] = told.grid, {Width, Height} = told.layout.Image.Size;
  const map = unpack(told.map, Uint16Array), at = new Map(), reach = [1, 1]; // the largest x and y on the map
  for (let index = 0; index < map.length; index += 1) reach[index % 2] = Math.max(reach[index % 2], map[index]);
  for (let patch = 0; patch < cells.length / 2; patch += 1) at.set(cells[2 * patch] * columns + cells[2 * patch + 1], patch);
  return {
    ...told, at, rows, columns, width: Width, height: Height, count: cells.length / 2,
    row: (patch) => cells[2 * patch], column: (patch) => cells[2 * patch + 1],
    map, reach, colours: unpack(told.colours, Uint8Array),
  };
}
const loaded = new Promise((done, failed) => {
  const script = document.createElement('script');
  script.src = TILES + 'openseadragon.js';
  script.onload = done;
  script.onerror = failed;
  document.head.append(script);
});
async function openSlide(told, opened) {
  try { await loaded; } catch { return complain('The viewer could not be loaded. Reload the page.'); }
  slide = readSlide(told);
  if (!viewer) startViewer();
  markers = [];
  viewer.clearOverlays();
  viewer.addOnceHandler('open', () => {
    const [x, y] = slide.origin, {pitch, rows, columns} = slide;
    viewer.addOverlay({element: sheet, location: area(x, y, columns * pitch, rows * pitch)});
    for (const made of [hoverBox, cursorBox]) viewer.addOverlay({element: made, location: area(x, y, pitch, pitch)});
    opened();
    scaleBar();
  });
  const {Image, token} = told.layout;
  viewer.open({Image: {
    xmlns: 'http://schemas.microsoft.com/deepzoom/2008', Url: new URL(`${TILES}${token}/`, location.href).href, ...Image,
  }});
}
function startViewer() {
  const calm = {clickToZoom: false, dblClickToZoom: false};
  viewer = OpenSeadragon({
    element: stage.querySelector('.canvas'), prefixUrl: '', showNavigationControl: false, drawer: 'canvas', tabIndex: -1,
    clickTimeThreshold: 1500, // ms; a slow hand clicks too
    animationTime: still ? 0 : 0.5, visibilityRatio: 0.6, minZoomImageRatio: 0.8, maxZoomPixelRatio: 3,
    gestureSettingsMouse: calm, gestureSettingsTouch: calm, gestureSettingsPen: calm, gestureSettingsUnknown: calm,
  });
  viewer.addHandler('canvas-key', (event) => { event.preventDefaultAction = true; }); // the page handles the keys
  viewer.addHandler('canvas-click', (event) => {
    if (!event.quick) return;
    const patch = patchAt(event.position);
    if (patch === null) say('There is no patch here, because there is no tissue.');
    else { moveTo(patch, false); drop(patch, chosen); }
  });
  viewer.addHandler('animation', scaleBar);
  viewer.addHandler('resize', scaleBar);
  viewer.addHandler('tile-load-failed', () => complain('A part of the slide did not arrive. Reload the page; then upload your own slide again.'));
  viewer.addHandler('open-failed', () => complain('The slide could not be opened. Reload the page.'));
}
// Level-0 pixels -> the viewer's own units, in which the slide is 1 wide.
const area = (x, y, width, height) => new OpenSeadragon.Rect(x / slide.width, y / slide.width, width / slide.width, height / slide.width);
const cellArea = (patch) => area(slide.origin[0] + slide.column(patch) * slide.pitch,
  slide.origin[1] + slide.row(patch) * slide.pitch, slide.pitch, slide.pitch);
function patchAt(pixel) {
  const point = viewer.viewport.pointFromPixel(pixel);
  const column = Math.floor((point.x * slide.width - slide.origin[0]) / slide.pitch);
  const row = Math.floor((point.y * slide.width - slide.origin[1]) / slide.pitch);
  if (row < 0 || column < 0 || row >= slide.rows || column >= slide.columns) return null;
  return slide.at.get(row * slide.columns + column) ?? null;
}
function place(made, patch) {
  made.hidden = patch === null;
  if (patch !== null && viewer?.isOpen()) viewer.updateOverlay(made, cellArea(patch));
}
// Moves and zooms only as far as needed to see a patch well.
function bringIntoView(patch, closer) {
  const cell = cellArea(patch), seen = viewer.viewport.getBounds(), edge = seen.width / 12;
  const centre = cell.getCenter();
  const inside = centre.x > seen.x + edge && centre.x < seen.x + seen.width - edge
    && centre.y > seen.y + edge && centre.y < seen.y + seen.height - edge;
  if (closer && cell.width / seen.width < 1 / 14) viewer.viewport.zoomTo(1 / (14 * cell.width));
  if (!inside || closer) viewer.viewport.panTo(centre);
}
function zoom(what) {
  if (!viewer?.isOpen()) return;
  if (what === 'whole') viewer.viewport.goHome();
  else viewer.viewport.zoomBy(what === 'in' ? 1.6 : 1 / 1.6);
  viewer.viewport.applyConstraints();
}
function scaleBar() {
  const bar = stage.querySelector('.scale'), perPixel = slide.mpp * slide.width / (viewer.viewport.getZoom(true) * stage.clientWidth);
  const wanted = 130 * perPixel, power = 10 ** Math.floor(Math.log10(wanted));
  const length = power * [5, 2, 1].find((step) => step * power <= wanted);
  bar.style.width = `${length / perPixel}px`;
  bar.firstElementChild.textContent = length >= 1000 ? `${length / 1000} mm` : `${length} µm`;
}
// Seeds: the number of the class on its colour, in one size at every zoom.
function drawSeeds(seeds, classes, lost) {
  for (const marker of markers) viewer.removeOverlay(marker);
  markers = seeds.map(([patch, name]) => {
    const marker = box('seed');
    marker.textContent = `${name + 1}${lost.has(patch) ? '!' : ''}`;
    marker.style.background = classes[name].colour;
    marker.style.color = inkOn(classes[name].colour);
    marker.dataset.patch = patch;
    viewer.addOverlay({element: marker, location: cellArea(patch).getCenter(), placement: OpenSeadragon.Placement.CENTER});
    return marker;
  });
}
function rgbOf(colour) { return [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16)); }
function inkOn(colour) {
  const [red, green, blue] = rgbOf(colour);
  return 0.3 * red + 0.59 * green + 0.11 * blue > 110 ? '#000' : '#fff';
}
