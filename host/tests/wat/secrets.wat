;; world: import lockgate:plugin/secrets@0.1.0; export lockgate:plugin/upstream@0.1.0;
;; Places the secret `token` into `authorization`; fails with the host's words if it may not.
(module
  (import "lockgate:plugin/context@0.1.0" "[resource-drop]exchange" (func $drop (param i32)))
  (import "lockgate:plugin/secrets@0.1.0" "place"
    (func $place (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (global $heap (mut i32) (i32.const 8192))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $heap))
    (global.set $heap (i32.add (global.get $heap) (local.get 3)))
    (local.get $at))
  (data (i32.const 2048) "authorizationtokenBearer {}")
  (func (export "lockgate:plugin/upstream@0.1.0#on-exchange") (param i32) (result i32)
    (call $place (local.get 0) (i32.const 2048) (i32.const 13) (i32.const 2061) (i32.const 5)
      (i32.const 2066) (i32.const 9) (i32.const 4096))
    (call $drop (local.get 0))
    (if (i32.load8_u (i32.const 4096))
      (then
        (i32.store8 (i32.const 1024) (i32.const 1))
        (i32.store8 (i32.const 1028) (i32.const 2))
        (i32.store (i32.const 1032) (i32.load (i32.const 4112)))
        (i32.store (i32.const 1036) (i32.load (i32.const 4116)))))
    (i32.const 1024)))
