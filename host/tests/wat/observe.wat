;; world: export lockgate:plugin/observe@0.1.0;
;; Exports a hook that is never called yet.
(module
  (memory (export "memory") 1)
  (func (export "lockgate:plugin/observe@0.1.0#on-done") (param i32) (result i32) (unreachable)))
