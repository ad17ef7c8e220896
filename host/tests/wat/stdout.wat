;; world: import wasi:cli/stdout@0.2.0; import wasi:random/random@0.2.0; import wasi:clocks/monotonic-clock@0.2.0;
;; world: export lockgate:plugin/lifecycle@0.1.0; export lockgate:plugin/request@0.1.0;
;; Opens standard output in `configure` and keeps it; writes two lines to it in each request, one
;; of them with a terminal's control characters. Fails if its clock is finer than a millisecond.
(module
  (import "lockgate:plugin/context@0.1.0" "[resource-drop]call" (func $drop (param i32)))
  (import "wasi:cli/stdout@0.2.0" "get-stdout" (func $stdout (result i32)))
  (import "wasi:random/random@0.2.0" "get-random-u64" (func $random (result i64)))
  (import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $now (result i64)))
  (import "wasi:io/streams@0.2.0" "[method]output-stream.blocking-write-and-flush"
    (func $write (param i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (global $out (mut i32) (i32.const 0))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 8192))
  (data (i32.const 2048) "hello from stdout\nsecond \1b[31mline\n")
  (func (export "lockgate:plugin/lifecycle@0.1.0#configure") (param i32 i32) (result i32)
    (global.set $out (call $stdout))
    (i32.const 1024))
  (func (export "lockgate:plugin/lifecycle@0.1.0#self-test") (result i32) (i32.const 1024))
  (func (export "lockgate:plugin/request@0.1.0#on-request") (param i32) (result i32)
    (call $drop (local.get 0))
    (call $write (global.get $out) (i32.const 2048) (i32.const 35) (i32.const 3072))
    (if (i32.load8_u (i32.const 3072)) (then (unreachable)))
    (if (i64.eq (call $random) (call $random)) (then (unreachable)))
    (if (i64.ne (i64.rem_u (call $now) (i64.const 1000000)) (i64.const 0)) (then (unreachable)))
    (i32.const 1024)))
