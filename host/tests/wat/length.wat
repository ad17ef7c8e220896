;; world: export lockgate:plugin/access@0.1.0;
;; Gives two answers, however many items there are.
(module
  (import "lockgate:plugin/context@0.1.0" "[resource-drop]items" (func $drop (param i32)))
  (memory (export "memory") 1)
  (func (export "lockgate:plugin/access@0.1.0#decide") (param i32) (result i32)
    (call $drop (local.get 0))
    (i32.store (i32.const 1028) (i32.const 2048))
    (i32.store (i32.const 1032) (i32.const 2))
    (i32.const 1024)))
