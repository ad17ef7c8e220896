;; world: export lockgate:plugin/lifecycle@0.1.0; export lockgate:plugin/request@0.1.0;
;; Uses 40 MiB when it is configured: within the limit, but too much for a snapshot.
(module
  (import "lockgate:plugin/context@0.1.0" "[resource-drop]call" (func $drop (param i32)))
  (memory (export "memory") 1)
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 8192))
  (func (export "lockgate:plugin/lifecycle@0.1.0#configure") (param i32 i32) (result i32)
    (drop (memory.grow (i32.const 640)))
    (i32.store8 (i32.const 1048576) (i32.const 1))
    (i32.const 1024))
  (func (export "lockgate:plugin/lifecycle@0.1.0#self-test") (result i32) (i32.const 1024))
  (func (export "lockgate:plugin/request@0.1.0#on-request") (param i32) (result i32)
    (call $drop (local.get 0))
    (if (i32.eqz (i32.load8_u (i32.const 1048576))) (then (unreachable)))
    (i32.const 1024)))
