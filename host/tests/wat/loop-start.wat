;; world: export lockgate:plugin/request@0.1.0;
;; Never gets past its start function.
(module
  (memory (export "memory") 1)
  (func $start (loop $again (br $again)))
  (start $start)
  (func (export "lockgate:plugin/request@0.1.0#on-request") (param i32) (result i32) (unreachable)))
