#!/usr/bin/env bats
# What the commands that change or copy stores do: snapshot, restore, fork, delete, prune, backup, copy, compact; asked and unasked,
# beside a runtime, and what they leave as it was.
# ctest: TIMEOUT 300
load support/program

# ---- snapshots -----------------------------------------------------------------------------------------------------------

@test "snapshot create: names the present version, once" {
  store
  want 0 snapshot create s alpha three; out "^snapshot 'three' of 'alpha' is version 3$"
  want 3 snapshot create s alpha three; err 'three'
  want 3 snapshot create s nobody x; err 'pagestore ls STORE'
  want 2 snapshot frob s alpha; err "'frob' is none of create, list and drop"
  want 2 snapshot create s alpha; err 'create takes a store, an instance and a snapshot'
}

@test "snapshot list" {
  store
  want 0 snapshot create s alpha three
  want 2 snapshot list s alpha three; err 'list takes'
  want 0 snapshot list s alpha; lines 4; out '^SNAPSHOT +VERSION' '^one +1 ' '^two +2 ' '^three +3 '
  want 0 snapshot list --json s alpha; out '"snapshots": \[' '"snapshot": "three"'
}

@test "snapshot drop: asks, and a refused one changes nothing" {
  store
  want 0 snapshot create s alpha three
  before=$(sum)
  want 2 snapshot drop s alpha three; err "snapshot 'three' of 'alpha' \(version 3\) will be dropped" '--yes'
  want 3 snapshot drop --yes s alpha four; err 'four'
  [ "$(sum)" = "$before" ] || die "a refused drop changed the file"
  want 0 snapshot drop -y s alpha three; out "^snapshot 'three' of 'alpha' is dropped"
  want 0 snapshot list s alpha; lines 3
}

# ---- restore ---------------------------------------------------------------------------------------------------------------

@test "restore --dry-run: what differs, and nothing changes" {
  store
  [ "$(raw --snapshot one s alpha main)" != "$(raw s alpha main)" ] || die "the snapshot is no other state"
  before=$(sum)
  want 0 restore --dry-run s alpha one; out '^snapshot version +1$' '^blocks +[1-9]' '^memory +main'
  want 0 restore -n --json s alpha one; out '"snapshot_version": 1'
  want 2 restore s alpha one; err "version 3 of 'alpha' will be replaced by snapshot 'one'" 'pagestore snapshot create'
  want 3 restore -y s alpha nothing; err 'nothing'
  [ "$(sum)" = "$before" ] || die "looking changed the file"
}

@test "restore --yes: the present is the snapshot, as a new version" {
  store
  one=$(raw --snapshot one s alpha main)
  want 0 restore --yes s alpha one; out '^restored as version 4$'
  [ "$(raw s alpha main)" = "$one" ] || die "the present is not the snapshot"
  want 0 restore --yes s alpha one; out '^nothing differs: version 4 stays$'
}

@test "restore asks somebody at a terminal: no is no, yes is yes" {
  store
  printf 'n\n' > keys
  KEYS=keys typed "'$program' restore s alpha two" && die "no is yes"
  out 'Go on\? \[y/N\]' 'Nothing was changed'
  want 0 log s alpha; out '^ +3 .* - '
  printf 'y\n' > keys
  KEYS=keys typed "'$program' restore s alpha two" || die "yes is no"
  want 0 log s alpha; out '^ +4 .* - '
}

# ---- fork and delete ---------------------------------------------------------------------------------------------------------

@test "fork of the present and of a snapshot" {
  store
  want 0 fork s alpha twin; out "^instance 'twin' is there, at version 1$"
  [ "$(raw s twin main)" = "$(raw s alpha main)" ] || die "the fork differs"
  want 0 fork --snapshot one s alpha early
  [ "$(raw s early main)" = "$(raw --snapshot one s alpha main)" ] || die "the fork of a snapshot differs"
  want 3 fork s alpha twin; err 'twin' 'ls STORE'
  want 3 fork s nobody x; err 'nobody'
}

@test "delete: asks; forks keep what they share" {
  store
  one=$(raw --snapshot one s alpha main)
  want 0 fork s alpha twin
  want 0 fork --snapshot one s alpha early
  want 2 delete s twin; err "instance 'twin' \(version 1, [0-9]+ pages? stored, 0 snapshots\) will be deleted"
  want 0 delete -y s alpha; want 0 ls s; no_out '^alpha '
  [ "$(raw s early main)" = "$one" ] || die "the fork went with its source"
  want 3 delete -y s alpha; err 'alpha'
}

# ---- prune -------------------------------------------------------------------------------------------------------------------

@test "prune: by number and by age" {
  store
  for name in a b c d; do want 0 snapshot create s alpha $name; done
  want 2 prune s; err '--keep, --older-than'
  want 2 prune --older-than soon s; err '90m, 36h'
  want 0 prune --dry-run --keep 2 s; lines 5; out '^alpha +one ' '^alpha +two ' '^alpha +a ' '^alpha +b '
  want 2 prune --keep 2 s alpha; err '4 snapshots will be dropped'
  want 0 prune --keep 2 --older-than 1h -y s; lines 0
  want 0 prune --keep 2 -y s; want 0 snapshot list s alpha; lines 3; out '^c ' '^d '
  want 0 prune --older-than 0s -y s alpha; want 0 snapshot list s alpha; lines 0
  want 0 prune --keep 0 -y s; want 3 prune --keep 0 s nobody; err 'nobody'
}

# ---- copies --------------------------------------------------------------------------------------------------------------------

@test "backup and copy: the same bytes, a store that can be written" {
  store
  main=$(raw s alpha main)
  want 0 backup s b; out '^b is there, [0-9]+ bytes, verified$'
  want 3 backup s b; err 'not empty'
  want 3 backup s /no/such/place/b; err 'no/such/place'
  want 3 backup nowhere c; err 'nowhere'
  want 0 copy --compact s c
  [ "$(raw b alpha main)" = "$main" ] && [ "$(raw c alpha main)" = "$main" ] || die "a copy differs"
  want 0 snapshot create c alpha again
  mkdir empty; want 0 copy s empty; [ "$(raw empty alpha main)" = "$main" ] || die "a copy into an empty directory differs"
}

@test "compact: the same bytes, nothing left beside the file" {
  store
  main=$(raw s alpha main)
  want 0 compact s; out '^[0-9]+ bytes before, [0-9]+ now$'
  [ "$(raw s alpha main)" = "$main" ] || die "compaction changed a memory"
  [ "$(ls -A s)" = "$(printf 'data.mdb\nlock.mdb')" ] || die "compaction left a file"
  want 3 compact nowhere; err 'nowhere'
}

@test "upgrade-format: there is one format" {
  store
  want 0 upgrade-format s; out '^format 1 is the newest'
}

# ---- beside a runtime ------------------------------------------------------------------------------------------------------------

@test "beside a runtime: changes are refused with what to do, backup works" {
  store
  hold s
  want 3 snapshot create s alpha x; err 'stop the runtime'
  want 3 delete -y s alpha; err 'stop the runtime'
  want 3 compact s; err 'stop the runtime'
  want 0 backup s live; want 0 ls live; out '^alpha '
  echo >&9
  want 3 restore -n s alpha none
  want 0 ls s
  let_go
}

@test "backup under load: a version that was there, checked to the last block" {
  "$host" wide s && "$host" make other
  "$program" send other alpha | "$program" receive s alpha > out
  busy s
  for n in 1 2 3; do
    before=$("$program" ls --json s | python3 -c 'import json, sys; print(json.load(sys.stdin)["instances"][0]["version"])')
    want 0 backup s b$n; want 0 check --deep b$n; out 'clean'
    got=$("$program" ls --json b$n | python3 -c 'import json, sys; print(json.load(sys.stdin)["instances"][0]["version"])')
    [ "$got" -ge "$before" ] || die "older than what was durable when it began: $got, $before"
  done
}
