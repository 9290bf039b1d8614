#!/bin/sh
# The fault handler runs on an alternate stack of which pagestore_thread_prepare promises 4 KiB to us: the deepest chain of calls
# from on_fault must stay below that. From gcc's call graphs (-fcallgraph-info=su): frames are what the compiler says, calls through
# pointers go to what the table below and the trackers' own tables say, others' functions cost what `outside` allows them.
set -eu
build=${BUILD:-$(dirname "$0")/../build} source=${SOURCE:-$(dirname "$0")/..}
limit=4096
graphs=$(find "$build/CMakeFiles/pagestore_objects.dir" -name '*.ci' 2>/dev/null)
[ -n "$graphs" ] || { echo "no call graphs: not built by gcc, or with a sanitizer"; exit 77; }

awk -v limit=$limit -v verbose="${VERBOSE:-}" '
BEGIN {
  # A call through this member or parameter may go to these; an empty list: the host, not us.
  targets["ask"] = "region_fault"
  targets["trap"] = targets["sa_sigaction"] = targets["sa_handler"] = ""
  targets["work"] = "call_cursor_get call_renew call_cursor_renew load_row_guarded"
  # Not from the handler: db_read_seek goes there only for the flusher, whose reader is a transaction, not a slot.
  never["db_seek"] = 1
  # What is not ours, by the beginning of its name. LMDB: its frames down to mdb_page_search were summed in its object code.
  outside["mdb_"] = 1024; outside["XXH"] = 512; outside["pthread_"] = 128; outside["_longjmp"] = 128
  outside["_setjmp"] = 64; outside["syscall"] = 64; outside["ioctl"] = 64; outside["m"] = 64; outside["__"] = 64
  outside["sig"] = 256; outside["raise"] = 256; outside["abort"] = 0; outside["clock_"] = 64; outside["sched_"] = 64
  outside["str"] = 64; outside["nanosleep"] = 64; outside["fail"] = 0
}
# Static functions are named with their file; the same name in two files is two functions.
function field(line, name,   at, rest) {
  at = index(line, name ": \"")
  if (!at) return ""
  rest = substr(line, at + length(name) + 3)
  return substr(rest, 1, index(rest, "\"") - 1)
}
function plain(title) { sub(/.*:/, "", title); return title }
FILENAME ~ /memory\.c$/ {  # the source of bytes: (region_source){ begin, page, end, ...
  if ((at = index($0, "(region_source){")) > 0 && split(substr($0, at + 16), name, ",") >= 3) {
    for (i = 1; i <= 3; i++) gsub(/ /, "", name[i])
    targets["begin"] = name[1]; targets["page"] = name[2]; targets["end"] = name[3]
  }
  next
}
FILENAME ~ /\.c$/ {  # the trackers: .member = function,
  if ($1 ~ /^\.[a-z_]+$/ && $2 == "=" && $3 ~ /^[a-z_]+,$/) {
    member = $3; sub(/,/, "", member)
    targets[substr($1, 2)] = targets[substr($1, 2)] " " member
  }
  next
}
/^node:/ {
  title = field($0, "title"); label = field($0, "label")
  if (match(label, /[0-9]+ bytes \(/)) {
    frame[title] = substr(label, RSTART) + 8  # and the return address
    if (label ~ /dynamic\)/) frame[title] = 100000
    by_name[plain(title)] = title
  }
}
/^edge:/ {
  from = field($0, "sourcename"); to = field($0, "targetname"); where = field($0, "label")
  if (to == "__indirect_call") to = "*" where
  edges[from] = edges[from] " " to
}
function read_line(where,   part, file, wanted, text, i) {
  split(where, part, ":")
  file = part[1]; wanted = part[2]
  for (i = 1; i <= wanted; i++) if ((getline text < file) <= 0) text = ""
  close(file)
  return text
}
# The member that a line calls through: the last of those known that stands before a parenthesis.
function members_of(where,   text, member, found) {
  text = read_line(where)
  for (member in targets) if (text ~ "(^|[^a-z_])" member "\\(") found = found " " member
  if (found == "") { problem = problem "\nunknown call through a pointer at " where ": " text }
  return found
}
function outside_cost(name,   key, best, i, way) {
  for (key in outside) if (index(name, key) == 1 && length(key) > length(best)) best = key
  for (i = 1; i <= depth; i++) way = way " " plain(stack[i])
  if (best == "") problem = problem "\nunknown function " name ", by way of" way
  return best == "" ? 0 : outside[best]
}
function deepest(title,   list, count, i, cost, best, members, member, member_count, k, names, name_count, n) {
  if (title in known) return known[title]
  if (title in never) return 0
  if (title in active) { problem = problem "\nrecursion through " title; return 0 }
  if (!(title in frame)) {
    if (plain(title) in by_name) return deepest(by_name[plain(title)])
    next_of[title] = ""
    return known[title] = outside_cost(title)
  }
  active[title] = 1
  stack[++depth] = title
  best = 0
  count = split(edges[title], list, " ")
  for (i = 1; i <= count; i++) {
    if (substr(list[i], 1, 1) != "*") {
      cost = deepest(list[i])
      if (cost > best) { best = cost; next_of[title] = list[i] }
      continue
    }
    member_count = split(members_of(substr(list[i], 2)), members, " ")
    for (k = 1; k <= member_count; k++) {
      name_count = split(targets[members[k]], names, " ")
      for (n = 1; n <= name_count; n++) {
        if (!(names[n] in by_name)) { problem = problem "\nno function " names[n]; continue }
        cost = deepest(by_name[names[n]])
        if (cost > best) { best = cost; next_of[title] = by_name[names[n]] }
      }
    }
  }
  delete active[title]
  depth--
  return known[title] = best + frame[title]
}
END {
  if (!("on_fault" in by_name)) { print "no on_fault in the graphs"; exit 1 }
  total = deepest(by_name["on_fault"])
  for (at = by_name["on_fault"]; at != ""; at = next_of[at]) {
    if (!(at in frame) && (plain(at) in by_name)) at = by_name[plain(at)]
    printf "%6d %s\n", (at in frame) ? frame[at] : known[at], plain(at)
  }
  if (problem != "") { print "cannot tell:" problem; exit 1 }
  print total " bytes of stack at most, limit " limit
  exit total >= limit
}' "$source/pagestore/memory.c" $(find "$source/pagestore/vm" -name 'tracker_*.c') $graphs
