;; world: export lockgate:plugin/request@0.1.0;
;; Takes memory until it is refused, then gives up as allocators do.
(module
  (memory (export "memory") 1)
  (func (export "lockgate:plugin/request@0.1.0#on-request") (param i32) (result i32)
    (loop $again
      (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
    (unreachable)))
