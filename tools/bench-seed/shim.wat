;; shim.wat - the stable-memory calls as Wasm code: it defines the heap and the stable memory, and copies between them.
;;
;; 16, 8 and 1 byte are one load and one store, which check themselves; all else is checked on both sides without wrapping before
;; the first byte, and goes by memory.copy from 256 bytes on. Out of bounds traps, and a trap undoes the message.
(module
  (memory $heap (export "memory") 64 4096)
  (memory $stable (export "stable") i64 0 8192000)

  (func $check (param $at i64) (param $bytes i64) (param $size i64)
    (if (i64.gt_u (local.get $bytes) (local.get $size)) (then unreachable))
    (if (i64.gt_u (local.get $at) (i64.sub (local.get $size) (local.get $bytes))) (then unreachable)))

  (func $check_both (param $heap_at i64) (param $stable_at i64) (param $bytes i64)
    (call $check (local.get $stable_at) (local.get $bytes) (i64.shl (memory.size $stable) (i64.const 16)))
    (call $check (local.get $heap_at) (local.get $bytes)
      (i64.shl (i64.extend_i32_u (memory.size $heap)) (i64.const 16))))

  (func (export "stable64_grow") (param $pages i64) (result i64) (memory.grow $stable (local.get $pages)))

  (func (export "stable64_read") (param $to i64) (param $from i64) (param $bytes i64)
    (if (i64.eq (local.get $bytes) (i64.const 16)) (then
      (if (i64.gt_u (local.get $to) (i64.const 0xffffffff)) (then unreachable))
      (v128.store $heap (i32.wrap_i64 (local.get $to)) (v128.load $stable (local.get $from)))
      return))
    (if (i64.eq (local.get $bytes) (i64.const 8)) (then
      (if (i64.gt_u (local.get $to) (i64.const 0xffffffff)) (then unreachable))
      (i64.store $heap (i32.wrap_i64 (local.get $to)) (i64.load $stable (local.get $from)))
      return))
    (if (i64.eq (local.get $bytes) (i64.const 1)) (then
      (if (i64.gt_u (local.get $to) (i64.const 0xffffffff)) (then unreachable))
      (i64.store8 $heap (i32.wrap_i64 (local.get $to)) (i64.load8_u $stable (local.get $from)))
      return))
    (call $read_any (local.get $to) (local.get $from) (local.get $bytes)))

  (func $read_any (param $to i64) (param $from i64) (param $bytes i64)
    (if (i64.eqz (local.get $bytes)) (then return))
    (call $check_both (local.get $to) (local.get $from) (local.get $bytes))
    (if (i64.ge_u (local.get $bytes) (i64.const 256)) (then
      (memory.copy $heap $stable (i32.wrap_i64 (local.get $to)) (local.get $from) (i32.wrap_i64 (local.get $bytes)))
      return))
    (block $ends (loop $eights
      (br_if $ends (i64.lt_u (local.get $bytes) (i64.const 8)))
      (i64.store $heap (i32.wrap_i64 (local.get $to)) (i64.load $stable (local.get $from)))
      (local.set $to (i64.add (local.get $to) (i64.const 8)))
      (local.set $from (i64.add (local.get $from) (i64.const 8)))
      (local.set $bytes (i64.sub (local.get $bytes) (i64.const 8)))
      (br $eights)))
    (block $ends (loop $ones
      (br_if $ends (i64.eqz (local.get $bytes)))
      (i64.store8 $heap (i32.wrap_i64 (local.get $to)) (i64.load8_u $stable (local.get $from)))
      (local.set $to (i64.add (local.get $to) (i64.const 1)))
      (local.set $from (i64.add (local.get $from) (i64.const 1)))
      (local.set $bytes (i64.sub (local.get $bytes) (i64.const 1)))
      (br $ones))))

  (func (export "stable64_write") (param $to i64) (param $from i64) (param $bytes i64)
    (if (i64.eq (local.get $bytes) (i64.const 16)) (then
      (if (i64.gt_u (local.get $from) (i64.const 0xffffffff)) (then unreachable))
      (v128.store $stable (local.get $to) (v128.load $heap (i32.wrap_i64 (local.get $from))))
      return))
    (if (i64.eq (local.get $bytes) (i64.const 8)) (then
      (if (i64.gt_u (local.get $from) (i64.const 0xffffffff)) (then unreachable))
      (i64.store $stable (local.get $to) (i64.load $heap (i32.wrap_i64 (local.get $from))))
      return))
    (if (i64.eq (local.get $bytes) (i64.const 1)) (then
      (if (i64.gt_u (local.get $from) (i64.const 0xffffffff)) (then unreachable))
      (i64.store8 $stable (local.get $to) (i64.load8_u $heap (i32.wrap_i64 (local.get $from))))
      return))
    (call $write_any (local.get $to) (local.get $from) (local.get $bytes)))

  (func $write_any (param $to i64) (param $from i64) (param $bytes i64)
    (if (i64.eqz (local.get $bytes)) (then return))
    (call $check_both (local.get $from) (local.get $to) (local.get $bytes))
    (if (i64.ge_u (local.get $bytes) (i64.const 256)) (then
      (memory.copy $stable $heap (local.get $to) (i32.wrap_i64 (local.get $from)) (i32.wrap_i64 (local.get $bytes)))
      return))
    (block $ends (loop $eights
      (br_if $ends (i64.lt_u (local.get $bytes) (i64.const 8)))
      (i64.store $stable (local.get $to) (i64.load $heap (i32.wrap_i64 (local.get $from))))
      (local.set $to (i64.add (local.get $to) (i64.const 8)))
      (local.set $from (i64.add (local.get $from) (i64.const 8)))
      (local.set $bytes (i64.sub (local.get $bytes) (i64.const 8)))
      (br $eights)))
    (block $ends (loop $ones
      (br_if $ends (i64.eqz (local.get $bytes)))
      (i64.store8 $stable (local.get $to) (i64.load8_u $heap (i32.wrap_i64 (local.get $from))))
      (local.set $to (i64.add (local.get $to) (i64.const 1)))
      (local.set $from (i64.add (local.get $from) (i64.const 1)))
      (local.set $bytes (i64.sub (local.get $bytes) (i64.const 1)))
      (br $ones)))))
