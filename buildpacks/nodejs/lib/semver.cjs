// Semantic version ranges as npm reads them: `node semver.cjs RANGE < versions.json` prints the
// newest version that fits (or nothing); `lts` as the range means the newest long-term release.
"use strict";

const VERSION =
  /^[v=\s]*(\d+)(?:\.(\d+|[xX*]))?(?:\.(\d+|[xX*]))?(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?$/;

// A version with its missing parts as null, or null if the text is none.
function parse(text) {
  const found = VERSION.exec(text.trim());
  if (!found) return null;
  const part = (value) => (value === undefined || /^[xX*]$/.test(value) ? null : Number(value));
  const pre = found[4] ? found[4].split(".") : [];
  return { major: Number(found[1]), minor: part(found[2]), patch: part(found[3]), pre };
}

function comparePre(a, b) {
  if (!a.length || !b.length) return b.length - a.length;
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    if (a[i] === undefined) return -1;
    if (b[i] === undefined) return 1;
    if (a[i] === b[i]) continue;
    const [x, y] = [/^\d+$/.test(a[i]), /^\d+$/.test(b[i])];
    if (x && y) return Number(a[i]) - Number(b[i]);
    if (x !== y) return x ? -1 : 1;
    return a[i] < b[i] ? -1 : 1;
  }
  return 0;
}

function compare(a, b) {
  return a.major - b.major || a.minor - b.minor || a.patch - b.patch || comparePre(a.pre, b.pre);
}

const at = (major, minor, patch, pre = []) => ({ major, minor, patch, pre });
const full = (v) => at(v.major, v.minor ?? 0, v.patch ?? 0, v.minor === null ? [] : v.pre);
// The first version after all that a partial version stands for: 1.2 -> 1.3.0-0.
function after(v) {
  if (v.minor === null) return at(v.major + 1, 0, 0, ["0"]);
  if (v.patch === null) return at(v.major, v.minor + 1, 0, ["0"]);
  return null;
}

// One comparator as a list of [operator, version]; null if it is nonsense.
function comparator(operator, text) {
  if (/^[xX*]?$/.test(text)) return operator === "<" || operator === ">" ? null : [];
  const v = parse(text);
  if (!v) return null;
  const low = full(v);
  const high = after(v);
  switch (operator) {
    case "^": {
      const upper =
        v.major > 0 || v.minor === null
          ? at(v.major + 1, 0, 0, ["0"])
          : v.minor > 0 || v.patch === null
            ? at(0, v.minor + 1, 0, ["0"])
            : at(0, 0, v.patch + 1, ["0"]);
      return [[">=", low], ["<", upper]];
    }
    case "~":
    case "~>":
      return [[">=", low], ["<", v.minor === null ? high : at(v.major, v.minor + 1, 0, ["0"])]];
    case ">":
      return high ? [[">=", at(high.major, high.minor, high.patch)]] : [[">", low]];
    case "<=":
      return high ? [["<", high]] : [["<=", low]];
    case ">=":
      return [[">=", low]];
    case "<":
      return [["<", high ? at(low.major, low.minor, low.patch, ["0"]) : low]];
    default:
      return high ? [[">=", low], ["<", high]] : [["=", low]];
  }
}

// The alternatives of a range, each a list of comparators; null if it is none.
function parseRange(text) {
  const alternatives = [];
  for (const piece of text.split("||")) {
    const hyphen = /^\s*(\S+)\s+-\s+(\S+)\s*$/.exec(piece);
    const all = [];
    if (hyphen) {
      const low = comparator(">=", hyphen[1]);
      const high = comparator("<=", hyphen[2]);
      if (!low || !high) return null;
      all.push(...low, ...high);
    } else {
      const joined = piece.replace(/(<=|>=|~>|[<>=^~])\s+/g, "$1").trim();
      for (const word of joined.split(/[\s,]+/)) {
        const found = /^(<=|>=|~>|[<>=^~]?)(.*)$/.exec(word);
        const list = comparator(found[1], found[2]);
        if (!list) return null;
        all.push(...list);
      }
    }
    alternatives.push(all);
  }
  return alternatives;
}

function holds(v, [operator, other]) {
  const order = compare(v, other);
  return operator === "=" ? order === 0
    : operator === "<" ? order < 0
    : operator === "<=" ? order <= 0
    : operator === ">" ? order > 0
    : order >= 0;
}

function satisfies(v, alternatives) {
  return alternatives.some((all) => {
    if (!all.every((one) => holds(v, one))) return false;
    if (!v.pre.length) return true;
    // A pre-release is meant only where a comparator names one of the same version.
    return all.some(([, o]) => o.pre.length && o.pre[0] !== "0" && o.major === v.major
      && o.minor === v.minor && o.patch === v.patch);
  });
}

// A release line becomes long-term in late October: of the year after its even number's half up
// to 26, and of the year that it is named after from 27 on.
function isLongTerm(major, now) {
  if (major < 27 && major % 2) return false;
  const year = major < 27 ? 2013 + major / 2 : 2000 + major;
  return now >= Date.UTC(year, 9, 28);
}

function newest(versions, range, now = Date.now()) {
  const known = versions.map((text) => [parse(text), text])
    .filter(([v]) => v && v.minor !== null && v.patch !== null);
  known.sort(([a], [b]) => compare(b, a));
  const wanted = range.trim().replace(/^(latest|current|stable|node)$/i, "*");
  if (/^lts(\/\*)?$/i.test(wanted)) {
    return known.find(([v]) => !v.pre.length && isLongTerm(v.major, now))?.[1] ?? "";
  }
  const alternatives = parseRange(wanted);
  if (!alternatives) return null;
  return known.find(([v]) => satisfies(v, alternatives))?.[1] ?? "";
}

module.exports = { newest };

if (require.main === module) {
  const answer = JSON.parse(require("fs").readFileSync(0, "utf8"));
  const found = newest([].concat(answer), process.argv[2]);
  if (found === null) process.exit(3);
  process.stdout.write(found);
}
