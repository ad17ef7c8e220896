;; world: import lockgate:plugin/kv@0.1.0; export lockgate:plugin/request@0.1.0;
;; Imports what is not offered yet.
(module
  (import "lockgate:plugin/kv@0.1.0" "delete" (func (param i32 i32 i32)))
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 8192))
  (func (export "lockgate:plugin/request@0.1.0#on-request") (param i32) (result i32) (unreachable)))
