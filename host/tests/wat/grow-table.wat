;; world: export lockgate:plugin/request@0.1.0;
;; Takes table elements until it is refused, then gives up.
(module
  (memory (export "memory") 1)
  (table $t 1 funcref)
  (func (export "lockgate:plugin/request@0.1.0#on-request") (param i32) (result i32)
    (loop $again
      (br_if $again (i32.ne (table.grow $t (ref.null func) (i32.const 4096)) (i32.const -1))))
    (unreachable)))
