;; world: export lockgate:plugin/request@0.1.0;
;; Returns a pointer out of its memory.
(module
  (import "lockgate:plugin/context@0.1.0" "[resource-drop]call" (func $drop (param i32)))
  (memory (export "memory") 1)
  (func (export "lockgate:plugin/request@0.1.0#on-request") (param i32) (result i32)
    (call $drop (local.get 0))
    (i32.const -4)))
