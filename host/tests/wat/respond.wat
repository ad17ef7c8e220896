;; world: export lockgate:plugin/request@0.1.0;
;; Answers with whatever stands at 2048: text that is not JSON.
(module
  (import "lockgate:plugin/context@0.1.0" "[resource-drop]call" (func $drop (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 2048) "{\"a\":1,\"a\":2}")
  (func (export "lockgate:plugin/request@0.1.0#on-request") (param i32) (result i32)
    (call $drop (local.get 0))
    (i32.store8 (i32.const 1028) (i32.const 1))
    (i32.store (i32.const 1032) (i32.const 2048))
    (i32.store (i32.const 1036) (i32.const 13))
    (i32.const 1024)))
