;; world: export lockgate:plugin/request@0.1.0;
;; Answers with 5 MiB of spaces.
(module
  (import "lockgate:plugin/context@0.1.0" "[resource-drop]call" (func $drop (param i32)))
  (memory (export "memory") 100)
  (func (export "lockgate:plugin/request@0.1.0#on-request") (param i32) (result i32)
    (call $drop (local.get 0))
    (memory.fill (i32.const 65536) (i32.const 32) (i32.const 5242880))
    (i32.store8 (i32.const 1028) (i32.const 1))
    (i32.store (i32.const 1032) (i32.const 65536))
    (i32.store (i32.const 1036) (i32.const 5242880))
    (i32.const 1024)))
