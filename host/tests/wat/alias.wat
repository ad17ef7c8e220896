;; world: export lockgate:plugin/request@0.1.0;
;; Asks 1,000 questions whose texts are all the same 1 MiB of its memory: 2 GiB to copy.
(module
  (import "lockgate:plugin/context@0.1.0" "[resource-drop]call" (func $drop (param i32)))
  (memory (export "memory") 32)
  (func (export "lockgate:plugin/request@0.1.0#on-request") (param i32) (result i32)
    (local $at i32)
    (call $drop (local.get 0))
    (memory.fill (i32.const 131072) (i32.const 97) (i32.const 1048576))
    (local.set $at (i32.const 65536))
    (loop $again
      (i32.store (local.get $at) (i32.const 131072))
      (i32.store offset=4 (local.get $at) (i32.const 1048576))
      (i32.store offset=8 (local.get $at) (i32.const 131072))
      (i32.store offset=12 (local.get $at) (i32.const 1048576))
      (local.set $at (i32.add (local.get $at) (i32.const 16)))
      (br_if $again (i32.lt_u (local.get $at) (i32.const 81536))))
    (i32.store8 (i32.const 1028) (i32.const 3))
    (i32.store (i32.const 1032) (i32.const 65536))
    (i32.store (i32.const 1036) (i32.const 1000))
    (i32.const 1024)))
