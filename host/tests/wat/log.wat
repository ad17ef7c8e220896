;; world: import lockgate:plugin/log@0.1.0; export lockgate:plugin/request@0.1.0;
;; Logs 512 lines of 1,024 bytes each, then lets the call pass.
(module
  (import "lockgate:plugin/context@0.1.0" "[resource-drop]call" (func $drop (param i32)))
  (import "lockgate:plugin/log@0.1.0" "write" (func $write (param i32 i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (func (export "lockgate:plugin/request@0.1.0#on-request") (param i32) (result i32)
    (local $left i32)
    (memory.fill (i32.const 2048) (i32.const 120) (i32.const 1024))
    (local.set $left (i32.const 512))
    (loop $again
      (call $write (i32.const 1) (i32.const 2048) (i32.const 1024) (i32.const 0) (i32.const 0))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $again (local.get $left)))
    (call $drop (local.get 0))
    (i32.const 1024)))
