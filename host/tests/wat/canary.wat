;; world: export lockgate:plugin/request@0.1.0;
;; Leaves a mark in memory, in a global and in a table, and fails if it finds one.
(module
  (import "lockgate:plugin/context@0.1.0" "[resource-drop]call" (func $drop (param i32)))
  (memory (export "memory") 1)
  (global $mark (mut i32) (i32.const 0))
  (table $t 2 funcref)
  (elem declare func $drop)
  (func (export "lockgate:plugin/request@0.1.0#on-request") (param i32) (result i32)
    (call $drop (local.get 0))
    (if (i32.or
          (i32.or (i32.load (i32.const 40000)) (global.get $mark))
          (i32.eqz (ref.is_null (table.get $t (i32.const 1)))))
      (then (unreachable)))
    (i32.store (i32.const 40000) (i32.const 1))
    (global.set $mark (i32.const 1))
    (table.set $t (i32.const 1) (ref.func $drop))
    (i32.const 1024)))
