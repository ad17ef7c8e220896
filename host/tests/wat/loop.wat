;; world: export lockgate:plugin/request@0.1.0;
;; Never returns.
(module
  (memory (export "memory") 1)
  (func (export "lockgate:plugin/request@0.1.0#on-request") (param i32) (result i32)
    (loop $again (br $again))
    (unreachable)))
