;; What instantiation leaves behind: active segments (one over the other, one at an imported place), a start function that counts.
(module
  (import "env" "tick" (func $tick))
  (memory (export "memory") 2)
  (global $count (mut i32) (i32.const 0))
  (global $high (export "high") (mut i64) (i64.const -5))
  (data (i32.const 100) "hello")
  (data $later "later")
  (data (i32.const 102) "LL")
  (func $begin
    (i32.store (i32.const 65600) (i32.add (i32.load (i32.const 65600)) (i32.const 1)))
    (i32.store8 (i32.const 104) (i32.const 0x21))
    (global.set $count (i32.const 7))
    (call $tick))
  (start $begin)
  (func (export "count") (result i32) (global.get $count))
  (func (export "load") (param i32) (result i64) (i64.load (local.get 0)))
  (func (export "store") (param i32 i64) (global.set $high (local.get 1)) (i64.store (local.get 0) (local.get 1)))
  (func (export "late") (memory.init $later (i32.const 200) (i32.const 0) (i32.const 5))))
