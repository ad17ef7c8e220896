;; world: export lockgate:plugin/request@0.1.0;
;; Calls the host without end.
(module
  (import "lockgate:plugin/context@0.1.0" "[method]call.round" (func $round (param i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "lockgate:plugin/request@0.1.0#on-request") (param i32) (result i32)
    (loop $again (drop (call $round (local.get 0))) (br $again))
    (unreachable)))
