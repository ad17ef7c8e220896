;; world: export lockgate:plugin/request@0.1.0;
;; Calls itself without end.
(module
  (memory (export "memory") 1)
  (func $deeper (param i32) (result i32)
    (i32.add (call $deeper (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
  (func (export "lockgate:plugin/request@0.1.0#on-request") (param i32) (result i32)
    (call $deeper (local.get 0))))
