"""coverage.py [--propose] COVERAGE.json LIST... - the figures, and what was not reached against what the lists have.

A list has one entry a line; '#' begins a comment:

    FILE FUNCTION: TEXT OF THE LINE -- REASON      this line, and its branches
    FILE FUNCTION: * -- REASON                     all of the function
    reason NAME: REASON                            from here on NAME as a REASON stands for this one

A reason that begins with "sometimes" allows that it was reached: what comes when is the scheduler's choice. A reason that is named and
that no entry uses is a complaint.
"""
import json
import re
import sys


def functions_of(file, source):
    """The name of the function that each line is in: by the house's style, a body begins at the margin and ends with a brace there."""
    names, current = {}, "-"
    for number, text in enumerate(source, 1):
        start = re.match(r"^[A-Za-z_][\w\s\*]*?\b(\w+)\(", text)
        if start and not text.rstrip().endswith(";"):
            current = start.group(1)
        names[number] = current
        if text.startswith("}"):
            current = "-"
    return names


def read(path):
    """Per file: reached and all lines, reached and all branches; and what was not reached, by (file, function, text)."""
    figures, missed = {}, {}
    for entry in json.load(open(path))["files"]:
        file = entry["file"]
        source = open(file).read().split("\n")
        functions = functions_of(file, source)
        counts = [0, 0, 0, 0]
        for line in entry["lines"]:
            if line.get("gcovr/noncode"):
                continue
            number = line["line_number"]
            branches = line["branches"]
            cold = sum(1 for b in branches if b["count"] == 0)
            counts[0] += line["count"] > 0
            counts[1] += 1
            counts[2] += len(branches) - cold
            counts[3] += len(branches)
            if line["count"] == 0 or cold:
                key = (file, functions[number], source[number - 1].strip())
                missed.setdefault(key, []).append((number, line["count"] == 0, cold))
        figures[file] = counts
    return figures, missed


def read_lists(paths):
    entries, reasons, used, bad = {}, {}, set(), []
    for path, number, text in [(path, number, text) for path in paths for number, text in enumerate(open(path), 1)]:
        text = text.strip()
        if not text or text.startswith("#"):
            continue
        named = re.match(r"^reason (\S+): (\S.*)$", text)
        if named:
            reasons[named.group(1)] = named.group(2)
            continue
        match = re.match(r"^(\S+) (\S+): (.*) -- (\S.*)$", text)
        if not match:
            bad.append(f"{path}:{number}: not an entry: {text}")
            continue
        reason = match.group(4)
        if " " not in reason and reason not in reasons:
            bad.append(f"{path}:{number}: no such reason: {reason}")
        used.add(reason)
        entries[match.group(1, 2, 3)] = (reasons.get(reason, reason), f"{path}:{number}")
    bad.extend(f"{paths[0]}: nothing has the reason {name}" for name in reasons if name not in used)
    return entries, bad


def share(part, whole):
    return f"{part:5d} of {whole:5d} {100 * part / whole if whole else 100:6.2f} %"


FOLDERS = ("base", "vm", "storage", "wasm")


def folder_of(file):
    folder = file.split("/")[1]
    return folder if folder in FOLDERS else "facade"


def print_figures(figures):
    """By file, and by folder; the sum of all."""
    sums = {name: [0, 0, 0, 0] for name in FOLDERS + ("facade", "all")}
    for file, c in sorted(figures.items()):
        print(f"{file:44} lines {share(c[0], c[1])}   branches {share(c[2], c[3])}")
        for name in (folder_of(file), "all"):
            sums[name] = [a + b for a, b in zip(sums[name], c)]
    for name, c in sums.items():
        print(f"{name:44} lines {share(c[0], c[1])}   branches {share(c[2], c[3])}")
    return sums["all"]


def main(arguments):
    propose = "--propose" in arguments
    coverage, *lists = [a for a in arguments if not a.startswith("--")]
    figures, missed = read(coverage)
    entries, bad = read_lists(lists)
    total = print_figures(figures)
    used = set()
    unlisted = []
    for (file, function, text), places in sorted(missed.items()):
        for key in ((file, function, text), (file, function, "*")):
            if key in entries:
                used.add(key)
                break
        else:
            unlisted.append((file, function, text, places))
    for file, function, text, places in unlisted:
        what = "line" if any(p[1] for p in places) else f"{sum(p[2] for p in places)} branches"
        if propose:
            print(f"{file} {function}: {text} -- ?{what}")
        else:
            bad.append(f"{file}:{places[0][0]}: {what} not reached, not listed: {function}: {text}")
    for key, (reason, where) in entries.items():
        if key not in used and not reason.startswith("sometimes"):
            bad.append(f"{where}: listed, but it was reached, or is not there: {key[0]} {key[1]}: {key[2]}")
    for text in bad:
        print(text)
    print(f"coverage: lines {share(total[0], total[1])}, branches {share(total[2], total[3])}, "
          f"{len(entries)} listed, {len(unlisted)} not reached and not listed, {len(bad)} complaints")
    return 1 if bad else 0


sys.exit(main(sys.argv[1:]))
