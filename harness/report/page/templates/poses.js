// Drawing: a picture, the poses over it, and the joint that it is about. Places are px of the original frame.
const RUN_COLOURS = ["#e39ac2", "#f0e442"];
const CLASS_COLOURS = {
  good: "#009e73", jitter: "#f2c14e", inversion: "#e8a5cb", swap: "#8cc4ee", miss: "#ee8a4b", absent: "#b9b9b9", undetected: "#8f8f8f",
};

// Pictures lie in the page as text and are decoded when first asked for; the last ones are kept.
class Pictures {
  constructor(kept) {
    this.kept = kept;
    this.images = new Map();
  }

  get(number, whenReady) {
    if (this.images.has(number)) return this.images.get(number);
    const text = document.getElementById(`picture-${number}`);
    if (!text) return null;
    const image = new Image();
    image.onload = whenReady;
    image.src = `data:image/webp;base64,${text.textContent}`;
    this.images.set(number, image);
    if (this.images.size > this.kept) this.images.delete(this.images.keys().next().value);
    return image;
  }
}

// The part of the frame to show: around everything given, of the shape of the screen, within the frame where it fits.
function frameAround(places, size, shape) {
  if (!places.length) return fitted(0, 0, size[0], size[1], shape);
  const xs = places.map((place) => place[0]);
  const ys = places.map((place) => place[1]);
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const margin = 0.18 * Math.max(right - left, bottom - top, size[1] * 0.15);
  const view = fitted(left - margin, top - margin, right - left + 2 * margin, bottom - top + 2 * margin, shape);
  const inside = (start, length, limit) => (length >= limit ? (limit - length) / 2 : Math.min(Math.max(start, 0), limit - length));
  return { ...view, x: inside(view.x, view.width, size[0]), y: inside(view.y, view.height, size[1]) };
}

function fitted(x, y, width, height, shape) {
  const wide = Math.max(width, height * shape);
  const high = wide / shape;
  return { x: x - (wide - width) / 2, y: y - (high - height) / 2, width: wide, height: high };
}

function placeOf(joints, joint) {
  const x = joints[2 * joint];
  return x === null || x === undefined ? null : [x, joints[2 * joint + 1]];
}

// Set a canvas up for its size on the screen and return a drawing context in px of the view.
function prepare(canvas, view, shape) {
  const width = Math.max(1, canvas.clientWidth);
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  const [columns, rows] = [Math.round(width * ratio), Math.round((width / shape) * ratio)];
  if (canvas.width !== columns || canvas.height !== rows) [canvas.width, canvas.height] = [columns, rows];
  const context = canvas.getContext("2d");
  const scale = columns / view.width;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.fillStyle = "#17181b";
  context.fillRect(0, 0, columns, rows);
  // a place is the centre of its pixel
  context.setTransform(scale, 0, 0, scale, (0.5 - view.x) * scale, (0.5 - view.y) * scale);
  context.lineCap = context.lineJoin = "round";
  return { context, unit: ratio / scale };
}

function drawPicture(context, image, size) {
  if (image && image.complete && image.naturalWidth) {
    context.imageSmoothingQuality = "high";
    context.drawImage(image, -0.5, -0.5, size[0], size[1]);
    return;
  }
  context.save();
  context.strokeStyle = "#2b2d32";
  context.lineWidth = size[0] / 640;
  for (let x = 0; x <= size[0]; x += size[0] / 16) line(context, [x, 0], [x, size[1]]);
  for (let y = 0; y <= size[1]; y += size[0] / 16) line(context, [0, y], [size[0], y]);
  context.restore();
}

function line(context, from, to) {
  context.beginPath();
  context.moveTo(...from);
  context.lineTo(...to);
  context.stroke();
}

// One person; `colour` for all bones, or the colour of every bone's limb where it is null.
function drawPose(context, unit, pose, bones, { colour = null, width = 2.4, faint = false, dashed = false }) {
  context.save();
  context.globalAlpha = faint ? 0.4 : 1;
  const drawn = bones.map(([a, b, limb]) => [placeOf(pose.joints, a), placeOf(pose.joints, b), limb]).filter(([a, b]) => a && b);
  context.strokeStyle = "rgb(0 0 0 / 0.75)";
  context.lineWidth = (width + 1.8) * unit;
  if (!faint) for (const [a, b] of drawn) line(context, a, b);
  context.lineWidth = width * unit;
  if (dashed) context.setLineDash([4 * unit, 3.2 * unit]);
  for (const [a, b, limb] of drawn) {
    context.strokeStyle = colour || limb;
    line(context, a, b);
  }
  context.setLineDash([]);
  const hidden = new Set(pose.hidden || []);
  for (let joint = 0; joint < pose.joints.length / 2 && width > 2 && !faint; joint += 1) {
    const place = placeOf(pose.joints, joint);
    if (place) dot(context, place, (width * 0.5 + 0.9) * unit, hidden.has(joint) ? "#000" : "#fff", unit, hidden.has(joint) ? "#fff" : "#000");
  }
  context.restore();
}

function dot(context, place, radius, fill, unit, rim) {
  context.beginPath();
  context.arc(...place, radius, 0, 2 * Math.PI);
  context.fillStyle = fill;
  context.fill();
  context.strokeStyle = rim;
  context.lineWidth = 0.8 * unit;
  context.stroke();
}

// Where the joint belongs (a circle of half a head size, within which it counts), where it was put, and the way between.
function drawFocus(context, unit, truth, joint, put, { colour, width }) {
  const place = truth && placeOf(truth.joints, joint);
  context.save();
  if (place) {
    context.beginPath();
    context.arc(...place, truth.head / 2, 0, 2 * Math.PI);
    for (const [style, thick] of [["rgb(0 0 0 / 0.7)", 1.25], ["#ffffff", 0.62]]) {
      context.strokeStyle = style;
      context.lineWidth = thick * width * unit;
      context.setLineDash([2 * width * unit, 1.5 * width * unit]);
      context.stroke();
    }
    context.setLineDash([]);
  }
  if (put) {
    if (place) {
      context.strokeStyle = colour;
      context.lineWidth = 0.62 * width * unit;
      line(context, place, put);
    }
    dot(context, put, 2 * width * unit, colour, 0.7 * width * unit, "#000");
  }
  context.restore();
}
